"""What a propagation must beat: the prior's contours, moved by rigid registration alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from adaptsam.data.volume import Geometry, StructureSet, Volume
from adaptsam.evaluate.metrics import bounding_box
from adaptsam.volumes import RegistrationSettings, register
from adaptsam.volumes.canonical import acquisition_plane, canonical_orientation
from adaptsam.volumes.interpolation import signed_distance


def carry_rigidly(
    prior: Volume, structures: StructureSet, target: Volume, settings: RegistrationSettings | None = None
) -> StructureSet:
    """The prior's structures on the target's grid by the same registration that a propagation starts from.

    Contours are moved as signed distances, so that they stay smooth between slices of different spacing.
    """
    plane = acquisition_plane(prior.geometry)
    rigid = register(_turned(prior, plane), _turned(target, plane), settings)
    moved = (
        replace(
            structure, mask=move_mask(structure.mask, prior.geometry, target.geometry, rigid.matrix), contoured=None
        )
        for structure in structures.structures
    )
    return StructureSet(tuple(moved), target.geometry, target.dicom)


def move_mask(mask: np.ndarray, source: Geometry, target: Geometry, target_to_source: np.ndarray) -> np.ndarray:
    """A mask bool (K, J, I) of one grid on another one, bool (K', J', I').

    Args:
        target_to_source: (4, 4), from LPS mm of the target to LPS mm of the source.
    """
    moved = np.zeros(target.shape, bool)
    box = bounding_box(mask)
    if box is None:
        return moved
    # One voxel of nothing around the structure, so that its surface is closed at the border of the image too.
    distance = signed_distance(np.pad(mask[box], 1), source.spacing[::-1])
    to_source = np.linalg.inv(source.index_to_world) @ target_to_source @ target.index_to_world
    low = np.array([axis.start - 1 for axis in box])
    high = low + distance.shape - 1
    place = _reached(low[::-1], high[::-1], np.linalg.inv(to_source), target.shape)
    start = np.array([axis.start for axis in place])
    # Indices are (i, j, k) in the matrix and (k, j, i) in arrays.
    matrix = to_source[:3, :3][::-1, ::-1]
    offset = matrix @ start + to_source[:3, 3][::-1] - low
    shape = tuple(axis.stop - axis.start for axis in place)
    sampled = ndimage.affine_transform(distance, matrix, offset, shape, order=1, mode="constant", cval=1.0)
    moved[place] = sampled < 0
    return moved


def _turned(volume: Volume, plane: int) -> Volume:
    orientation = canonical_orientation(volume.geometry, plane)
    return replace(volume, array=orientation.apply(volume.array), geometry=orientation.geometry(volume.geometry))


def _reached(low: np.ndarray, high: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> tuple[slice, ...]:
    """Where in an array of ``shape`` the box from ``low`` to ``high`` (i, j, k) comes to lie."""
    corners = np.array([[(low, high)[bit][axis] for axis, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    there = (corners @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1]
    first = np.clip(np.floor(there.min(axis=0)), 0, shape).astype(int)
    last = np.clip(np.ceil(there.max(axis=0)) + 1, first, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
