"""Corrections of what was carried, with the bundled model on a small thorax."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from thorax import dice_of, thorax

from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry
from adaptsam.propagation.click_evidence import CorrectionSettings, with_clicks
from adaptsam.propagation.slice_correction import correct_slice, follow_slice
from adaptsam.propagation.volume_propagation import Propagation, PropagationSettings, Propagator
from adaptsam.sam import EmbeddingStore, load_sam
from adaptsam.slicewise.target_visit import TargetVisit

RIGID = PropagationSettings(register="rigid")


@pytest.fixture(scope="module")
def store() -> EmbeddingStore:
    return EmbeddingStore(load_sam())


@pytest.fixture(scope="module")
def carried(store: EmbeddingStore) -> tuple[Propagation, TargetVisit]:
    prior, target = thorax(), thorax(shift_mm=(6, 4, 0), seed=1)
    return Propagator(prior.volume, prior.structures, store=store, settings=RIGID).carry(target.volume)


def _middle(propagation: Propagation, name: str) -> tuple[int, np.ndarray]:
    mask = propagation.structures.structures[propagation.structures.names.index(name)].mask
    k = int(np.argmax(mask.sum(axis=(1, 2))))
    return k, mask[k]


def test_the_same_points_without_clicks_give_the_slice_again_and_encode_nothing(
    carried: tuple[Propagation, TargetVisit], store: EmbeddingStore
) -> None:
    propagation, visit = carried
    k, mask = _middle(propagation, "heart")
    [report] = [one for one in propagation.reports[1].slices if one.index == k]
    before = store.encoded
    again = correct_slice(visit, "heart", k, report.points, report.labels, np.zeros(len(report.labels), bool))
    assert store.encoded == before
    assert (again.axis, again.index) == (0, k)
    assert dice_of(again.mask, mask) > 0.98  # clean-up is for whole structures
    assert again.confidence > 0.5


def test_a_click_takes_tissue_away_and_another_brings_it_back(carried: tuple[Propagation, TargetVisit]) -> None:
    propagation, visit = carried
    k, mask = _middle(propagation, "heart")
    rows, columns = np.nonzero(mask)
    inside = (float(np.median(columns)), float(np.median(rows)))
    edge = (float(columns.max()), float(rows[columns == columns.max()][0]))
    without = correct_slice(visit, "heart", k, np.array([inside, edge]), np.array([1, 0]))
    assert not without.mask[int(edge[1]), int(edge[0])]
    assert without.mask[int(inside[1]), int(inside[0])]
    outside = (edge[0] + 2, edge[1])
    beyond = correct_slice(visit, "heart", k, np.array([inside, outside]), np.array([1, 1]))
    assert beyond.mask[int(outside[1]), int(outside[0])]


def test_neighbours_follow_a_drawn_slice(carried: tuple[Propagation, TargetVisit], store: EmbeddingStore) -> None:
    propagation, visit = carried
    truth = thorax(shift_mm=(6, 4, 0)).mask("heart")
    k, _ = _middle(propagation, "heart")
    before = store.encoded
    followed = follow_slice(visit, "heart", k, truth[k], [k - 1, k + 1])
    assert store.encoded == before
    assert [one.index for one in followed] == [k - 1, k + 1]
    assert all(dice_of(one.mask, truth[one.index]) > 0.85 for one in followed)
    assert all(len(one.points) == len(one.labels) > 0 for one in followed)


def test_a_stored_array_of_another_order_is_corrected_in_its_own_pixels(store: EmbeddingStore) -> None:
    prior = thorax()
    flipped = replace(prior.volume.geometry, direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0))
    shape = flipped.shape
    far = prior.volume.geometry.world(np.array([shape[2] - 1, shape[1] - 1, shape[0] - 1]))
    flipped = replace(flipped, origin=tuple(map(float, far)))
    target = replace(prior.volume, array=prior.volume.array[::-1, ::-1, ::-1], geometry=flipped)
    propagation, visit = Propagator(prior.volume, prior.structures, store=store, settings=RIGID).carry(target)
    k, mask = _middle(propagation, "heart")
    rows, columns = np.nonzero(mask)
    x, y = float(np.median(columns)), float(np.median(rows))
    made = correct_slice(visit, "heart", k, np.array([[x, y]]), np.array([1]))
    assert made.mask.shape == mask.shape
    assert made.mask[int(y), int(x)]
    assert dice_of(made.mask, mask) > 0.8
    followed = follow_slice(visit, "heart", k, mask, [k + 1])
    assert dice_of(followed[0].mask, propagation.structures.structures[1].mask[k + 1]) > 0.8


def test_slices_along_another_axis_are_meant_where_the_prior_has_them_there(store: EmbeddingStore) -> None:
    prior = thorax()
    grid = prior.volume.geometry
    turned = Geometry(
        (grid.shape[2], grid.shape[0], grid.shape[1]),
        (grid.spacing[1], grid.spacing[2], grid.spacing[0]),
        grid.origin,
        (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    )
    target = replace(prior.volume, array=np.transpose(prior.volume.array, (2, 0, 1)), geometry=turned)
    propagation, visit = Propagator(prior.volume, prior.structures, store=store, settings=RIGID).carry(target)
    heart = propagation.structures.structures[1].mask
    assert propagation.reports[1].slice_axis == 1
    k = int(np.argmax(heart.sum(axis=(0, 2))))
    [report] = [one for one in propagation.reports[1].slices if one.index == k]
    made = correct_slice(visit, "heart", k, report.points, report.labels, np.zeros(len(report.labels), bool))
    assert made.axis == 1
    assert dice_of(made.mask, heart[:, k]) > 0.95


def test_a_click_decides_where_it_is_and_reaches_alike_tissue_only() -> None:
    gray = np.full((20, 20), 100.0, np.float32)
    gray[:, 10:] = 200.0
    odds = with_clicks(np.full((20, 20), -3.0), gray, np.array([[8.0, 10.0]]), np.array([1]), (1.0, 1.0))
    mask = odds > 0
    assert mask[10, 8]
    assert mask[7, 8]
    assert not mask[:, 10:].any()
    away = with_clicks(np.full((20, 20), 3.0), gray, np.array([[8.0, 10.0]]), np.array([0]), (1.0, 1.0))
    assert away[10, 8] < 0 < away[10, 18]


@pytest.mark.parametrize("label", [0, 1])
def test_a_click_is_heard_where_everything_else_is_sure_of_the_opposite(label: int) -> None:
    gray = np.full((41, 41), 100.0, np.float32)
    sure = np.full((41, 41), 20.0 if label == 0 else -20.0)
    odds = with_clicks(sure, gray, np.array([[20.0, 20.0]]), np.array([label]), (1.0, 1.0))
    turned = (odds > 0) == (label == 1)
    assert 12 <= turned.sum() <= 80
    np.testing.assert_allclose(odds[:2], sure[:2], atol=1e-3)


def test_what_cannot_be_corrected_is_told(carried: tuple[Propagation, TargetVisit]) -> None:
    _, visit = carried
    with pytest.raises(InputError, match="was not carried"):
        correct_slice(visit, "liver", 3, np.array([[1, 1]]), np.array([1]))
    with pytest.raises(InputError, match="no slice 99"):
        correct_slice(visit, "heart", 99, np.array([[1, 1]]), np.array([1]))
    with pytest.raises(InputError, match="at least one prompt"):
        correct_slice(visit, "heart", 3, np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(InputError, match="is empty on slice"):
        follow_slice(visit, "heart", 10, np.zeros((80, 96), bool), [11])
    with pytest.raises(InputError, match="not the shape"):
        follow_slice(visit, "heart", 10, np.ones((80, 95), bool), [11])


def test_without_a_place_in_space_the_points_alone_decide(store: EmbeddingStore) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(60, 90, (1, 96, 96, 3)).astype(np.uint8)
    picture[0, 30:60, 30:60] = 200
    mask = np.zeros((1, 96, 96), bool)
    mask[0, 30:60, 30:60] = True
    heart = thorax()
    grid = Geometry((1, 96, 96), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    prior = replace(heart.volume, array=picture, geometry=grid, modality="")
    structures = replace(
        heart.structures, structures=(replace(heart.structures.structures[1], mask=mask),), geometry=grid
    )
    _, visit = Propagator(prior, structures, store=store).carry(prior)
    made = correct_slice(visit, "heart", 0, np.array([[45.0, 45.0], [10.0, 10.0]]), np.array([1, 0]))
    assert made.mask[45, 45]
    assert not made.mask[10, 10]


def test_settings_of_a_click_are_heard() -> None:
    gray = np.full((9, 9), 100.0, np.float32)
    weak = with_clicks(
        np.full((9, 9), -5.0), gray, np.array([[4.0, 4.0]]), np.array([1]), (1.0, 1.0), CorrectionSettings(click_odds=0)
    )
    assert weak[4, 4] > 0
    assert weak[0, 0] == -5
