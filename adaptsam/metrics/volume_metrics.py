"""Metrics of a segmentation against a reference: overlap, distances of the surfaces in mm, volume, position.

Surface distances and surface Dice are MONAI's. The surface Dice weighs each surface element by its area in mm²
(Nikolov et al., 2018, arXiv:1809.04430), so that thick slices do not count as much as thin ones; the 95 % Hausdorff
distance and the mean distance run over the border voxels of the two masks.

The added path length is the contour that a person would still have to draw (Vaassen et al., 2020).

Empty masks: two empty masks agree (overlaps and surface Dice are 1), an empty one against any other does not (0).
A distance to something that is not there is NaN, never 0. The added path of an empty mask is the whole reference's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from adaptsam.errors import GeometryError
from adaptsam.image.resampling import set_upright
from adaptsam.image.volume import Geometry, StructureSet


@dataclass(frozen=True)
class Agreement:
    """Agreement of one mask with its reference.

    ``hausdorff_95`` is the larger of the two directed 95th percentiles, ``mean_surface_distance`` the symmetric mean,
    both in mm. ``surface_dice`` is the share of both surfaces that lies within ``tolerance`` mm of the other one.
    ``volume_error`` in cm³ is positive where the mask is too large; ``centroid_error`` is in mm, and so is
    ``added_path``, the length of :func:`added_path_length`.
    """

    dice: float
    iou: float
    hausdorff_95: float
    mean_surface_distance: float
    surface_dice: float
    tolerance: float
    volume: float
    reference_volume: float
    centroid_error: float
    added_path: float

    @property
    def volume_error(self) -> float:
        return self.volume - self.reference_volume


def compare(mask: np.ndarray, reference: np.ndarray, geometry: Geometry, tolerance: float = 2.0) -> Agreement:
    """Compare ``mask`` with ``reference``, both bool (K, J, I) on the grid ``geometry``.

    Args:
        tolerance: of the surface Dice, in mm.

    Raises:
        GeometryError: if a mask does not have the grid's shape.
    """
    mask, reference = np.asarray(mask, bool), np.asarray(reference, bool)
    for name, array in (("mask", mask), ("reference", reference)):
        if array.shape != geometry.shape:
            raise GeometryError(f"The {name} has the shape {array.shape}, but its grid has {geometry.shape}.")
    both, either = (mask & reference).sum(), (mask | reference).sum()
    hausdorff_95, mean_distance, surface_dice = _surfaces(mask, reference, geometry, tolerance)
    cm3 = geometry.voxel_volume / 1000
    return Agreement(
        dice=dice(mask, reference),
        iou=float(both / either) if either else 1.0,
        hausdorff_95=hausdorff_95,
        mean_surface_distance=mean_distance,
        surface_dice=surface_dice,
        tolerance=tolerance,
        volume=float(mask.sum() * cm3),
        reference_volume=float(reference.sum() * cm3),
        centroid_error=float(np.linalg.norm(centroid(mask, geometry) - centroid(reference, geometry))),
        added_path=added_path_length(mask, reference, geometry),
    )


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Twice the overlap of two bool masks of any shape, over the sum of their sizes; 1 if both are empty."""
    inside = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / inside if inside else 1.0


def added_path_length(mask: np.ndarray, reference: np.ndarray, geometry: Geometry, tolerance: float = 0.0) -> float:
    """The contour that a person must still draw, in mm (Vaassen et al., 2020): the reference's that the mask lacks.

    On every slice along k, the pixels of the reference's border are counted that are no pixel of the mask's border, and
    each counts as one pixel's mean side. What has to be deleted only costs nothing.

    Args:
        mask: bool (K, J, I).
        reference: bool (K, J, I).
        geometry: of both.
        tolerance: in mm, within the slice, up to which a border counts as there; 0 as published.
    """
    box = bounding_box(mask | reference)
    if box is None:
        return 0.0
    ours, theirs = (_borders(array[box]) for array in (mask, reference))
    if tolerance > 0:
        missing = 0
        for drawn, wanted in zip(ours, theirs, strict=True):
            far = ndimage.distance_transform_edt(~drawn, sampling=geometry.spacing[1::-1]) if drawn.any() else np.inf
            missing += int(np.count_nonzero(wanted & (far > tolerance)))
    else:
        missing = int(np.count_nonzero(theirs & ~ours))
    return missing * float(np.mean(geometry.spacing[:2]))


