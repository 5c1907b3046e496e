"""Lungs of an axial CT slice by threshold and components: targets where nobody outlined the lungs.

Large targets are rare among outlined structures, and a model that saw none takes a part for the whole. On air the rule
of thumb is as good as an outline, so that it may teach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk
from skimage.segmentation import expand_labels

_LARGEST_LUNGS = 2
_SMALLEST_SHARE = 0.008
#: Radius in pixels of a slice of 256: of bridges between lungs, and of vessels that belong to them.
_BRIDGE, _VESSEL = 1, 4


def lung_labels(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map of the lungs that a slice shows.

    Args:
        gray: uint8 (H, W), air dark, in any window that parts air from tissue.

    Returns:
        uint8 (H, W): 0 outside, 1 and 2 the larger and the smaller lung; all 0 where no lung is found.
    """
    if gray.max() == gray.min():
        return np.zeros(gray.shape, np.uint8)
    scale = max(gray.shape) / 256
    tissue = gray > threshold_otsu(gray)
    # The couch is tissue, too; the body is larger, and thicker than its bars.
    body = _largest(ndimage.binary_opening(tissue, disk(round(2 * scale))))
    air = ndimage.binary_fill_holes(body) & ~tissue
    labels = _components(ndimage.binary_erosion(air, disk(_BRIDGE)), gray.size)
    lungs = np.where(air, expand_labels(labels, _BRIDGE + 1), 0)
    found = np.zeros(gray.shape, np.uint8)
    for number in range(1, lungs.max() + 1):
        found[(found == 0) & _with_vessels(lungs == number, round(_VESSEL * scale))] = number
    return found


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=2)
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax() if count else mask, bool)


def _components(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.uint8]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = [n for n in np.argsort(-sizes)[:_LARGEST_LUNGS] if sizes[n] >= _SMALLEST_SHARE * pixels]
    found = np.zeros(mask.shape, np.uint8)
    for number, label in enumerate(kept, start=1):
        found[labels == label] = number
    return found


def _with_vessels(lung: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    padded = np.pad(lung, radius)
    closed = ndimage.binary_closing(padded, disk(radius))
    return np.asarray(ndimage.binary_fill_holes(closed)[radius:-radius, radius:-radius], bool)
