"""Windowing of Hounsfield units, MR intensities or colour to the three 8-bit channels that SAM reads."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.body import coarsen
from adaptsam.image.intensity import PAPERS_WINDOW, Window, intensity_range, is_cone_beam, is_ct, robust_range
from adaptsam.image.volume import Volume

#: What a user may ask for: a name of :data:`WINDOWS`, "auto", "anatomy", two numbers, or one of these per structure.
WindowChoice = str | tuple[float, float] | Mapping[str, "str | tuple[float, float]"]


#: In Hounsfield units; "papers" is P²SAM's, for lung and everything around it.
WINDOWS = {
    "papers": PAPERS_WINDOW,
    "lung": Window(-1350.0, 150.0),
    "soft tissue": Window(-160.0, 240.0),
    "liver": Window(-45.0, 105.0),
    "brain": Window(-20.0, 100.0),
    "bone": Window(-450.0, 1050.0),
}

#: For "anatomy": the first entry of which a word occurs in the structure's name decides; otherwise "papers".
ANATOMY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("soft tissue", ("liver", "kidney", "spleen", "pancreas", "bladder", "prostate", "rectum", "stomach", "bowel")),
    ("soft tissue", ("duodenum", "uterus", "adrenal", "gallbladder", "parotid", "muscle", "thyroid", "heart", "aort")),
    ("soft tissue", ("esophag", "colon", "intestine", "cervix", "breast", "sarcoma", "lymph")),
    ("brain", ("brain", "chiasm", "hippocamp", "cerebell", "ventricle_cns")),
    ("bone", ("bone", "vertebra", "rib", "femur", "sacrum", "mandible", "sternum")),
)

#: The pitch in mm at which the body is found for percentiles within it.
BODY_PITCH_MM = 8.0

#: Hounsfield units of air and of soft tissue, the two marks by which a cone beam's own scale is found.
AIR_HU, SOFT_TISSUE_HU = -1000.0, 30.0

#: What a cone beam may make of the difference between the two; beyond it, the marks were not air and soft tissue.
CONE_BEAM_SPANS = (300.0, 3000.0)


def choose_window(volume: Volume, choice: WindowChoice = "auto", structure: str = "", modality: str = "") -> Window:
    """The window of one volume for one structure.

    "auto" gives CT the papers' window whatever the structure, so that all structures share one embedding; "anatomy"
    chooses by the structure's name, at one embedding per window. In a cone-beam CT, windows given by name are moved to
    its own air and soft tissue. All other images (MR, ultrasound) have no unit, so that every name gives the
    percentiles 0.5 to 99.5 within the body. Two numbers are taken as they are.
    ``modality`` stands in where the volume does not know its own. Raises InputError for an unknown name.
    """
    if isinstance(choice, Mapping):
        return choose_window(volume, choice.get(structure, "auto"), structure, modality)
    if not isinstance(choice, str):
        return _given(choice)
    if volume.array.ndim == 4 or volume.array.dtype == np.uint8:
        return Window()
    window = _named(choice, structure)
    if window is None or not is_ct(volume, modality):
        return Window(*robust_range(body_values(volume, modality)))
    return _on_own_scale(window, volume) if is_cone_beam(volume) else window


def body_values(volume: Volume, modality: str = "") -> np.ndarray:
    """Intensities (n,) within the body, of at most about two million voxels; all where no body is found."""
    array, coarse = volume.array, coarsen(volume, BODY_PITCH_MM, modality)
    stride = max(1, int(np.ceil((array.size / 2e6) ** (1 / 3))))
    k, j, i = np.meshgrid(*(np.arange(0, length, stride) for length in array.shape), indexing="ij", sparse=True)
    index = np.stack(np.broadcast_arrays(i, j, k), axis=-1)
    there = np.rint(coarse.geometry.index(volume.geometry.world(index)))[..., ::-1].astype(int)
    there = np.clip(there, 0, np.array(coarse.body.shape) - 1)
    values = array[::stride, ::stride, ::stride][coarse.body[tuple(np.moveaxis(there, -1, 0))]]
    return values if values.size else array[::stride, ::stride, ::stride].ravel()


def _on_own_scale(window: Window, volume: Volume) -> Window:
    """A window in Hounsfield units in the numbers of a cone-beam CT, by its lowest values and its soft tissue.

    Soft tissue is the median of the body without lungs and bowel gas; scatter and a missing calibration shift and
    stretch both marks (HU of one tissue differ by hundreds from scanner to scanner).
    """
    air = intensity_range(volume.array)[0]
    values = body_values(volume)
    low, high = robust_range(values)
    soft = float(np.median(values[values >= (air + high) / 2]))
    span = soft - air
    if not CONE_BEAM_SPANS[0] <= span <= CONE_BEAM_SPANS[1] or window.low is None or window.high is None:
        return Window(low, high)
    scale = span / (SOFT_TISSUE_HU - AIR_HU)
    return Window(air + scale * (window.low - AIR_HU), air + scale * (window.high - AIR_HU))


def check_window(choice: WindowChoice) -> None:
    """Raise InputError for a choice that no volume can be shown with."""
    if isinstance(choice, Mapping):
        for one in choice.values():
            check_window(one)
    elif isinstance(choice, str):
        _named(choice, "")
    else:
        _given(choice)


def _given(limits: tuple[float, float]) -> Window:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise InputError(f"An intensity window is a name or two numbers, as -160,240, and not {limits!r}.") from None
    if not low < high:
        raise InputError(f"An intensity window needs a lower limit below its upper one, not {low:g} to {high:g}.")
    return Window(low, high)


def _named(name: str, structure: str) -> Window | None:
    """The window in Hounsfield units, or None for percentiles."""
    if name == "percentiles":
        return None
    if name in ("auto", "anatomy"):
        name = _by_anatomy(structure) if name == "anatomy" else "papers"
    if name in WINDOWS:
        return WINDOWS[name]
    known = ["auto", "anatomy", "percentiles", *WINDOWS]
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"There is no window {name!r}; known are {', '.join(known)}.{hint}")


def _by_anatomy(structure: str) -> str:
    name = structure.lower()
    return next((window for window, words in ANATOMY if any(word in name for word in words)), "papers")
