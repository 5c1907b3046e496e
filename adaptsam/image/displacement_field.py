"""Smooth displacements on a coarse grid: x goes to x + u(x), in LPS millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.image.volume import Geometry


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """``array`` float32 (K, J, I, 3) holds u in mm (x, y, z) on ``geometry``; beyond the grid its border goes on."""

    array: np.ndarray
    geometry: Geometry

    def at(self, world: np.ndarray) -> np.ndarray:
        """u (..., 3) at points (..., 3)."""
        world = np.asarray(world, float)
        index = self.geometry.index(world.reshape(-1, 3))[:, ::-1].T
        parts = [ndimage.map_coordinates(self.array[..., c], index, order=1, mode="nearest") for c in range(3)]
        return np.stack(parts, axis=-1).reshape(world.shape)

    def undo(self, end: np.ndarray) -> np.ndarray:
        """The points (..., 3) that end up at ``end`` (..., 3), by fixed-point iteration; u must be invertible."""
        end = np.asarray(end, float)
        start = end
        for _ in range(30):
            before, start = start, end - self.at(start)
            if np.abs(start - before).max(initial=0.0) < 0.01:
                break
        return start

    def jacobian(self) -> np.ndarray:
        """The determinant (K, J, I) of the derivative of x + u(x); where it is not positive, tissue is folded."""
        # Derivatives along the array's k, j, i in mm, then along x, y, z.
        along = np.gradient(self.array, *self.geometry.spacing[::-1], axis=(0, 1, 2))
        by_index = np.stack(along[::-1], axis=-1)
        return np.linalg.det(np.eye(3) + by_index @ np.reshape(self.geometry.direction, (3, 3)).T)
