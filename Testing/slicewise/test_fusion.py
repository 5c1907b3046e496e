from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from adaptsam.errors import InputError
from adaptsam.image.cropping import UNSEEN
from adaptsam.image.volume import Geometry
from adaptsam.registration import DeformableSettings
from adaptsam.slicewise import FusionSettings, PriorVisit, SliceResult, VolumeSettings, carry
from adaptsam.slicewise.fusion import (
    Evidence,
    Weights,
    expected_dice,
    fit,
    fuse,
    method_odds,
    registration_odds,
    support,
)
from adaptsam.slicewise.target_visit import TargetVisit

FUSED = VolumeSettings(fusion="calibrated", register="rigid")
PLAIN = VolumeSettings(fusion="off", register="rigid")


def test_registration_alone_never_decides() -> None:
    far_inside, far_outside = registration_odds(np.array([-50.0, 50.0]), error_mm=2.0, change=0.1)
    assert far_inside == pytest.approx(np.log(0.95 / 0.05))
    assert far_outside == pytest.approx(-far_inside)
    assert registration_odds(np.zeros(1), 2.0, 0.1)[0] == pytest.approx(0)


def test_a_method_that_knows_is_heard_and_one_that_guesses_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.5
    distance = rng.normal(0, 2, 4000)
    knows = Evidence(distance, np.where(truth, 3.0, -3.0) + rng.normal(0, 2, 4000), np.zeros(4000))
    guesses = replace(knows, method=rng.normal(0, 3, 4000))
    settings = FusionSettings()
    assert fit([knows], [truth], settings, 3.0).method > 0.5
    assert fit([guesses], [truth], settings, 3.0).method < 0.05
    contrary = replace(knows, method=-knows.method)
    assert fit([contrary], [truth], settings, 3.0).method == 0


def test_weights_are_those_of_the_model_that_made_the_evidence() -> None:
    rng = np.random.default_rng(1)
    settings = FusionSettings()
    made = Evidence(rng.normal(0, 3, 40_000), rng.normal(0, 2, 40_000), rng.normal(0, 2, 40_000))
    odds = fuse(made, Weights(0.7, 0.4), 3.0, settings.change)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-odds))
    found = fit([made], [truth], settings, 3.0)
    assert (found.method, found.appearance) == pytest.approx((0.7, 0.4), abs=0.05)


def test_what_the_view_does_not_show_is_no_evidence() -> None:
    assert method_odds(np.array([UNSEEN, -3.0, 50.0])).tolist() == [0.0, -3.0, 8.0]


def test_the_expected_dice_is_what_odds_that_are_right_give() -> None:
    rng = np.random.default_rng(2)
    odds = rng.normal(0, 2, 50_000)
    truth = rng.random(50_000) < 1 / (1 + np.exp(-odds))
    mask = odds > 0
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert expected_dice(odds, mask) == pytest.approx(dice, abs=0.01)
    none = np.zeros(3, bool)
    assert expected_dice(np.array([-9.0, -9.0, -3.0]), none) == pytest.approx(1 - 1 / (1 + np.exp(3)))
    assert expected_dice(np.zeros(0), none[:0]) == 1


def test_a_method_that_sees_nothing_leaves_registration_and_appearance(
    make_thorax: Callable, by_gray, dice: Callable
) -> None:
    def blind(jobs: list) -> list[SliceResult]:
        shapes = [job.target_image.shape[:2] for job in jobs]
        noise = np.random.default_rng(0)
        return [
            SliceResult(noise.normal(0, 3, s).astype(np.float32), 1.0, np.zeros((0, 2)), np.zeros(0, int), 0.5)
            for s in shapes
        ]

    by_gray.segment = blind
    prior, later = make_thorax(), make_thorax((12, -8, 10), seed=1)
    visit = PriorVisit(by_gray, prior.volume, prior.structures, FUSED)
    assert all(plan.weights.method < 0.05 for plan in visit.plans)
    carried = carry(visit, later.volume)
    plain = carry(PriorVisit(by_gray, prior.volume, prior.structures, PLAIN), later.volume)
    for mask, alone, name in zip(carried.masks, plain.masks, later.structures.names, strict=True):
        assert dice(mask, later.mask(name)) > 0.9
        assert dice(alone, later.mask(name)) < 0.7


def test_a_structure_that_shrank_is_not_drawn_as_large_as_it_was(
    make_thorax: Callable, by_gray, dice: Callable
) -> None:
    prior, later = make_thorax(), make_thorax(seed=1)
    k, j, i = np.indices(later.volume.array.shape)
    x, y, z = np.moveaxis(later.volume.geometry.world(np.stack([i, j, k], axis=-1)), -1, 0)
    left = ((x + 75) / 12) ** 2 + ((y - 10) / 12) ** 2 + ((z - 10) / 14) ** 2 <= 1
    gone = later.mask("tumour") & ~left
    later.volume.array[gone] = -800 + np.random.default_rng(5).normal(0, 8, int(gone.sum()))
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, FUSED), later.volume)
    assert dice(carried.masks[0], left) > 0.85
    assert dice(prior.mask("tumour"), left) < 0.4


def test_a_vanished_structure_stays_empty_although_registration_expects_it(make_thorax: Callable, by_gray) -> None:
    prior, later = make_thorax(), make_thorax(seed=1, tumour=False)
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, FUSED), later.volume)
    assert carried.reports[0].status == "gone"
    assert not carried.masks[0].any()


def test_fusion_encodes_no_further_image(make_thorax: Callable, by_gray) -> None:
    prior, later = make_thorax(), make_thorax((4, 0, 0), seed=1)
    carry(PriorVisit(by_gray, prior.volume, prior.structures, replace(PLAIN, view="body")), later.volume)
    before = set(by_gray.seen)
    carry(
        PriorVisit(by_gray, prior.volume, prior.structures, replace(FUSED, view="body")),
        later.volume,
    )
    new = set(by_gray.seen) - before
    prior_images = {job.prior_image.tobytes() for job in by_gray.jobs}
    assert new <= prior_images


