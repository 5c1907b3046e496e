import numpy as np
import pytest

from adaptsam.image.orientation import Orientation
from adaptsam.image.volume import Geometry, Structure
from adaptsam.slicewise.prior_contour import FAR, DistanceField, PriorContour, prior_contour

GRID = Geometry((12, 30, 40), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0))


def _ball() -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return ((i - 20) / 10) ** 2 + ((j - 15) / 5) ** 2 + ((k - 5) / 4) ** 2 <= 1


def _contour(mask: np.ndarray, contoured: np.ndarray | None = None) -> PriorContour:
    return prior_contour(Structure("ball", mask, contoured=contoured), Orientation(), GRID)


def test_slices_that_nobody_contoured_are_filled_in_and_are_no_evidence() -> None:
    ball = _ball()
    every_second = np.zeros(12, bool)
    every_second[1::2] = True
    sparse = ball & every_second[:, None, None]
    contour = _contour(sparse, every_second)
    assert contour.drawn == (1, 3, 5, 7, 9)
    assert contour.body[1].any()
    assert contour.volume_mm3 == pytest.approx(_contour(ball).volume_mm3, rel=0.15)


def _drawn_on(*slices: int) -> PriorContour:
    """A column contoured on these of 40 slices, as an RTSTRUCT tells it."""
    mask = np.zeros((40, 12, 12), bool)
    mask[list(slices), 4:8, 4:8] = True
    structure = Structure("column", mask, contoured=mask.any(axis=(1, 2)))
    return prior_contour(structure, Orientation(), Geometry(mask.shape, (1.0, 1.0, 3.0), (0.0, 0.0, 0.0)))


def test_two_parts_of_one_contoured_structure_are_not_joined() -> None:
    contour = _drawn_on(*range(3, 8), *range(20, 24))
    assert contour.volume_mm3 == 9 * 16 * 3
    assert not contour.body[5:17].any()
    assert contour.drawn == (3, 4, 5, 6, 7, 20, 21, 22, 23)


@pytest.mark.parametrize(
    "slices",
    [(10, 30), (5, 10, 17, 25), (1, 2, 3, 8, 13, 18, 19, 20), (1, 2, 4, 5, 6), (2, 7, 12, 22)],
    ids=["two", "unevenly", "densely at the ends", "one forgotten", "one of many forgotten"],
)
def test_slices_that_were_skipped_are_filled_in(slices: tuple[int, ...]) -> None:
    assert _drawn_on(*slices).body.any(axis=(1, 2)).all()


def test_a_labelmap_with_every_second_slice_is_recognised_without_being_told() -> None:
    sparse = _ball()
    sparse[0::2] = False
    assert _contour(sparse).body.any(axis=(1, 2)).all()


def test_a_slice_that_was_left_empty_on_purpose_stays_empty() -> None:
    mask = _ball()
    mask[5] = False
    contour = _contour(mask, np.ones(12, bool))
    assert not contour.body[4].any()
    assert contour.drawn == (1, 2, 3, 4, 6, 7, 8, 9)


def test_distances_are_in_mm_and_negative_inside() -> None:
    field = DistanceField(_contour(_ball()), 20.0)
    inside, beside, far = field.sample(np.array([[20, 15, 5], [35, 15, 5], [2000, 15, 5]], float))[0]
    assert inside < -5
    assert beside == pytest.approx(4.5, abs=1.0)  # the border lies half a pixel beyond i = 30
    assert far == FAR


def test_points_above_the_structure_are_judged_by_its_last_slice() -> None:
    field = DistanceField(_contour(_ball()), 20.0)
    distance, k = field.sample(np.array([[20.0, 15.0, 40.0]]))
    assert k[0] == 9
    assert distance[0] <= 0


def test_a_large_structure_gets_a_coarser_field_of_the_same_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    contour = _contour(_ball())
    points = np.random.default_rng(0).uniform([5, 5, 1], [35, 25, 9], (50, 3))
    fine = DistanceField(contour, 10.0).sample(points)[0]
    monkeypatch.setattr("adaptsam.slicewise.prior_contour.FIELD_VOXELS", 5000)
    coarse = DistanceField(contour, 10.0).sample(points)[0]
    assert np.abs(fine - coarse).mean() < 1.5


def test_a_cord_ends_bluntly_and_a_ball_does_not() -> None:
    cord = np.zeros(GRID.shape, bool)
    cord[2:10, 10:14, 18:24] = True
    assert _contour(cord).blunt_ends(0.6) == (True, True)
    assert _contour(_ball()).blunt_ends(0.6) == (False, False)


def test_size_and_place_are_in_mm() -> None:
    contour = _contour(_ball())
    assert contour.extent_mm() == 22.0  # 11 rows of 2 mm
    assert np.allclose(contour.centroid, [20, 30, 15])
    assert contour.centre(5) == (20, 15)
