"""Parts of the prior that the result lacks: its components compared with the result, place by place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.slicewise.prior_contour import PriorContour
from adaptsam.slicewise.structure_location import Location

#: Voxels of one component that are looked up, at most.
VOXELS = 5000


@dataclass(frozen=True, eq=False)
class LostPart:
    """A component of the prior of which the result has nothing: its ``share`` of the structure, and by target slice k
    how many pixels of it are expected there."""

    share: float
    pixels: dict[int, int]


def lost_parts(
    contour: PriorContour,
    location: Location,
    mask: np.ndarray,
    pixels_a_voxel: float,
    least_share: float,
    covered: float,
) -> list[LostPart]:
    """The components of the prior, each at least ``least_share`` of it, of which the result covers less than
    ``covered``.

    Args:
        contour: the prior's.
        location: where it is expected in the target.
        mask: the result, bool (K, J, I), canonical.
        pixels_a_voxel: how many of the target's voxels fill one of the prior's.
        least_share: of the structure's volume.
        covered: share of a component's expected place that must be in the result.
    """
    labels, count = ndimage.label(contour.body, np.ones((3, 3, 3), bool))
    if count < 2:
        return []
    start = np.array([one.start for one in contour.box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    lost = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        share = sizes[number - 1] / sizes.sum()
        if share < least_share:
            continue
        voxels = np.argwhere(labels[box] == number) + [one.start for one in box] + start
        step = max(1, len(voxels) // VOXELS)
        place = np.rint(location.to_target_index(voxels[::step, ::-1].astype(float))[:, ::-1]).astype(int)
        seen = np.all((place >= 0) & (place < np.array(mask.shape)), axis=1)
        if seen.mean() < 0.5 or mask[tuple(place[seen].T)].mean() >= covered:
            continue
        slices, often = np.unique(place[seen, 0], return_counts=True)
        pixels = np.rint(often * step * pixels_a_voxel).astype(int)
        lost.append(LostPart(float(share), dict(zip(slices.tolist(), pixels.tolist(), strict=True))))
    return lost