def test_the_end_of_a_closed_body_is_an_end(make_thorax: Callable, by_gray) -> None:
    """What lies beyond the last drawn slice is outside, although a mask there would be judged by the end slice."""
    prior = make_thorax()
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, FUSED), make_thorax(seed=1).volume)
    held = np.flatnonzero(carried.masks[0].any(axis=(1, 2)))
    true = np.flatnonzero(prior.mask("tumour").any(axis=(1, 2)))
    assert abs(held[0] - true[0]) <= 1
    assert abs(held[-1] - true[-1]) <= 1


def test_support_is_what_the_image_says_without_the_registration() -> None:
    evidence = Evidence(np.full(4, -9.0), np.array([2.0, 2.0, -8.0, 0.0]), np.array([1.0, -1.0, -4.0, 0.0]))
    weights = Weights(method=0.5, appearance=2.0)
    assert support(evidence, weights, np.array([True, True, False, False])) == pytest.approx(1 / 12)
    assert support(evidence, weights, np.array([False, False, True, False])) < 0
    assert support(evidence, weights, np.zeros(4, bool)) == float("-inf")
    assert support(evidence, Weights(), np.ones(4, bool)) == float("-inf")
    heard = np.array([3.0, 0.0, 0.0, 0.0])
    assert support(evidence, weights, np.array([True, True, False, False]), heard) == pytest.approx(5 / 20)


def test_tissue_that_came_anew_speaks_for_the_mask_it_drew(make_thorax: Callable, by_gray) -> None:
    """The look is heard there although it had no weight on the prior, and the method denies all."""
    prior, later = make_thorax(), make_thorax(seed=1)
    k, j, i = np.indices(later.volume.array.shape)
    x, y, z = np.moveaxis(later.volume.geometry.world(np.stack([i, j, k], axis=-1)), -1, 0)
    grown = ((x + 75) / 26) ** 2 + ((y - 10) / 26) ** 2 + ((z - 10) / 25) ** 2 <= 1
    later.volume.array[grown] = 280 + np.random.default_rng(5).normal(0, 8, int(grown.sum()))
    visit = TargetVisit.of(PriorVisit(by_gray, prior.volume, prior.structures, FUSED), later.volume)
    plan = replace(visit.target.prior.plans[0], weights=Weights(method=0.1, appearance=0.0))
    middle = int(np.flatnonzero(grown.any(axis=(1, 2))).mean())
    fused = visit.evidence.fused(
        plan, middle, visit.target.locate(plan).on_slice(middle), np.full(grown.shape[1:], -1.0)
    )
    new = grown[middle] & ~prior.mask("tumour")[middle]
    assert (fused.odds > 0)[new].mean() > 0.5
    assert fused.support > FusionSettings().enough_support


def _swollen(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The image after a smooth swing of up to 12 mm about the tumour."""
    k, j, i = np.indices(array.shape)
    world = geometry.world(np.stack([i, j, k], axis=-1))
    weight = np.exp(-(((world - [-75.0, 10.0, 10.0]) / [60.0, 60.0, 45.0]) ** 2).sum(axis=-1))
    index = geometry.index(world + 12.0 * weight[..., None] * np.array([0.6, 0.0, 0.8]))
    return ndimage.map_coordinates(array, np.moveaxis(index[..., ::-1], -1, 0), order=1, mode="nearest")


def test_the_default_finds_what_deformed_and_says_how_sure_it_is(
    make_thorax: Callable, by_gray, dice: Callable
) -> None:
    prior, later = make_thorax(), make_thorax(seed=1)
    grid = later.volume.geometry
    target = replace(later.volume, array=_swollen(later.volume.array, grid))
    settings = VolumeSettings(deformable=DeformableSettings(pitch_mm=4.0, shrink=(2, 1), iterations=(20, 10)))
    settings = replace(settings, confidence=replace(settings.confidence, kind="expected"))
    carried = carry(PriorVisit(by_gray, prior.volume, prior.structures, settings), target)
    for mask, name in zip(carried.masks, later.structures.names, strict=True):
        truth = _swollen(later.mask(name).astype(np.float32), grid) > 0.5
        assert dice(mask, truth) > 0.9
    report = carried.reports[1]
    assert report.margin_mm < VolumeSettings().margin_mm
    middle = [one for one in report.slices if one.accepted][3:-3]
    assert min(one.confidence for one in middle) > 0.8
    with pytest.raises(InputError, match="expected"):
        replace(settings.confidence, kind="guess")


def test_a_structure_most_of_which_lies_on_rejected_slices_is_gone(make_thorax: Callable, by_gray) -> None:
    """Registration alone would draw it: a look-alike on one slice must not keep the rest."""
    prior, later = make_thorax(), make_thorax(seed=1)
    deaf = replace(FUSED, fusing=FusionSettings(enough_support=1e9))
    plain = by_gray.prior_distances

    def measured(images: list, masks: list) -> np.ndarray:
        return plain(images, masks) + (0.0 if images[1].tobytes() in before else 1e6)

    visit = PriorVisit(by_gray, prior.volume, prior.structures, deaf)
    before = {job.prior_image.tobytes() for job in by_gray.jobs} | {job.target_image.tobytes() for job in by_gray.jobs}
    assert carry(visit, later.volume).reports[0].status == "found"
    by_gray.prior_distances = measured
    carried = carry(visit, later.volume)
    assert carried.reports[0].status == "gone"
    assert not carried.masks[0].any()
