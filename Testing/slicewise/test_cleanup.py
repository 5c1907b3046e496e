import numpy as np
import pytest

from adaptsam.image.orientation import Orientation
from adaptsam.image.shape_interpolation import between
from adaptsam.image.volume import Geometry, Structure
from adaptsam.slicewise.cleanup import Shape, bounding_box, bridge, clean, shape_of
from adaptsam.slicewise.prior_contour import prior_contour
from adaptsam.slicewise.volume_settings import CleanupSettings

RULE = CleanupSettings()


def _boxes(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask (10, 30, 30) with a cube of side ``s`` at each k, j, i, s."""
    mask = np.zeros((10, 30, 30), bool)
    for k, j, i, side in boxes:
        mask[k : k + side, j : j + side, i : i + side] = True
    return mask


def _shape(mask: np.ndarray) -> Shape:
    grid = Geometry((10, 30, 30), (1.0, 1.0, 1.0), (0, 0, 0))
    return shape_of(prior_contour(Structure("x", mask), Orientation(), grid).body, RULE)


def test_a_single_structure_keeps_its_largest_component() -> None:
    result = _boxes((2, 2, 2, 6), (2, 20, 20, 4))
    clean(result, _shape(_boxes((2, 5, 5, 6))), RULE)
    assert np.array_equal(result, _boxes((2, 2, 2, 6)))


def test_two_lungs_stay_two_and_specks_go() -> None:
    result = _boxes((2, 2, 2, 6), (2, 20, 20, 5), (0, 28, 2, 1))
    clean(result, _shape(_boxes((2, 2, 2, 6), (2, 20, 20, 6))), RULE)
    assert np.array_equal(result, _boxes((2, 2, 2, 6), (2, 20, 20, 5)))


def test_the_component_at_the_expected_place_wins_over_a_larger_one_elsewhere() -> None:
    result = _boxes((2, 2, 2, 6), (2, 20, 20, 4))
    clean(result, _shape(_boxes((2, 20, 20, 5))), RULE, lambda voxels: float((voxels[:, 1] >= 15).mean()))
    assert np.array_equal(result, _boxes((2, 20, 20, 4)))


def test_two_rejected_slices_do_not_cost_half_an_organ_and_a_far_speck_goes() -> None:
    organ = _boxes((0, 5, 5, 8))
    organ[2:4] = False
    result = organ.copy()
    clean(result, _shape(_boxes((0, 5, 5, 8))), RULE)
    assert np.array_equal(result, organ)
    result = _boxes((0, 5, 5, 4))
    result[9, 5:9, 5:9] = True
    clean(result, _shape(_boxes((0, 5, 5, 8))), RULE)
    assert np.array_equal(result, _boxes((0, 5, 5, 4)))


def test_holes_are_filled_unless_the_prior_has_them() -> None:
    solid = _boxes((2, 5, 5, 8))
    hollow = solid.copy()
    hollow[:, 8:10, 8:10] = False
    result = hollow.copy()
    clean(result, _shape(solid), RULE)
    assert np.array_equal(result, solid)
    result = hollow.copy()
    clean(result, _shape(hollow), RULE)
    assert np.array_equal(result, hollow)


def test_a_single_rejected_slice_is_bridged_and_two_are_not() -> None:
    mask = _boxes((1, 5, 5, 8))
    mask[3] = mask[5] = mask[6] = False
    assert bridge(mask, [0, 3, 5, 6, 9], (1.0, 1.0)) == [3]
    assert np.array_equal(mask[3], mask[2])
    assert not mask[5].any()


def test_the_shape_between_two_contours_is_half_way() -> None:
    small, large = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    small[15:25, 15:25] = True
    large[10:30, 10:30] = True
    middle = between(small, large, 0.5, (1.0, 1.0))
    assert middle.sum() == pytest.approx(15 * 15, rel=0.15)
    assert not between(small, np.zeros_like(small), 0.5, (1.0, 1.0)).any()


def test_the_box_around_nothing_is_nothing() -> None:
    assert bounding_box(np.zeros((3, 4, 5), bool)) is None
    assert bounding_box(_boxes((2, 3, 4, 5))) == (slice(2, 7), slice(3, 8), slice(4, 9))


def test_a_small_part_at_its_place_stays_and_what_is_removed_is_counted() -> None:
    result = _boxes((1, 2, 2, 8), (2, 20, 20, 2), (4, 2, 24, 2))
    at_home = _boxes((2, 20, 20, 2))
    lost = clean(result, _shape(_boxes((1, 2, 2, 8))), RULE, inside=lambda v: float(at_home[tuple(v.T)].mean()))
    assert np.array_equal(result, _boxes((1, 2, 2, 8), (2, 20, 20, 2)))
    assert lost.tolist() == [0, 0, 0, 0, 4, 4, 0, 0, 0, 0]


def test_a_large_hole_beside_the_registered_contour_stays_open_and_others_are_filled() -> None:
    mask = np.zeros((4, 40, 60), bool)
    mask[:, 5:35, 5:55] = True
    whole = mask.copy()
    mask[1, 10:20, 10:20] = False  # where the prior is not: a tumour that shrank from the border
    mask[2, 10:20, 30:40] = False  # where the prior is: the method's own gap
    mask[2, 30, 45] = False  # a vessel
    mask[3, 20:22, 14:16] = False  # small, wherever it lies
    expected = whole.copy()
    expected[1, 10:20, 10:20] = False

    def inside(voxels: np.ndarray) -> float:
        return float((voxels[:, 2] >= 25).mean())

    made = mask.copy()
    clean(made, Shape(), CleanupSettings(), None, inside)
    assert np.array_equal(made, expected)
    alone = mask.copy()
    clean(alone, Shape(), CleanupSettings())
    assert np.array_equal(alone, whole)
