"""One anatomical order for every volume: permuted and flipped, never resampled, and exactly back again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from adaptsam.image.volume import Geometry

#: For slices that run along world axis 0, 1 or 2 (L, P, S): the world axis and sign of the array's k, j and i axes.
PLANES: dict[int, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    0: ((0, 1), (2, -1), (1, 1)),  # sagittal: rows toward the feet, columns toward the back
    1: ((1, 1), (2, -1), (0, 1)),  # coronal: rows toward the feet, columns toward the patient's left
    2: ((2, 1), (1, 1), (0, 1)),  # axial: rows toward the back, columns toward the patient's left
}

#: A stored axis is the acquisition's slice axis, whatever its place, if it is this much coarser than both others.
THICK_SLICE_RATIO = 1.5


@dataclass(frozen=True)
class Orientation:
    """A permutation and flips of the axes of an array [k, j, i]; what follows them (colour) is left alone.

    ``order[a]`` is the stored array axis that becomes canonical array axis ``a``; ``flipped[a]`` tells whether it is
    reversed there.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The stored array (K, J, I, ...) in canonical order: a view of the same memory, so it can be written to."""
        turned = np.transpose(array, self.order + tuple(range(3, array.ndim)))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`apply`, a view (K, J, I, ...) in stored order."""
        turned = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        back = tuple(int(axis) for axis in np.argsort(self.order))
        return np.transpose(turned, back + tuple(range(3, array.ndim)))

    def geometry(self, stored: Geometry) -> Geometry:
        """The grid of ``apply(array)``; every voxel keeps its place in the patient."""
        shape = tuple(stored.shape[axis] for axis in self.order)
        columns = [2 - axis for axis in reversed(self.order)]
        signs = np.array([-1.0 if flip else 1.0 for flip in reversed(self.flipped)])
        direction = np.reshape(stored.direction, (3, 3))[:, columns] * signs
        origin = stored.world(self.stored_index(np.zeros(3), stored.shape))
        return Geometry(
            shape=(shape[0], shape[1], shape[2]),
            spacing=tuple(stored.spacing[c] for c in columns),  # type: ignore[arg-type]
            origin=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction=tuple(float(value) for value in direction.ravel()),
        )

    def stored_index(self, index: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Indices (..., 3) of the stored array from canonical ones, both i, j, k; ``shape`` is the stored (K, J, I)."""
        canonical = np.asarray(index, float)[..., ::-1]
        stored = np.empty_like(canonical)
        for axis, (source, flip) in enumerate(zip(self.order, self.flipped, strict=True)):
            stored[..., source] = shape[source] - 1 - canonical[..., axis] if flip else canonical[..., axis]
        return stored[..., ::-1]

    def canonical_index(self, index: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """The inverse of :meth:`stored_index`; ``shape`` is the stored (K, J, I) here, too."""
        stored = np.asarray(index, float)[..., ::-1]
        canonical = np.empty_like(stored)
        for axis, (source, flip) in enumerate(zip(self.order, self.flipped, strict=True)):
            canonical[..., axis] = shape[source] - 1 - stored[..., source] if flip else stored[..., source]
        return canonical[..., ::-1]

    def stored_slice(self, k: int, shape: tuple[int, int, int]) -> int:
        """The index, along the stored slice axis ``order[0]``, of canonical slice ``k``."""
        return shape[self.order[0]] - 1 - k if self.flipped[0] else k

    def stored_points(self, points: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Points (n, 2), x and y in a canonical slice, as the stored array's two in-slice indices, faster axis first.

        When slices run along the stored k axis, as usual, these are (i, j).
        """
        points = np.asarray(points, float).reshape(-1, 2)
        stored = self.stored_index(np.concatenate([points, np.zeros((len(points), 1))], axis=1), shape)
        return np.delete(stored, 2 - self.order[0], axis=1)

    def canonical_points(self, points: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """The inverse of :meth:`stored_points`: x and y in a canonical slice, (n, 2)."""
        points = np.asarray(points, float).reshape(-1, 2)
        stored = np.insert(points, 2 - self.order[0], 0.0, axis=1)
        return self.canonical_index(stored, shape)[:, :2]


def nearest_axes(geometry: Geometry) -> tuple[int, int, int]:
    """The world axis (0 L, 1 P, 2 S) nearest to each index axis i, j, k, each used once."""
    size = np.abs(np.reshape(geometry.direction, (3, 3)))
    best = max(permutations(range(3)), key=lambda axes: float(sum(size[axes[c], c] for c in range(3))))
    return best[0], best[1], best[2]


def acquisition_plane(geometry: Geometry, drawn_along_k: bool = False) -> int:
    """The world axis (0 L, 1 P, 2 S) along which the slices of a prior run.

    It is the nearest one to the k axis, unless another stored axis is clearly the thick one (a volume that some tool
    has reoriented) and nobody has recorded slices drawn along k.
    """
    axes = nearest_axes(geometry)
    thickest = int(np.argmax(geometry.spacing))
    others = max(size for axis, size in enumerate(geometry.spacing) if axis != thickest)
    if not drawn_along_k and geometry.spacing[thickest] >= THICK_SLICE_RATIO * others:
        return axes[thickest]
    return axes[2]


def canonical_orientation(geometry: Geometry, plane: int) -> Orientation:
    """The turn of a stored volume that makes slices run along world axis ``plane`` in the order of :data:`PLANES`."""
    axes = nearest_axes(geometry)
    direction = np.reshape(geometry.direction, (3, 3))
    order, flipped = [], []
    for world_axis, sign in PLANES[plane]:
        column = axes.index(world_axis)
        order.append(2 - column)
        flipped.append(bool(direction[world_axis, column] * sign < 0))
    return Orientation((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))
