from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate

from adaptsam.image.rasterisation import fill_contours, trace_contours


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def test_a_pixel_belongs_to_a_contour_when_its_centre_does() -> None:
    mask = fill_contours([box(1.4, 1.6, 4.6, 3.4)], (6, 8))
    assert np.argwhere(mask).tolist() == [[j, i] for j in (2, 3) for i in (2, 3, 4)]


def test_a_centre_on_the_contour_is_inside_as_the_standard_says() -> None:
    assert fill_contours([box(1, 1, 3, 2)], (5, 5)).sum() == 6
    assert fill_contours([np.array([[1, 1], [4, 4], [1, 4.0]])], (6, 6)).sum() == 10


def test_a_contour_within_a_contour_is_a_hole_and_one_within_the_hole_an_island() -> None:
    mask = fill_contours([box(0.5, 0.5, 10.5, 10.5), box(2.5, 2.5, 8.5, 8.5), box(4.5, 4.5, 6.5, 6.5)], (12, 12))
    assert mask.sum() == 100 - 36 + 4
    assert not mask[3, 3]
    assert mask[5, 5]


def test_a_keyhole_contour_has_its_hole() -> None:
    keyhole = np.array(
        "0.5,0.5 9.5,0.5 9.5,5 6.5,5 6.5,3.5 3.5,3.5 3.5,6.5 6.5,6.5 6.5,5 9.5,5 9.5,9.5 0.5,9.5".replace(
            ",", " "
        ).split(),
        float,
    ).reshape(-1, 2)
    mask = fill_contours([keyhole], (11, 11))
    assert mask.sum() == 81 - 9
    assert mask[5, 8]
    assert not mask[4:7, 4:7].any()


def test_what_lies_outside_the_image_is_cut_off() -> None:
    assert fill_contours([box(-50, -50, 50, 50)], (4, 5)).all()
    assert not fill_contours([box(6, 1, 9, 3), box(-9, -3, -6, -1)], (4, 5)).any()


def test_the_direction_and_a_repeated_first_point_do_not_matter() -> None:
    contour = np.random.default_rng(3).uniform(0, 20, (9, 2))
    mask = fill_contours([contour], (20, 20))
    assert (fill_contours([contour[::-1]], (20, 20)) == mask).all()
    assert (fill_contours([np.vstack([contour, contour[:1]])], (20, 20)) == mask).all()


def test_no_contour_gives_an_empty_mask_and_an_empty_mask_no_contour() -> None:
    assert not fill_contours([], (3, 4)).any()
    assert trace_contours(np.zeros((3, 4), bool)) == []


@pytest.mark.parametrize("smoothness", [0, 0.7, 1.5, 4])
@pytest.mark.parametrize("seed", range(5))
def test_traced_and_filled_again_every_mask_comes_back_exactly(smoothness: float, seed: int) -> None:
    mask = gaussian_filter(np.random.default_rng(seed).normal(size=(50, 60)), smoothness) > 0
    assert (fill_contours(trace_contours(mask), mask.shape) == mask).all()


def test_a_part_with_holes_is_one_contour() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:28] = True
    for j, i in ((5, 5), (5, 9), (12, 20), (20, 6)):
        mask[j : j + 3, i : i + 2] = False
    assert len(trace_contours(mask)) == 1


def test_tracing_loses_no_volume_to_speak_of() -> None:
    rows, columns = np.mgrid[:60, :60]
    disc = np.hypot(rows - 30, columns - 30) < 20
    (contour,) = trace_contours(disc)
    x, y = contour.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert area == pytest.approx(disc.sum(), rel=0.01)


def test_contours_through_pixel_centres_as_opencv_writes_them_keep_their_mask() -> None:
    square = np.zeros((40, 40))
    square[10:30, 12:28] = 1
    mask = rotate(square, 0) > 0.5
    mask[15:20, 15:20] = False
    outer, hole = box(12, 10, 27, 29), box(14, 14, 20, 20)
    assert (fill_contours([outer, hole], mask.shape) == mask).all()
