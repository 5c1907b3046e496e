"""The shape between two contours: linear interpolation of their signed distances (Raya and Udupa, 1990)."""

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


def between(first: np.ndarray, second: np.ndarray, weight: float, spacing: tuple[float, float]) -> np.ndarray:
    """The mask (H, W) at ``weight`` (0 first, 1 second) of the way between two; empty if either is empty."""
    if not first.any() or not second.any():
        return np.zeros_like(first)
    both = first | second
    rows, columns = (np.flatnonzero(both.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    a, b = (np.pad(one[box], 1) for one in (first, second))
    mixed = (1 - weight) * signed_distance(a, spacing) + weight * signed_distance(b, spacing)
    result = np.zeros_like(first)
    result[box] = mixed[1:-1, 1:-1] < 0
    return result
