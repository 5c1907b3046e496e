"""The shape between two contours: linear interpolation of their signed distances (Raya and Udupa, 1990)."""

from __future__ import annotations

import numpy as np

from adaptsam.image.signed_distance import signed_distance


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