def _borders(mask: np.ndarray) -> np.ndarray:
    """The pixels of each slice of a mask (K, J, I) that have a neighbour outside it, across an edge, in their slice."""
    across_edges = ndimage.generate_binary_structure(2, 1)[None]
    return mask & ~ndimage.binary_erosion(mask, across_edges)


def compare_structures(
    result: StructureSet, reference: StructureSet, tolerance: float = 2.0, geometry_tolerance: float = 1e-3
) -> dict[str, Agreement]:
    """The agreement of every structure that both sets name, in the order of ``result``.

    Raises:
        GeometryError: if the two sets lie on different grids; resample one of them first.
    """
    if not result.geometry.matches(reference.geometry, geometry_tolerance):
        raise GeometryError("The two structure sets lie on different grids: bring one of them to the other's first.")
    truth = {structure.name: structure.mask for structure in reference.structures}
    return {
        structure.name: compare(structure.mask, truth[structure.name], result.geometry, tolerance)
        for structure in result.structures
        if structure.name in truth
    }


def slice_dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """The mean of the slices' own Dice over the slices that hold the reference, as P²SAM's tables report it.

    Both masks are bool (K, J, I). NaN where no slice holds the reference.
    """
    mask, reference = np.asarray(mask, bool), np.asarray(reference, bool)
    held = reference.any(axis=(1, 2))
    if not held.any():
        return float("nan")
    mask, reference = mask[held], reference[held]
    both = (mask & reference).sum(axis=(1, 2))
    return float(np.mean(2 * both / (mask.sum(axis=(1, 2)) + reference.sum(axis=(1, 2)))))


def centroid(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The centre of mass (3,) in LPS mm of a mask bool (K, J, I); NaN for an empty one."""
    box = bounding_box(mask)
    if box is None:
        return np.full(3, np.nan)
    offset = np.array([axis.start for axis in box])
    index = np.argwhere(mask[box]).mean(axis=0) + offset
    return geometry.world(index[::-1])


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest slices, one an axis, that hold every voxel of ``mask`` of any shape; None for an empty one."""
    ranges = []
    for axis in range(mask.ndim):
        held = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if held.size == 0:
            return None
        ranges.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(ranges)


def _surfaces(mask: np.ndarray, reference: np.ndarray, geometry: Geometry, tolerance: float) -> tuple[float, ...]:
    """The 95 % Hausdorff distance, the mean surface distance and the surface Dice."""
    if not mask.any() or not reference.any():
        return float("nan"), float("nan"), float(mask.any() == reference.any())

    import torch  # here, so that reading a centroid does not wait for torch and MONAI
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    (mask, grid), (reference, _) = (set_upright(array, geometry, nearest=True) for array in (mask, reference))
    box = bounding_box(mask | reference)
    # Everything outside the union's box is empty in both: MONAI sees the box alone, and pads it itself.
    ours, theirs = (
        torch.from_numpy(np.ascontiguousarray(array[box]))[None, None].float() for array in (mask, reference)
    )
    options: dict[str, Any] = {"include_background": True, "spacing": [float(side) for side in grid.spacing[::-1]]}
    with warnings.catch_warnings():
        # MONAI 1.6 warns of a deprecated argument that it passes to itself.
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(ours, theirs, percentile=95, **options)
        mean = compute_average_surface_distance(ours, theirs, symmetric=True, **options)
        dice = compute_surface_dice(ours, theirs, [tolerance], use_subvoxels=True, **options)
    return float(distance), float(mean), float(dice)
