"""Making slices that were segmented one by one into one object in three dimensions, of the kind the prior is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from adaptsam.image.shape_interpolation import between
from adaptsam.slicewise.volume_settings import CleanupSettings

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Shape:
    """Shape of a structure: number of components, the smallest one's share of the largest, and holes.

    ``holes`` is the share of its filled slices' area that is hole.
    """

    components: int = 1
    smallest_share: float = 1.0
    holes: float = 0.0


def shape_of(body: np.ndarray, settings: CleanupSettings) -> Shape:
    """The shape of a prior structure, bool (K, J, I)."""
    labels, _ = ndimage.label(body, _ALL_NEIGHBOURS)
    sizes = np.bincount(labels.ravel())[1:]
    shares = sizes / sizes.max()
    counted = shares[shares >= settings.minimum_share]
    filled = sum(int(ndimage.binary_fill_holes(one).sum()) for one in body)
    return Shape(len(counted), float(counted.min()), 1.0 - float(body.sum()) / filled)


#: How much of a set of voxels (n, 3), k, j, i, lies somewhere, 0 to 1.
Overlap = Callable[[np.ndarray], float]


def clean(
    mask: np.ndarray,
    shape: Shape,
    settings: CleanupSettings,
    overlap: Overlap | None = None,
    inside: Overlap | None = None,
) -> np.ndarray:
    """Clean a result bool (K, J, I) in place; returns how many pixels every slice lost, int (K,).

    ``overlap`` tells what lies where the structure is expected, or near: with it, a component counts by its voxels
    there. ``inside`` tells what lies within the registered contour itself: a component of which ``own_place`` does has
    its counterpart in the prior, and stays however small it is; a large hole of which less does is none of the mask's
    faults, and stays open.
    """
    lost = np.zeros(len(mask), int)
    box = bounding_box(mask)
    if box is None:
        return lost
    part = mask[box]
    if settings.holes and shape.holes < settings.hole_share:
        _fill_holes(part, settings, inside, np.array([one.start for one in box]))
    if settings.components:
        before = part.sum(axis=(1, 2))
        _keep_components(part, shape, settings, overlap, inside, np.array([one.start for one in box]))
        lost[box[0]] = before - part.sum(axis=(1, 2))
    return lost


def _fill_holes(part: np.ndarray, settings: CleanupSettings, inside: Overlap | None, start: np.ndarray) -> None:
    """Fill the holes of every slice, in place, but large ones beside the registered contour.

    A tumour that lay at the border of a lung and shrank from it lies in a hole of the lung now.
    """
    for k, plane in enumerate(part):
        holes = ndimage.binary_fill_holes(plane) & ~plane
        if inside is None:
            plane |= holes
            continue
        labels, _ = ndimage.label(holes)
        large = np.bincount(labels.ravel()) > settings.hole_share * np.count_nonzero(plane)
        large[0] = True
        plane |= ~large[labels]
        for number in np.flatnonzero(large)[1:]:
            hole = labels == number
            rows, columns = np.nonzero(hole)
            if inside(np.column_stack([np.full(len(rows), k), rows, columns]) + start) >= settings.own_place:
                plane |= hole


def _keep_components(
    part: np.ndarray,
    shape: Shape,
    settings: CleanupSettings,
    overlap: Overlap | None,
    inside: Overlap | None,
    start: np.ndarray,
) -> None:
    """Drop, in place, components that the prior has no counterpart for; ``part`` begins at ``start``, k, j, i."""
    slices = _without_short_gaps(part, settings.joined_gap)
    labels, count = ndimage.label(part[slices], _ALL_NEIGHBOURS)
    if count <= 1:
        return
    weights = np.bincount(labels.ravel(), minlength=count + 1)[1:].astype(float)
    weights[weights < settings.minimum_share * weights.max()] = 0.0
    at_home = np.zeros(count, bool)
    if overlap is not None or inside is not None:
        for n, box in enumerate(ndimage.find_objects(labels)):
            voxels = np.argwhere(labels[box] == n + 1) + [one.start for one in box]
            voxels[:, 0] = slices[voxels[:, 0]]
            if weights[n] > 0 and overlap is not None:
                weights[n] *= overlap(voxels + start)
            at_home[n] = inside is not None and inside(voxels + start) >= settings.own_place
    least = max(settings.minimum_share, 0.5 * shape.smallest_share if shape.components > 1 else 0.0)
    order = np.argsort(-weights, kind="stable")[: shape.components]
    kept = np.concatenate([[False], at_home])
    kept[[n + 1 for n in order if weights[n] >= least * weights.max()]] = True
    for place, k in enumerate(slices):
        part[k] = kept[labels[place]]


def _without_short_gaps(part: np.ndarray, longest: int) -> np.ndarray:
    """The slices that hold something, and one empty slice for every gap of more than ``longest`` between them.

    A rejected slice must not cut an organ in two of which one half would then be dropped.
    """
    used = np.flatnonzero(part.any(axis=(1, 2)))
    gaps = [low + 1 for low, high in pairwise(used) if high - low - 1 > longest]
    return np.sort(np.concatenate([used, np.array(gaps, int)])).astype(int)


def bridge(mask: np.ndarray, rejected: list[int], spacing: tuple[float, float]) -> list[int]:
    """Fill, in place, rejected slices of a mask (K, H, W) whose neighbours both hold something; return which.

    ``spacing`` is that of rows and columns. Two rejected slices in a row stay empty.
    """
    gaps = [k for k in rejected if 0 < k < len(mask) - 1 and mask[k - 1].any() and mask[k + 1].any()]
    shapes = {k: between(mask[k - 1], mask[k + 1], 0.5, spacing) for k in gaps if not mask[k].any()}
    for k, shape in shapes.items():
        mask[k] = shape
    return [k for k, shape in shapes.items() if shape.any()]


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The slices that enclose a mask (K, J, I), or None if it is empty; slice by slice, to need little memory."""
    used = [k for k in range(len(mask)) if mask[k].any()]
    if not used:
        return None
    flat = np.zeros(mask.shape[1:], bool)
    for k in used:
        flat |= mask[k]
    rows, columns = (np.flatnonzero(flat.any(axis=axis)) for axis in (1, 0))
    return slice(used[0], used[-1] + 1), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
