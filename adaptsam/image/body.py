"""Body of the patient in a volume: without air, without most of the couch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptsam.image.downsampling import block_means, body_mask, coarse_blocks, coarse_geometry
from adaptsam.image.intensity import intensity_range, is_cone_beam, is_ct
from adaptsam.image.resampling import set_upright
from adaptsam.image.volume import Geometry, Volume

#: Tissue and air part here: Hounsfield units in CT, share of the robust range in a cone-beam CT and elsewhere.
CT_THRESHOLD = -300.0
CONE_BEAM_THRESHOLD = 0.4
OTHER_THRESHOLD = 0.08


@dataclass(frozen=True, eq=False)
class CoarseVolume:
    """A volume averaged over whole blocks of voxels: ``array`` float32 (K, J, I) on its own ``geometry``.

    ``body`` and ``seen`` are bool (K, J, I); ``seen``, where the image has been, is None if that is everywhere.
    """

    array: np.ndarray
    geometry: Geometry
    body: np.ndarray
    seen: np.ndarray | None = None


def coarsen(volume: Volume, pitch_mm: float = 4.0, modality: str = "") -> CoarseVolume:
    """Block averages of a gray volume at about ``pitch_mm`` per axis, never finer than stored, and the body in them.

    A sheared volume (of a tilted gantry) is set upright, so that whoever takes it finds perpendicular axes.
    """
    blocks = coarse_blocks(volume.geometry, pitch_mm)
    array = block_means(volume.array, blocks)
    coarse = coarse_geometry(volume.geometry, blocks, (array.shape[0], array.shape[1], array.shape[2]))
    seen = set_upright(np.ones(array.shape, bool), coarse, nearest=True)[0] if coarse.is_sheared else None
    array, coarse = set_upright(array, coarse, fill=float(array.min()))
    if is_ct(volume, modality) and not is_cone_beam(volume):
        threshold = CT_THRESHOLD
    else:
        low, high = intensity_range(volume.array)
        threshold = low + (CONE_BEAM_THRESHOLD if is_cone_beam(volume) else OTHER_THRESHOLD) * (high - low)
    return CoarseVolume(array, coarse, body_mask(array, threshold), seen)


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
