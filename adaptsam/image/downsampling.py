"""Volumes averaged over whole blocks of voxels, and the patient in them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from adaptsam.image.volume import Geometry


def coarse_blocks(geometry: Geometry, pitch_mm: float) -> tuple[int, int, int]:
    """Numbers of voxels along k, j and i that make up about ``pitch_mm``, at least one."""
    k, j, i = (max(1, round(pitch_mm / spacing)) for spacing in geometry.spacing[::-1])
    return k, j, i


def coarse_geometry(geometry: Geometry, blocks: tuple[int, int, int], shape: tuple[int, int, int]) -> Geometry:
    """The grid of the centres of ``shape`` blocks."""
    return Geometry(
        shape=shape,
        spacing=tuple(geometry.spacing[c] * blocks[2 - c] for c in range(3)),  # type: ignore[arg-type]
        origin=tuple(float(v) for v in geometry.world([(blocks[2 - c] - 1) / 2 for c in range(3)])),  # type: ignore
        direction=geometry.direction,
    )


def block_means(array: np.ndarray, blocks: tuple[int, int, int]) -> np.ndarray:
    """Means (k, j, i) over blocks of (K, J, I), float32, slice by slice; what fills no block at the end is dropped."""
    shape = [max(1, array.shape[axis] // blocks[axis]) for axis in range(3)]
    sizes = [min(blocks[axis], array.shape[axis]) for axis in range(3)]
    means = np.empty(shape, np.float32)
    for k in range(shape[0]):
        slab = array[k * sizes[0] : (k + 1) * sizes[0], : shape[1] * sizes[1], : shape[2] * sizes[2]]
        parts = slab.astype(np.float32).mean(axis=0).reshape(shape[1], sizes[1], shape[2], sizes[2])
        means[k] = parts.mean(axis=(1, 3))
    return means


def body_mask(array: np.ndarray, threshold: float) -> np.ndarray:
    """The largest object above ``threshold``, holes filled slice by slice, bool (K, J, I); all if there is none."""
    tissue = ndimage.binary_opening(array > threshold, np.ones((1, 3, 3), bool))
    labels, count = ndimage.label(tissue)
    if count == 0:
        return np.ones(array.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = labels == int(np.argmax(sizes))
    return np.stack([ndimage.binary_fill_holes(one) for one in body])
