"""Baselines of a propagation: the prior's contours, copied, or moved by rigid or deformable registration alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from adaptsam.image.orientation import acquisition_plane, canonical_orientation
from adaptsam.image.signed_distance import signed_distance
from adaptsam.image.volume import Geometry, StructureSet, Volume
from adaptsam.metrics.volume_metrics import bounding_box
from adaptsam.registration import DeformableSettings, Deformation, RegistrationSettings, register, register_deformably


def copy_contours(structures: StructureSet, target: Volume) -> StructureSet:
    """The prior's structures at their physical position on the target's grid, without any registration."""
    return _moved(structures, target, lambda mask: move_mask(mask, structures.geometry, target.geometry, np.eye(4)))


def carry_rigidly(
    prior: Volume, structures: StructureSet, target: Volume, settings: RegistrationSettings | None = None
) -> StructureSet:
    """The prior's structures on the target's grid by the same registration that a propagation starts from.

    Contours are moved as signed distances, so that they stay smooth between slices of different spacing.
    """
    plane = acquisition_plane(prior.geometry)
    rigid = register(_turned(prior, plane), _turned(target, plane), settings)
    return _moved(structures, target, lambda mask: move_mask(mask, prior.geometry, target.geometry, rigid.matrix))


def carry_deformably(
    prior: Volume,
    structures: StructureSet,
    target: Volume,
    rigid: RegistrationSettings | None = None,
    settings: DeformableSettings | None = None,
) -> StructureSet:
    """The prior's structures on the target's grid by rigid, then deformable registration; see :mod:`deformable`."""
    plane = acquisition_plane(prior.geometry)
    first, second = _turned(prior, plane), _turned(target, plane)
    deformation = register_deformably(first, second, register(first, second, rigid), settings)
    return _moved(structures, target, lambda mask: deform_mask(mask, prior.geometry, target.geometry, deformation))


def _moved(structures: StructureSet, target: Volume, move: Callable[[np.ndarray], np.ndarray]) -> StructureSet:
    moved = (replace(structure, mask=move(structure.mask), contoured=None) for structure in structures.structures)
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


def deform_mask(mask: np.ndarray, source: Geometry, target: Geometry, deformation: Deformation) -> np.ndarray:
    """A mask bool (K, J, I) of the prior's grid on the target's one, bool (K', J', I'), as the deformation moves it."""
    moved = np.zeros(target.shape, bool)
    box = bounding_box(mask)
    if box is None:
        return moved
    distance = signed_distance(np.pad(mask[box], 1), source.spacing[::-1])
    start = np.array([axis.start - 1 for axis in box])
    corners = np.array([axis.stop - axis.start for axis in box])[::-1] + 1
    # The box's surface arrives within the hull of a coarse lattice of its points, and a voxel or two around it.
    lattice = np.stack(np.meshgrid(*(np.linspace(0, end, 9) for end in corners), indexing="ij"), axis=-1).reshape(-1, 3)
    there = target.index(deformation.to_target(source.world(lattice + start[::-1])))[:, ::-1]
    slack = 5.0 / np.array(target.spacing[::-1])
    low = np.clip(np.floor(there.min(axis=0) - slack), 0, target.shape).astype(int)
    high = np.clip(np.ceil(there.max(axis=0) + slack) + 1, low, target.shape).astype(int)
    j, i = np.mgrid[low[1] : high[1], low[2] : high[2]]
    for k in range(low[0], high[0]):
        index = source.index(deformation.to_prior(target.world(np.stack([i, j, np.full_like(i, k)], axis=-1))))
        sampled = ndimage.map_coordinates(
            distance, np.moveaxis(index[..., ::-1] - start, -1, 0), order=1, mode="constant", cval=1.0
        )
        moved[k, low[1] : high[1], low[2] : high[2]] = sampled < 0
    return moved


def _turned(volume: Volume, plane: int) -> Volume:
    orientation = canonical_orientation(volume.geometry, plane)
    return replace(volume, array=orientation.apply(volume.array), geometry=orientation.geometry(volume.geometry))


def _reached(low: np.ndarray, high: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> tuple[slice, ...]:
    """Slices of an array of ``shape`` on which the box from ``low`` to ``high`` (i, j, k) comes to lie."""
    corners = np.array([[(low, high)[bit][axis] for axis, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    there = (corners @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1]
    first = np.clip(np.floor(there.min(axis=0)), 0, shape).astype(int)
    last = np.clip(np.ceil(there.max(axis=0)) + 1, first, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
