"""Regions of an image not outlined: superpixels at three scales, and components between thresholds.

They are targets without a name. A model that is to follow a click on anything must have seen more than the structures
that somebody had a reason to outline (compare the data engine of Kirillov et al., 2023, Sec. 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.segmentation import felzenszwalb

#: Most regions of a map: what a byte counts, less 0 for "none".
MOST_REGIONS = 255
_SCALES = (40.0, 150.0, 500.0)
_FEWEST_PIXELS, _LARGEST_SHARE = 20, 0.7
_LEVELS = 4


def region_maps(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Maps of regions of a gray (H, W) or colour (H, W, 3) image.

    Returns:
        uint8 (5, H, W), 0 where there is no region: superpixels from fine to coarse (Felzenszwalb and Huttenlocher,
        2004), components of four classes of gray (Otsu, 1979), and the same with their holes filled.
    """
    superpixels = [felzenszwalb(image, scale=scale, sigma=0.8, min_size=_FEWEST_PIXELS) + 1 for scale in _SCALES]
    gray = image if image.ndim == 2 else image.mean(2)
    components, filled = _threshold_components(ndimage.gaussian_filter(gray.astype(np.float32), 1.0))
    return np.stack([kept_regions(x) for x in (*superpixels, components, filled)])


def kept_regions(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The largest regions of labels (H, W), numbered from 1; none of a few pixels, none of most of the image."""
    count = np.bincount(labels.ravel())
    count[0] = 0
    usable = np.flatnonzero((count >= _FEWEST_PIXELS) & (count <= _LARGEST_SHARE * labels.size))
    usable = usable[np.argsort(-count[usable])][:MOST_REGIONS]
    number = np.zeros(len(count), np.uint8)
    number[usable] = np.arange(1, len(usable) + 1)
    return number[labels]


def _threshold_components(gray: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Connected components of the classes of gray, and those that have holes with the holes filled."""
    components, filled = np.zeros(gray.shape, np.int32), np.zeros(gray.shape, np.int32)
    if len(np.unique(gray)) < 2 * _LEVELS:
        return components, filled
    classes = np.digitize(gray, threshold_multiotsu(gray, _LEVELS))
    for level in range(_LEVELS):
        labels, _ = ndimage.label(classes == level)
        components = np.where(labels > 0, labels + components.max(), components)
        # From the middle upwards: the body without its air, an organ with its vessels.
        whole = ndimage.binary_fill_holes(classes >= level) if level else np.zeros_like(classes, bool)
        labels, _ = ndimage.label(whole)
        filled = np.where(labels > 0, labels + filled.max(), filled)
    return components, filled
