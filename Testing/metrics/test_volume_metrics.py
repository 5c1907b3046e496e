"""Every figure of the metrics against a case that can be worked out by hand, or against a plain second definition."""

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from adaptsam.errors import GeometryError
from adaptsam.image.volume import Geometry, Structure, StructureSet
from adaptsam.metrics.volume_metrics import (
    added_path_length,
    bounding_box,
    centroid,
    compare,
    compare_structures,
    slice_dice,
)

SHAPE = (12, 30, 40)
GRID = Geometry(SHAPE, spacing=(1.0, 2.0, 3.0), origin=(5.0, -7.0, 11.0))


def block(k: slice, j: slice, i: slice, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[k, j, i] = True
    return mask


def ellipsoid(shape, centre, radii, seed=0):
    """A knobbly blob: a surface on which wrong weights or a wrong axis order would show."""
    k, j, i = np.indices(shape)
    noise = np.random.default_rng(seed).normal(0, 0.08, shape)
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip((k, j, i), centre, radii, strict=True)) + noise < 1


def plain_directed_distances(mask, reference, spacing):
    """From every border voxel of ``mask`` to the nearest border voxel of ``reference``, by a distance transform."""
    border, other = (array & ~binary_erosion(array) for array in (mask, reference))
    return distance_transform_edt(~other, sampling=spacing)[border]


def test_a_mask_agrees_perfectly_with_itself():
    mask = block(slice(2, 9), slice(5, 20), slice(5, 30))
    agreement = compare(mask, mask, GRID)
    assert (agreement.dice, agreement.iou, agreement.surface_dice) == (1.0, 1.0, 1.0)
    assert (agreement.hausdorff_95, agreement.mean_surface_distance, agreement.centroid_error) == (0.0, 0.0, 0.0)
    assert agreement.volume_error == 0.0


def test_dice_iou_volume_and_centroid_of_two_shifted_blocks_are_those_worked_out_by_hand():
    reference = block(slice(2, 6), slice(10, 20), slice(10, 20))
    moved = block(slice(2, 6), slice(10, 20), slice(15, 25))
    agreement = compare(moved, reference, GRID)
    assert agreement.dice == pytest.approx(0.5)
    assert agreement.iou == pytest.approx(1 / 3)
    assert agreement.volume == pytest.approx(400 * 6 / 1000)
    assert agreement.centroid_error == pytest.approx(5.0)


def test_the_volume_error_is_positive_where_the_mask_is_too_large():
    reference = block(slice(2, 6), slice(10, 20), slice(10, 20))
    larger = block(slice(2, 7), slice(10, 20), slice(10, 20))
    assert compare(larger, reference, GRID).volume_error == pytest.approx(0.6)


@pytest.mark.parametrize(("axis", "millimetres"), [(0, 3.0), (1, 2.0), (2, 1.0)])
def test_a_plate_moved_by_two_voxels_is_away_by_two_times_the_spacing_of_that_axis(axis, millimetres):
    reference, moved = np.zeros((2, *SHAPE), bool)
    reference[(slice(None),) * axis + (4,)] = True
    moved[(slice(None),) * axis + (6,)] = True
    agreement = compare(moved, reference, GRID)
    assert agreement.hausdorff_95 == pytest.approx(2 * millimetres)
    assert agreement.mean_surface_distance == pytest.approx(2 * millimetres)


@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_a_plain_second_definition(seed):
    reference = ellipsoid(SHAPE, (6, 14, 18), (4, 9, 12), seed)
    mask = ellipsoid(SHAPE, (5, 15, 20), (3.4, 8, 13), seed + 10)
    spacing = GRID.spacing[::-1]
    there, back = (
        plain_directed_distances(mask, reference, spacing),
        plain_directed_distances(reference, mask, spacing),
    )
    agreement = compare(mask, reference, GRID)
    assert agreement.hausdorff_95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    assert agreement.mean_surface_distance == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)


def test_the_surface_dice_of_a_box_with_one_wrong_face_is_the_share_of_its_area():
    """A box of 20×20×20 mm against one that is 5 mm longer. Voxel surfaces round the edges, hence the tolerance."""
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    reference = block(slice(10, 30), slice(10, 30), slice(10, 30), grid.shape)
    mask = block(slice(10, 30), slice(10, 30), slice(10, 35), grid.shape)
    wrong = {
        "the reference's face, but for the 2 mm along its rim that the longer box's sides reach": 16 * 16,
        "the longer box's face": 20 * 20,
        "the longer box's sides beyond 2 mm": 4 * 20 * 3,
    }
    share = 1 - sum(wrong.values()) / (2400 + 2800)
    assert compare(mask, reference, grid, tolerance=2.0).surface_dice == pytest.approx(share, abs=0.02)


def test_surface_dice_rises_with_the_tolerance():
    reference = block(slice(2, 9), slice(5, 20), slice(5, 30))
    mask = block(slice(2, 9), slice(5, 20), slice(8, 33))
    shares = [compare(mask, reference, GRID, tolerance).surface_dice for tolerance in (0.5, 2.0, 4.0)]
    assert shares[0] < shares[1] < shares[2] == 1.0


