"""Region of interest in a volume: a box of any orientation, a range of slices."""

from __future__ import annotations

import numpy as np

from adaptsam.errors import InputError


def region(
    shape: tuple[int, int, int], box: np.ndarray | None = None, slices: tuple[int, int] | None = None
) -> np.ndarray | None:
    """The voxels within a box and a range of slices, bool (K, J, I); None where neither is given.

    Args:
        shape: of the volume's array.
        box: 4×4, from voxels (i, j, k, 1) to coordinates in which the box reaches from -1 to 1 along each axis.
        slices: the first and the last one along k, both included.

    Raises:
        InputError: the box lies outside of the volume, or there are no such slices.
    """
    if box is None and slices is None:
        return None
    inside = np.zeros(shape, bool)
    first, last = slices or (0, shape[0] - 1)
    if not 0 <= first <= last < shape[0]:
        raise InputError(f"Slices {first} to {last} were asked for, but they are numbered 0 to {shape[0] - 1}.")
    inside[first : last + 1] = True
    if box is not None:
        matrix = np.asarray(box, float)
        j, i = np.indices(shape[1:])
        for k in range(first, last + 1):
            at = [matrix[row, 0] * i + matrix[row, 1] * j + (matrix[row, 2] * k + matrix[row, 3]) for row in range(3)]
            inside[k] = (np.abs(at) <= 1 + 1e-9).all(axis=0)
        if not inside.any():
            raise InputError(
                "The region of interest lies outside of the image or holds no voxel; move it or take it away."
            )
    return inside
