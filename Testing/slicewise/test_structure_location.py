import numpy as np
import pytest

from adaptsam.image.orientation import Orientation
from adaptsam.image.volume import Geometry, Structure
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.prior_contour import DistanceField, prior_contour
from adaptsam.slicewise.structure_location import Location

GRID = Geometry((20, 50, 50), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))


def _location(matrix: np.ndarray, target: Geometry = GRID) -> Location:
    k, j, i = np.indices(GRID.shape)
    ball = ((i - 25) / 6) ** 2 + ((j - 25) / 6) ** 2 + ((k - 10) / 5) ** 2 <= 1
    contour = prior_contour(Structure("ball", ball), Orientation(), GRID)
    return Location(contour, DistanceField(contour, 20.0), Rigid(matrix, 1.0, "rigid"), GRID, target)


def _rotation(degrees: float) -> np.ndarray:
    """About the patient's left-right axis through the ball's centre: slices of the target are tilted in the prior."""
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = np.array([50.0, 50.0, 30.0])
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def test_a_shifted_structure_is_expected_where_it_moved() -> None:
    shift = np.eye(4)
    shift[:3, 3] = (-10.0, 0.0, 9.0)  # the target lies 5 pixels to the left and 3 slices lower
    location = _location(shift)
    assert location.expected == (2, 12)
    here = location.on_slice(7)
    assert np.unravel_index(int(np.argmin(here.distance)), here.distance.shape) == pytest.approx((25, 30), abs=1)
    assert here.prior_k == pytest.approx(10)


def test_a_tilted_slice_pairs_with_what_lies_at_the_structure_not_at_the_slices_middle() -> None:
    far = _rotation(10)
    far[:3, 3] += far[:3, :3] @ np.array([0.0, -60.0, 0.0])  # the ball moves 60 mm along the tilt
    location = _location(far, Geometry((20, 110, 50), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0)))
    middle = float(np.mean(location.expected))
    here = location.on_slice(round(middle))
    assert here.prior_k == pytest.approx(10, abs=0.7)


def test_slices_beyond_the_structure_pair_with_its_end() -> None:
    location = _location(np.eye(4))
    assert location.on_slice(0).prior_k == pytest.approx(5)
    assert location.on_slice(19).prior_k == pytest.approx(15)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 1.0, 1.0), (30.0, 0.3, 0.7), (300.0, 0.0, 0.0)])
def test_the_share_inside_the_field_of_view_is_measured(shift: float, low: float, high: float) -> None:
    matrix = np.eye(4)
    matrix[2, 3] = shift
    assert low <= _location(matrix).inside <= high


def test_another_grid_sees_the_same_millimetres() -> None:
    finer = Geometry((60, 100, 100), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    fine, coarse = _location(np.eye(4), finer).on_slice(30).distance, _location(np.eye(4)).on_slice(10).distance
    near = coarse < 20
    assert np.abs(fine[::2, ::2][near] - coarse[near]).max() < 0.1