def test_masks_at_the_very_border_of_the_image_have_a_surface_there():
    whole = np.ones(SHAPE, bool)
    assert compare(whole, whole, GRID).surface_dice == 1.0
    half = block(slice(0, 12), slice(0, 30), slice(0, 20))
    assert compare(half, whole, GRID).hausdorff_95 == pytest.approx(20.0)


def test_whole_and_broken_millimetres_mix_in_a_spacing():
    mask = np.zeros((6, 8, 8), bool)
    mask[2:4, 2:6, 2:6] = True
    agreement = compare(mask, mask, Geometry(mask.shape, (3.6, 3.6, 6), (0.0, 0.0, 0.0)))
    assert agreement.hausdorff_95 == 0
    assert agreement.surface_dice == 1


def test_two_empty_masks_agree_and_have_no_distance():
    empty = np.zeros(SHAPE, bool)
    agreement = compare(empty, empty, GRID)
    assert (agreement.dice, agreement.iou, agreement.surface_dice, agreement.volume_error) == (1.0, 1.0, 1.0, 0.0)
    assert math.isnan(agreement.hausdorff_95)
    assert math.isnan(agreement.centroid_error)


def test_an_empty_mask_disagrees_with_any_structure():
    mask = block(slice(2, 9), slice(5, 20), slice(5, 30))
    for pair in ((np.zeros(SHAPE, bool), mask), (mask, np.zeros(SHAPE, bool))):
        agreement = compare(*pair, GRID)
        assert (agreement.dice, agreement.iou, agreement.surface_dice) == (0.0, 0.0, 0.0)
        assert math.isnan(agreement.mean_surface_distance)


def test_the_centroid_is_in_the_patient_whatever_the_orientation_of_the_grid():
    oblique = Geometry(SHAPE, (1.0, 2.0, 3.0), (5.0, -7.0, 11.0), (0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    mask = block(slice(4, 7), slice(10, 13), slice(20, 23))
    np.testing.assert_allclose(centroid(mask, oblique), oblique.world(np.array([21.0, 11.0, 5.0])))


def test_the_bounding_box_holds_the_mask_and_nothing_else():
    assert bounding_box(block(slice(2, 9), slice(5, 20), slice(7, 8))) == (slice(2, 9), slice(5, 20), slice(7, 8))
    assert bounding_box(np.zeros(SHAPE, bool)) is None


def test_the_slice_dice_is_the_mean_over_the_slices_that_hold_the_reference():
    reference = block(slice(2, 4), slice(0, 10), slice(0, 10))
    mask = block(slice(2, 3), slice(0, 10), slice(0, 10)) | block(slice(8, 9), slice(0, 10), slice(0, 10))
    assert slice_dice(mask, reference) == pytest.approx(0.5)
    assert math.isnan(slice_dice(mask, np.zeros(SHAPE, bool)))


def test_structure_sets_are_compared_by_name_on_one_grid():
    mask = block(slice(2, 9), slice(5, 20), slice(5, 30))
    result = StructureSet((Structure("GTV-1", mask), Structure("Heart", mask)), GRID)
    reference = StructureSet((Structure("Heart", ~mask), Structure("GTV-1", mask)), GRID)
    assert {name: agreement.dice for name, agreement in compare_structures(result, reference).items()} == {
        "GTV-1": 1.0,
        "Heart": 0.0,
    }


def test_masks_on_other_grids_are_refused_in_one_sentence():
    other = Geometry(SHAPE, (1.0, 2.0, 3.0), (6.0, -7.0, 11.0))
    with pytest.raises(GeometryError, match="different grids"):
        compare_structures(StructureSet((), GRID), StructureSet((), other))
    with pytest.raises(GeometryError, match="shape"):
        compare(np.zeros((3, 3, 3), bool), np.zeros(SHAPE, bool), GRID)


def test_the_added_path_is_the_border_that_the_mask_lacks_in_millimetres():
    # Pixels of 1 by 2 mm count 1.5 mm each; a rectangle of 4 by 5 pixels has a border of 14.
    reference = block(slice(2, 4), slice(10, 14), slice(10, 15))
    nothing = np.zeros(SHAPE, bool)
    assert added_path_length(nothing, reference, GRID) == pytest.approx(2 * 14 * 1.5)
    assert added_path_length(reference, reference, GRID) == 0
    assert added_path_length(reference, nothing, GRID) == 0
    # One column further to the right: the left border (4 pixels) is missing, and the old right one (2 inner pixels).
    moved = block(slice(2, 4), slice(10, 14), slice(11, 16))
    assert added_path_length(moved, reference, GRID) == pytest.approx(2 * 6 * 1.5)
    assert compare(moved, reference, GRID).added_path == pytest.approx(2 * 6 * 1.5)


def test_within_its_tolerance_a_border_need_not_be_drawn_again():
    reference = block(slice(2, 4), slice(10, 14), slice(10, 15))
    moved = block(slice(2, 4), slice(10, 14), slice(11, 16))
    assert added_path_length(moved, reference, GRID, tolerance=1.0) == 0
    assert added_path_length(np.zeros(SHAPE, bool), reference, GRID, tolerance=1.0) == pytest.approx(2 * 14 * 1.5)
