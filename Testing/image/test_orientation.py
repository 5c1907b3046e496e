from itertools import permutations, product

import numpy as np
import pytest

from adaptsam.image.orientation import PLANES, acquisition_plane, canonical_orientation
from adaptsam.image.volume import Geometry

AXES = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def _stored(axes: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    direction = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[axis, column] = sign
    return Geometry((4, 5, 6), (0.7, 0.9, 2.5), (-11.3, 7.7, 101.1), tuple(direction.ravel()))


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_all_48_orientations_turn_and_come_back_exactly(plane: int) -> None:
    for axes, signs in AXES:
        geometry = _stored(axes, signs)
        array = np.random.default_rng(1).normal(size=geometry.shape)
        orientation = canonical_orientation(geometry, plane)
        turned = orientation.apply(array)
        assert np.array_equal(orientation.undo(turned), array)
        assert np.shares_memory(turned, array)
        assert turned.shape == orientation.geometry(geometry).shape


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_every_voxel_keeps_its_place_in_the_patient(plane: int) -> None:
    for axes, signs in AXES:
        geometry = _stored(axes, signs)
        orientation = canonical_orientation(geometry, plane)
        k, j, i = np.indices(geometry.shape)
        places = geometry.world(np.stack([i, j, k], axis=-1))
        turned = orientation.geometry(geometry)
        k, j, i = np.indices(turned.shape)
        expected = np.stack([orientation.apply(places[..., axis]) for axis in range(3)], axis=-1)
        assert np.allclose(turned.world(np.stack([i, j, k], axis=-1)), expected)
        direction = np.reshape(turned.direction, (3, 3))
        for column, (axis, sign) in zip((2, 1, 0), PLANES[plane], strict=True):
            assert direction[axis, column] == sign


def test_an_oblique_grid_is_turned_to_its_nearest_axes_without_resampling() -> None:
    angle = np.radians(25)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    direction = tilt @ np.diag([-1.0, -1.0, 1.0])
    geometry = Geometry((7, 8, 9), (1.0, 1.0, 3.0), (5.0, 6.0, 7.0), tuple(direction.ravel()))
    orientation = canonical_orientation(geometry, acquisition_plane(geometry))
    assert orientation.order == (0, 1, 2)
    assert orientation.flipped == (False, True, True)
    turned = orientation.geometry(geometry)
    assert np.allclose(turned.world([0, 0, 0]), geometry.world([8, 7, 0]))
    assert np.allclose(np.reshape(turned.direction, (3, 3)), tilt)


def test_colour_stays_last() -> None:
    geometry = _stored((2, 0, 1), (1, -1, 1))
    array = np.zeros((*geometry.shape, 3), np.uint8)
    assert canonical_orientation(geometry, 2).apply(array).shape[3] == 3


def test_slices_and_points_map_back_to_the_stored_array() -> None:
    for axes, signs in AXES:
        geometry = _stored(axes, signs)
        orientation = canonical_orientation(geometry, 2)
        array = np.zeros(geometry.shape, bool)
        orientation.apply(array)[1, 2, 3] = True
        stored = np.argwhere(array)[0]
        axis = orientation.order[0]
        assert orientation.stored_slice(1, geometry.shape) == stored[axis]
        in_slice = np.delete(stored, axis)[::-1]  # the faster axis first
        assert np.array_equal(orientation.stored_points(np.array([[3, 2]]), geometry.shape)[0], in_slice)


def test_a_reoriented_prior_is_read_along_its_thick_slices() -> None:
    sagittal_storage = Geometry((50, 40, 20), (3.0, 1.0, 1.0), (0, 0, 0), (0, 0, 1, 0, 1, 0, 1, 0, 0))
    assert acquisition_plane(sagittal_storage) == 2
    assert acquisition_plane(sagittal_storage, drawn_along_k=True) == 0
    assert acquisition_plane(Geometry((5, 5, 5), (1.0, 1.0, 1.0), (0, 0, 0))) == 2
