"""From Hounsfield units, MR intensities or colour to the three 8-bit channels that SAM sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from adaptsam.data.volume import Volume
from adaptsam.errors import InputError

#: What a user may ask for: a name of :data:`WINDOWS`, "auto", "anatomy", two numbers, or one of these per structure.
WindowChoice = str | tuple[float, float] | Mapping[str, "str | tuple[float, float]"]


@dataclass(frozen=True)
class Window:
    """Intensities from ``low`` to ``high`` become 0 to 255; without limits, 8-bit images stay as they are."""

    low: float | None = None
    high: float | None = None

    def rgb(self, image: np.ndarray) -> np.ndarray:
        """One slice (H, W), or (H, W, 3) of colour, as uint8 (H, W, 3)."""
        if image.ndim == 3:
            return np.ascontiguousarray(image)
        if self.low is None or self.high is None:
            gray = image.astype(np.uint8)
        else:
            scaled = (image.astype(np.float32) - self.low) * (255.0 / (self.high - self.low))
            gray = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)


#: In Hounsfield units; "papers" is P²SAM's, for lung and everything around it.
WINDOWS = {
    "papers": Window(-910.0, 590.0),
    "lung": Window(-1350.0, 150.0),
    "soft tissue": Window(-160.0, 240.0),
    "liver": Window(-45.0, 105.0),
    "brain": Window(-20.0, 100.0),
    "bone": Window(-450.0, 1050.0),
}

#: For "anatomy": the first entry of which a word occurs in the structure's name decides; otherwise "papers".
ANATOMY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("soft tissue", ("liver", "kidney", "spleen", "pancreas", "bladder", "prostate", "rectum", "stomach", "bowel")),
    ("soft tissue", ("duodenum", "uterus", "adrenal", "gallbladder", "parotid", "muscle", "thyroid")),
    ("brain", ("brain", "chiasm", "hippocamp", "cerebell", "ventricle_cns")),
    ("bone", ("bone", "vertebra", "rib", "femur", "sacrum", "mandible", "sternum")),
)

#: The share of intensities cut off at each end when a volume has no physical unit (MR, ultrasound of 16 bits).
TAIL_PERCENT = 0.5


def choose_window(volume: Volume, choice: WindowChoice = "auto", structure: str = "", modality: str = "") -> Window:
    """The window of one volume for one structure.

    "auto" gives CT the papers' window whatever the structure, so that all structures share one embedding, and anything
    else its own percentiles 0.5 to 99.5; "anatomy" chooses by the structure's name, at one embedding per window.
    ``modality`` stands in where the volume does not know its own. Raises InputError for an unknown name.
    """
    if isinstance(choice, Mapping):
        return choose_window(volume, choice.get(structure, "auto"), structure, modality)
    if not isinstance(choice, str):
        return _given(choice)
    if volume.array.ndim == 4 or volume.array.dtype == np.uint8:
        return Window()
    if choice not in ("auto", "anatomy", "percentiles"):
        return _named(choice)
    if choice == "percentiles" or not is_ct(volume, modality):
        low, high = intensity_range(volume.array)
        return Window(low, high)
    return WINDOWS[_by_anatomy(structure)] if choice == "anatomy" else WINDOWS["papers"]


def is_ct(volume: Volume, modality: str = "") -> bool:
    """Whether intensities are Hounsfield units: by modality, and failing that by air below −500 and bone above 100."""
    known = volume.modality or modality
    if known:
        return known.upper() in ("CT", "CBCT")
    low, high = intensity_range(volume.array)
    return low <= -500.0 and high >= 100.0


def intensity_range(array: np.ndarray) -> tuple[float, float]:
    """The robust range of a volume: percentiles 0.5 and 99.5 of at most about two million voxels."""
    stride = max(1, int(np.ceil((array.size / 2e6) ** (1 / 3))))
    sample = array[::stride, ::stride, ::stride]
    low, high = np.percentile(sample, (TAIL_PERCENT, 100.0 - TAIL_PERCENT))
    return float(low), float(max(high, low + 1e-6))


def _given(limits: tuple[float, float]) -> Window:
    low, high = float(limits[0]), float(limits[1])
    if not low < high:
        raise InputError(f"An intensity window needs a lower limit below its upper one, not {low:g} to {high:g}.")
    return Window(low, high)


def _named(name: str) -> Window:
    if name in WINDOWS:
        return WINDOWS[name]
    known = ["auto", "anatomy", "percentiles", *WINDOWS]
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"There is no window {name!r}; known are {', '.join(known)}.{hint}")


def _by_anatomy(structure: str) -> str:
    name = structure.lower()
    return next((window for window, words in ANATOMY if any(word in name for word in words)), "papers")
