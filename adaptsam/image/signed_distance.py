"""Masks as signed distances: what can be moved, mixed and resampled finer than a voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def signed_distance(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance in mm to the border of a mask of any shape, negative inside, float32; ``spacing`` per array axis.

    The border runs half-way between voxel centres along the finest axis.
    """
    half = 0.5 * min(spacing)
    distance = (ndimage.distance_transform_edt(~mask, sampling=spacing) - half).astype(np.float32)
    # The nearest voxel outside lies no farther than one beyond the mask's box.
    for box in ndimage.find_objects(mask.astype(np.int8)):
        around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        inside = half - ndimage.distance_transform_edt(mask[around], sampling=spacing)
        np.copyto(distance[around], inside, where=mask[around], casting="same_kind")
    return distance
