"""Masks as signed distances: what can be moved, mixed and resampled finer than a voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def signed_distance(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance to the border of a mask, negative inside, float32; ``spacing`` per array axis.

    The border runs half-way between voxel centres along the finest axis.
    """
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    half = 0.5 * min(spacing)
    return np.where(mask, half - inside, outside - half).astype(np.float32)
