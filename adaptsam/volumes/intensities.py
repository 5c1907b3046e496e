"""What the numbers of a volume mean: Hounsfield units, those of a cone-beam CT, or none that is known."""

from __future__ import annotations

import numpy as np

from adaptsam.data.volume import Volume

#: The share of intensities cut off at each end when a volume has no physical unit (MR, ultrasound of 16 bits).
TAIL_PERCENT = 0.5


def is_ct(volume: Volume, modality: str = "") -> bool:
    """Whether intensities are meant as Hounsfield units, those of cone beams too.

    By modality (``modality`` stands in where the volume does not know its own), and failing that by air below −500 and
    bone above 100.
    """
    known = volume.modality or modality
    if known:
        return known.upper() in ("CT", "CBCT")
    low, high = intensity_range(volume.array)
    return low <= -500.0 and high >= 100.0


def is_cone_beam(volume: Volume) -> bool:
    """Whether the volume says of itself that it is a cone-beam CT, whose Hounsfield units cannot be relied on."""
    return volume.modality.upper() == "CBCT"


def intensity_range(array: np.ndarray) -> tuple[float, float]:
    """The robust range of a volume: percentiles 0.5 and 99.5 of at most about two million voxels."""
    stride = max(1, int(np.ceil((array.size / 2e6) ** (1 / 3))))
    return robust_range(array[::stride, ::stride, ::stride])


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Percentiles 0.5 and 99.5; the second is always the larger one."""
    low, high = np.percentile(values, (TAIL_PERCENT, 100.0 - TAIL_PERCENT))
    return float(low), float(max(high, low + 1e-6))
