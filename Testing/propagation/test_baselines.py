"""The baseline moves contours exactly as the transform says, from any grid to any other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.image.displacement_field import DisplacementField
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.metrics.volume_metrics import compare
from adaptsam.propagation.baselines import carry_deformably, carry_rigidly, copy_contours, deform_mask, move_mask
from adaptsam.registration import DeformableSettings, Deformation, Rigid
from adaptsam.synthetic.digital_followup import digital_followup, settings_for

SOURCE = Geometry((20, 40, 44), (2.0, 2.0, 3.0), (-44.0, -40.0, -30.0))


def ball(geometry: Geometry, centre: tuple[float, float, float], radius: float = 15.0) -> np.ndarray:
    k, j, i = np.indices(geometry.shape)
    return np.linalg.norm(geometry.world(np.stack([i, j, k], axis=-1)) - centre, axis=-1) < radius


def shift(*millimetres: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = millimetres
    return matrix


def test_nothing_changes_on_the_same_grid():
    mask = ball(SOURCE, (3.0, -4.0, 0.0))
    np.testing.assert_array_equal(move_mask(mask, SOURCE, SOURCE, np.eye(4)), mask)


@pytest.mark.parametrize(
    "target",
    [
        Geometry((33, 60, 70), (1.5, 1.5, 2.0), (-50.0, -46.0, -33.0)),
        Geometry((20, 40, 44), (2.0, 2.0, 3.0), (44.0, 40.0, 30.0), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)),
        Geometry((44, 40, 30), (2.0, 2.0, 2.0), (-44.0, -40.0, -30.0), (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0)),
    ],
    ids=["finer", "flipped", "axes permuted"],
)
def test_a_ball_arrives_where_the_transform_takes_it_on_any_grid(target):
    moved = move_mask(ball(SOURCE, (3.0, -4.0, 0.0)), SOURCE, target, shift(-6.0, 2.0, 3.0))
    agreement = compare(moved, ball(target, (9.0, -6.0, -3.0)), target)
    assert agreement.dice > 0.95
    assert agreement.centroid_error < 0.5


def test_what_leaves_the_target_is_cut_and_an_empty_mask_stays_empty():
    mask = ball(SOURCE, (0.0, 0.0, 0.0))
    half = move_mask(mask, SOURCE, SOURCE, shift(-44.0, 0.0, 0.0))
    assert 0.3 < half.sum() / mask.sum() < 0.7
    assert not move_mask(mask, SOURCE, SOURCE, shift(-200.0, 0.0, 0.0)).any()
    assert not move_mask(mask & False, SOURCE, SOURCE, np.eye(4)).any()


def test_a_structure_that_touches_the_border_keeps_its_size():
    mask = np.zeros(SOURCE.shape, bool)
    mask[:5, :10, :10] = True
    np.testing.assert_array_equal(move_mask(mask, SOURCE, SOURCE, np.eye(4)), mask)


def test_contours_follow_a_patient_who_lies_elsewhere():
    """The same anatomy with its couch 14 mm to the left and 9 mm up is found by registration."""
    grid = Geometry((24, 64, 72), (4.0, 4.0, 5.0), (-144.0, -128.0, -60.0))
    moved_grid = Geometry(grid.shape, grid.spacing, (-130.0, -128.0, -51.0))
    noise = np.random.default_rng(1).normal(0, 1, grid.shape)
    body = ball(grid, (0.0, 0.0, 0.0), 110.0)
    array = np.where(body, 400 * ndimage.gaussian_filter(noise, 2.0) * 6, -1000).astype(np.int16)
    structures = StructureSet((Structure("GTV-1", ball(grid, (20.0, 10.0, 5.0))),), grid)
    [structure] = carry_rigidly(Volume(array, grid, "CT"), structures, Volume(array, moved_grid, "CT")).structures
    assert compare(structure.mask, structures.structures[0].mask, moved_grid).dice > 0.9


def test_copied_contours_stay_at_their_physical_position():
    moved_grid = Geometry(SOURCE.shape, SOURCE.spacing, (-40.0, -40.0, -30.0))
    structures = StructureSet((Structure("GTV-1", ball(SOURCE, (3.0, -4.0, 0.0))),), SOURCE)
    image = Volume(np.zeros(SOURCE.shape, np.int16), moved_grid, "CT")
    [structure] = copy_contours(structures, image).structures
    assert compare(structure.mask, ball(moved_grid, (3.0, -4.0, 0.0)), moved_grid).dice > 0.97


def test_a_deformed_mask_lies_where_its_points_do():
    """A displacement that grows to the right: the ball is stretched, and arrives on a grid of another order too."""
    grid = Geometry((12, 22, 24), (5.0, 5.0, 6.0), (-58.0, -53.0, -33.0))
    k, j, i = np.indices(grid.shape)
    world = grid.world(np.stack([i, j, k], axis=-1))
    displacement = np.stack([-0.2 * world[..., 0], 0 * world[..., 0], np.full(grid.shape, 3.0)], -1).astype(np.float32)
    deformation = Deformation(Rigid(), DisplacementField(displacement, grid), 1.0)
    target = Geometry(
        (44, 40, 30), (2.0, 2.0, 2.0), (-44.0, -40.0, -30.0), (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
    )
    moved = deform_mask(ball(SOURCE, (0.0, 0.0, 0.0)), SOURCE, target, deformation)
    k, j, i = np.indices(target.shape)
    there = deformation.to_prior(target.world(np.stack([i, j, k], axis=-1)))
    assert compare(moved, np.linalg.norm(there, axis=-1) < 15, target).dice > 0.95
    assert not deform_mask(moved & False, target, target, deformation).any()


def test_contours_follow_a_deformation_that_no_rigid_motion_explains():
    grid = Geometry((24, 64, 72), (4.0, 4.0, 5.0), (-144.0, -128.0, -60.0))
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, grid.shape), 4.0) * 16
    array = np.where(ball(grid, (0.0, 0.0, 0.0), 110.0), 600 * noise, -1000).astype(np.float32)
    k, j, i = np.indices(grid.shape).astype(float)
    push = 14 * np.exp(-(((grid.world(np.stack([i, j, k], -1)) - (20.0, 10.0, 5.0)) / 40) ** 2).sum(-1))
    shifted = np.stack([k, j, i + push / 4.0])
    structures = StructureSet((Structure("GTV-1", ball(grid, (20.0, 10.0, 5.0))),), grid)
    truth = ndimage.map_coordinates(structures.structures[0].mask.astype(float), shifted, order=1) > 0.5
    prior, target = (Volume(a, grid, "CT") for a in (array, ndimage.map_coordinates(array, shifted, order=1)))
    [rigid] = carry_rigidly(prior, structures, target).structures
    [deformed] = carry_deformably(prior, structures, target, settings=DeformableSettings(pitch_mm=4.0)).structures
    assert compare(deformed.mask, truth, grid).dice > 0.8 > 0.6 > compare(rigid.mask, truth, grid).dice


@pytest.mark.parametrize(("tumour", "undone"), [("same", True), ("regress", False)])
def test_deformable_registration_undoes_motion_but_not_a_tumour_that_shrank(tumour, undone):
    """What makes a digital follow-up a test: its truth cannot be had by undoing a deformation."""
    grid = Geometry((26, 64, 72), (4.0, 4.0, 5.0), (-142.0, -126.0, -62.5))
    k, j, i = np.indices(grid.shape)
    x, y, _ = np.moveaxis(grid.world(np.stack([i, j, k], axis=-1)), -1, 0)
    lung = ((x + 55) / 52) ** 2 + (y / 70) ** 2 < 1
    lesion = ball(grid, (-55.0, 10.0, 0.0), 25.0)
    array = np.where((x / 125) ** 2 + (y / 105) ** 2 < 1, 30.0, -1000.0)
    array[lung], array[ball(grid, (40.0, 50.0, 0.0), 25.0)], array[lesion] = -800, 500, 40
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 1.0)
    prior = Volume(np.rint(array + 300 * noise * lung + 60 * noise).astype(np.int16), grid, "CT")
    structures = StructureSet((Structure("GTV-1", lesion),), grid)
    later = digital_followup(prior, structures, seed=1, settings=settings_for("large", tumour))
    quick = DeformableSettings(pitch_mm=4.0)
    [moved] = carry_deformably(prior, structures, later.volume, settings=quick).structures
    dice = compare(moved.mask, later.structures.structures[0].mask, later.volume.geometry).dice
    assert dice > 0.9 if undone else dice < 0.75
