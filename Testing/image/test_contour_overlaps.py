from __future__ import annotations

import numpy as np
import pytest

from adaptsam.image.contour_overlaps import Overlaps, encloses_voxels, find_overlaps

SHAPE = (14, 16)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def star() -> np.ndarray:
    """A pentagram, drawn in one go: its middle is enclosed twice."""
    angles = np.array([0, 2, 4, 1, 3]) * 2 * np.pi / 5
    return 7 + 5 * np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize(
    ("contours", "expected"),
    [
        ([box(0.5, 0.5, 5.5, 5.5)], Overlaps(frozenset(), False, False)),
        ([box(0.5, 0.5, 5.5, 5.5), box(3.5, 3.5, 8.5, 8.5)], Overlaps(frozenset(), True, False)),
        ([box(0.5, 0.5, 5.5, 5.5), box(6.5, 0.5, 9.5, 5.5)], Overlaps(frozenset(), False, False)),
        ([box(0.5, 0.5, 9.5, 9.5), box(3.5, 3.5, 6.5, 6.5)], Overlaps(frozenset(), False, False)),
        ([box(0.5, 0.5, 9.5, 9.5), box(1.5, 1.5, 8.5, 8.5)], Overlaps(frozenset(), False, True)),
        ([box(0.5, 0.5, 9.5, 9.5), box(1.5, 0.5, 9.5, 9.5)], Overlaps(frozenset(), False, True)),
        ([box(0.5, 0.5, 5.5, 5.5), box(0.6, 0.4, 5.4, 5.6)], Overlaps(frozenset({1}), False, False)),
        ([box(0.5, 0.5, 5.5, 5.5)] * 3, Overlaps(frozenset({1, 2}), False, False)),
        ([star()], Overlaps(frozenset(), True, False)),
        ([box(0.5, 0.5, 9.5, 9.5)[[0, 2, 1, 3]]], Overlaps(frozenset(), False, False)),
    ],
)
def test_contours_that_cross_repeat_or_wind_twice_are_found(contours: list[np.ndarray], expected: Overlaps) -> None:
    assert find_overlaps(contours, SHAPE) == expected


def test_a_contour_may_enclose_no_pixel_at_all() -> None:
    assert encloses_voxels(box(2.4, 2.4, 3.2, 3.2), SHAPE)
    assert encloses_voxels(box(3, 3, 3.4, 3.4), SHAPE)
    assert not encloses_voxels(box(2.2, 2.2, 2.8, 2.8), SHAPE)
    assert not encloses_voxels(box(-9, -9, -5, -5), SHAPE)
