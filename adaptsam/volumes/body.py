"""Where the patient is in a volume: without air, without most of the couch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.data.volume import Geometry, Volume
from adaptsam.volumes.windows import intensity_range, is_ct

#: Tissue and air part here: Hounsfield units in CT, share of the robust range elsewhere.
CT_THRESHOLD = -300.0
OTHER_THRESHOLD = 0.08


@dataclass(frozen=True, eq=False)
class CoarseVolume:
    """A volume averaged over whole blocks of voxels: ``array`` float32 (K, J, I) on its own ``geometry``."""

    array: np.ndarray
    geometry: Geometry
    body: np.ndarray


def coarsen(volume: Volume, pitch_mm: float = 4.0, modality: str = "") -> CoarseVolume:
    """Block averages of a gray volume at about ``pitch_mm`` per axis, never finer than stored, and the body in them."""
    geometry = volume.geometry
    blocks = [max(1, round(pitch_mm / geometry.spacing[2 - axis])) for axis in range(3)]
    array = _block_means(volume.array, blocks)
    coarse = Geometry(
        shape=(array.shape[0], array.shape[1], array.shape[2]),
        spacing=tuple(geometry.spacing[c] * blocks[2 - c] for c in range(3)),  # type: ignore[arg-type]
        origin=tuple(float(v) for v in geometry.world([(blocks[2 - c] - 1) / 2 for c in range(3)])),  # type: ignore
        direction=geometry.direction,
    )
    if is_ct(volume, modality):
        threshold = CT_THRESHOLD
    else:
        low, high = intensity_range(volume.array)
        threshold = low + OTHER_THRESHOLD * (high - low)
    return CoarseVolume(array, coarse, body_mask(array, threshold))


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


def in_plane_box(coarse: CoarseVolume) -> tuple[np.ndarray, tuple[float, float]]:
    """The centre of the body, (3,) LPS mm on the middle slice, and its extent (x, y) in mm over all slices.

    Slices that hold less than a tenth of the largest one's body do not count.
    """
    areas = coarse.body.sum(axis=(1, 2))
    flat = coarse.body[areas >= 0.1 * areas.max()].any(axis=0)
    centre, extent = [], []
    for axis in (1, 0):
        used = np.flatnonzero(flat.any(axis=1 - axis))
        centre.append((used[0] + used[-1]) / 2)
        extent.append(float(used[-1] - used[0] + 1) * coarse.geometry.spacing[1 - axis])
    middle = (coarse.geometry.shape[0] - 1) / 2
    return coarse.geometry.world(np.array([centre[0], centre[1], middle])), (extent[0], extent[1])


def _block_means(array: np.ndarray, blocks: list[int]) -> np.ndarray:
    """Means over blocks, streaming over the first axis; what does not fill a block at the end is dropped."""
    shape = [max(1, array.shape[axis] // blocks[axis]) for axis in range(3)]
    blocks = [min(blocks[axis], array.shape[axis]) for axis in range(3)]
    means = np.empty(shape, np.float32)
    for k in range(shape[0]):
        slab = array[k * blocks[0] : (k + 1) * blocks[0], : shape[1] * blocks[1], : shape[2] * blocks[2]]
        parts = slab.astype(np.float32).mean(axis=0).reshape(shape[1], blocks[1], shape[2], blocks[2])
        means[k] = parts.mean(axis=(1, 3))
    return means
