"""Where a target may be."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.image.region_of_interest import region

SHAPE = (6, 10, 12)


def box(first: tuple[int, int, int], last: tuple[int, int, int]) -> np.ndarray:
    """From voxels (i, j, k) to -1 at the middle of the first and 1 at that of the last."""
    low, high = np.array(first, float), np.array(last, float)
    matrix = np.diag([*(2 / (high - low)), 1.0])
    matrix[:3, 3] = -(high + low) / (high - low)
    return matrix


def test_nothing_asked_for_is_no_region() -> None:
    assert region(SHAPE) is None


def test_a_box_and_a_range_hold_the_voxels_that_lie_in_both() -> None:
    expected = np.zeros(SHAPE, bool)
    expected[2:4, 3:8, 4:7] = True
    inside = region(SHAPE, box((4, 3, 0), (6, 7, 3)), (2, 5))
    assert np.array_equal(inside, expected)


def test_a_turned_box_holds_a_diamond() -> None:
    turn = np.eye(4)
    turn[:2, :2] = np.array([[1, 1], [-1, 1]]) / 6
    turn[:2, 3] = -turn[:2, :2] @ [5, 5]
    inside = region((1, 11, 11), turn)
    assert inside is not None
    j, i = np.indices((11, 11))
    assert np.array_equal(inside[0], (np.abs(i - 5 + j - 5) <= 6) & (np.abs(j - i) <= 6))


@pytest.mark.parametrize("slices", [(-1, 3), (3, 2), (0, 6)])
def test_slices_that_are_not_there_are_told(slices: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="numbered 0 to 5"):
        region(SHAPE, slices=slices)


def test_a_box_outside_of_the_image_is_told() -> None:
    with pytest.raises(InputError, match="holds no voxel"):
        region(SHAPE, box((40, 40, 40), (50, 50, 50)))
