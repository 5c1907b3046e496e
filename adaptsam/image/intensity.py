"""Intensities of a volume: their kind (Hounsfield units, a cone beam's, or unknown), range, and 8 bits of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Volume

_CT = ("CT", "CBCT")
# Hounsfield units: where air is looked for, below what there is only air and lung, and where tissue lies.
_AIR, _BELOW_TISSUE, _TISSUE = (-1200.0, -800.0), -300.0, (-200.0, 600.0)
# The share of a CT that is air or not, for it to count; how many voxels are looked at.
_TELLING, _LOOKED_AT = 0.005, 3e5

#: The share of intensities cut off at each end when a volume has no physical unit (MR, ultrasound of 16 bits).
TAIL_PERCENT = 0.5


@dataclass(frozen=True)
class Window:
    """Intensities from ``low`` to ``high`` become 0 to 255; without limits, 8-bit images stay as they are.

    They are rounded, or ``truncated`` to whole numbers as P²SAM's code does.
    """

    low: float | None = None
    high: float | None = None
    truncated: bool = False

    def rgb(self, image: np.ndarray) -> np.ndarray:
        """One slice (H, W), or (H, W, 3) of colour, as uint8 (H, W, 3)."""
        if image.ndim == 3:
            return np.ascontiguousarray(image)
        return np.repeat(self.gray(image)[..., None], 3, axis=2)

    def gray(self, image: np.ndarray) -> np.ndarray:
        """Intensities (H, W) as uint8 (H, W)."""
        if self.low is None or self.high is None:
            return image.astype(np.uint8)
        if self.truncated:
            share = (np.clip(image.astype(np.float64), self.low, self.high) - self.low) / (self.high - self.low)
            return (share * 255).astype(np.uint8)
        scaled = (image.astype(np.float32) - self.low) * (255.0 / (self.high - self.low))
        return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


#: P²SAM's for CT, in Hounsfield units.
PAPERS_WINDOW = Window(-910.0, 590.0)


def is_ct(volume: Volume, modality: str = "") -> bool:
    """Whether intensities are meant as Hounsfield units, those of cone beams too.

    By modality, and failing that by air below −500 and bone above 100. ``modality`` stands in where the volume does not
    know its own, unless nothing in it is below 0: then it is MR, or a CT whose air lies at 0. Eight bits hold none,
    whatever the modality: they were windowed. Nor does a CT whose air is elsewhere (:func:`unit_doubt`).
    """
    if volume.array.dtype == np.uint8 or unit_doubt(volume):
        return False
    known = (volume.modality or modality).upper()
    if volume.modality or (known and known not in _CT):
        return known in _CT
    low, high = intensity_range(volume.array)
    return low < 0.0 if known else low <= -500.0 and high >= 100.0


def unit_doubt(volume: Volume) -> str:
    """Reason why the values of a CT are no Hounsfield units, a clause; "" where they may be.

    Air must lie near -1000 and tissue near 0; where an image has no air, tissue alone tells. Cone beams are not asked.
    """
    if volume.modality.upper() != "CT" or volume.array.ndim != 3 or volume.array.dtype == np.uint8:
        return ""
    stride = max(1, int(np.ceil((volume.array.size / _LOOKED_AT) ** (1 / 3))))
    values = np.asarray(volume.array[::stride, ::stride, ::stride], np.float32).ravel()
    tissue = values[values > _BELOW_TISSUE]
    air = float(((values >= _AIR[0]) & (values <= _AIR[1])).mean())
    middle = float(np.median(tissue)) if tissue.size else 0.0
    if float(values.min()) == float(values.max()):
        return ""
    if float(values.min()) >= 0:
        return "nothing in it is below 0, where the air of a CT lies near -1000 HU"
    if air < _TELLING and float((values <= _BELOW_TISSUE).mean()) >= _TELLING:
        dark = float(np.median(values[values <= _BELOW_TISSUE]))
        return f"its dark voxels lie near {dark:.0f}, where the air of a CT lies near -1000 HU"
    if not _TISSUE[0] <= middle <= _TISSUE[1]:
        return f"its tissue lies near {middle:.0f}, where that of a CT lies near 0 HU"
    return ""


def unit_remarks(volume: Volume) -> tuple[Remark, ...]:
    """Remark on the image with what :func:`unit_doubt` says."""
    doubt = unit_doubt(volume)
    if not doubt:
        return ()
    why = f"{doubt}; they are not taken as Hounsfield units (is the rescaling missing?)"
    return (Remark("values of the CT", volume.array.size, why, left_out=False),)


def is_cone_beam(volume: Volume) -> bool:
    """Whether the volume says of itself that it is a cone-beam CT, whose Hounsfield units cannot be relied on."""
    return volume.modality.upper() == "CBCT"


def same_kind(first: Volume, second: Volume) -> bool:
    """Whether two images show tissue alike: both CT, a cone beam's too, or both of one other modality.

    A modality that one of them does not know is the other's.
    """
    if is_ct(first, second.modality) or is_ct(second, first.modality):
        return is_ct(first, second.modality) and is_ct(second, first.modality)
    return "" in (first.modality, second.modality) or first.modality.upper() == second.modality.upper()


def intensity_range(array: np.ndarray) -> tuple[float, float]:
    """The robust range of a volume (K, J, I): percentiles 0.5 and 99.5 of at most about two million voxels."""
    stride = max(1, int(np.ceil((array.size / 2e6) ** (1 / 3))))
    return robust_range(array[::stride, ::stride, ::stride])


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Percentiles 0.5 and 99.5 of values of any shape; the second is always the larger one."""
    low, high = np.percentile(values, (TAIL_PERCENT, 100.0 - TAIL_PERCENT))
    return float(low), float(max(high, low + 1e-6))
