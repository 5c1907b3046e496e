"""Displacements on a grid: sampled, undone, and their Jacobian, whatever way the grid lies."""

import numpy as np

from adaptsam.image.displacement_field import DisplacementField
from adaptsam.image.volume import Geometry


def test_the_jacobian_is_that_of_the_world_whatever_the_grid() -> None:
    turn = np.radians(30)
    direction = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    grid = Geometry((6, 7, 8), (1.5, 2.0, 3.0), (5.0, -3.0, 2.0), direction)
    k, j, i = np.indices(grid.shape)
    linear = np.array([[0.1, 0.05, 0.0], [0.0, -0.2, 0.1], [0.02, 0.0, 0.3]])
    displacement = grid.world(np.stack([i, j, k], axis=-1)) @ linear.T
    assert np.allclose(DisplacementField(displacement, grid).jacobian(), np.linalg.det(np.eye(3) + linear))


def test_what_was_moved_comes_back() -> None:
    grid = Geometry((8, 9, 10), (10.0, 10.0, 12.0), (-45.0, -40.0, -42.0))
    k, j, i = np.indices(grid.shape)
    world = grid.world(np.stack([i, j, k], axis=-1))
    field = DisplacementField((6 * np.sin(world / 25)).astype(np.float32), grid)
    points = np.random.default_rng(0).uniform(-40, 40, (4, 5, 3))
    moved = points + field.at(points)
    assert np.abs(moved - points).max() > 4
    assert np.abs(field.undo(moved) - points).max() < 0.02
    assert field.at(points[0, 0]).shape == (3,)
