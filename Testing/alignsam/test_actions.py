"""Eq. 3: the patches' centres."""

import numpy as np
import pytest

from adaptsam.alignsam import EnvironmentSettings
from adaptsam.alignsam.actions import Actions, middles


def test_the_paper_has_a_hundred_actions_forty_pixels_from_the_border() -> None:
    actions = Actions.of(EnvironmentSettings())
    points = actions.points((800, 800))
    assert len(actions) == len(points) == 100
    # Pixel centres are whole numbers, so the middle of 80 pixels lies between two of them.
    assert points[0].tolist() == [39.5, 39.5]
    assert points[1].tolist() == [119.5, 39.5]
    assert points[10].tolist() == [39.5, 119.5]
    assert points[-1].tolist() == [759.5, 759.5]


@pytest.mark.parametrize("size", [(800, 800), (512, 512), (333, 97), (10, 10), (7, 5)])
def test_on_an_image_of_any_size_the_truth_is_read_where_the_point_is(size: tuple[int, int]) -> None:
    actions = Actions(10, 10)
    mask = np.random.default_rng(0).random(size) > 0.5
    x, y = np.floor(actions.points(size) + 0.5).astype(int).T
    assert np.array_equal(actions.look_up(mask), mask[y, x])
    assert np.array_equal(actions.cells(size), y * size[1] + x)


def test_the_middle_of_parts_lies_inside_of_them() -> None:
    assert middles(2, 4).tolist() == [1, 3]
    assert middles(3, 3).tolist() == [0, 1, 2]
    assert middles(30, 32).tolist() == [int((i + 0.5) / 30 * 32) for i in range(30)]
