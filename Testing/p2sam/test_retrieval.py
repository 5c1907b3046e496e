"""Which candidate wins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptsam.p2sam import EMPTY_DISTANCE, P2SamSettings, Prior, retrieval, wasserstein
from adaptsam.p2sam.retrieval import candidate_distances, retrieve
from adaptsam.sam import Embedding


@pytest.fixture
def target():
    return Embedding(torch.randn(32, 8, 8, generator=torch.Generator().manual_seed(0)), (64, 64), (64, 64))


@pytest.fixture
def prior(target):
    grid_mask = torch.zeros(8, 8, dtype=torch.bool)
    grid_mask[2:5, 2:5] = True
    return Prior(target.features, grid_mask)


def logits_of(rows, columns, inside=5.0):
    """Low-resolution logits whose foreground is exactly these patches."""
    grid = torch.full((8, 8), -5.0)
    grid[rows, columns] = inside
    return grid.repeat_interleave(4, 0).repeat_interleave(4, 1)


def test_the_smallest_distance_wins_and_the_first_of_equals():
    assert retrieve([3.0, 1.0, 1.0, 2.0]) == 1
    assert retrieve([EMPTY_DISTANCE, EMPTY_DISTANCE]) == 0


def test_the_same_patches_are_at_no_distance_and_others_are(prior, target):
    masks = [logits_of(slice(2, 5), slice(2, 5)), logits_of(slice(4, 8), slice(4, 8))]
    same, other = candidate_distances(prior, target, masks, P2SamSettings())
    assert same == pytest.approx(0, abs=1e-9)
    assert other == pytest.approx(wasserstein(prior.foreground, target.features[:, 4:, 4:].flatten(1).T))


@pytest.mark.parametrize("distance", ["wasserstein", "jensen-shannon", "hungarian"])
def test_an_empty_mask_is_worse_than_any_other_and_better_than_nothing(prior, target, distance):
    masks = [torch.full((32, 32), -1.0), logits_of(slice(0, 1), slice(0, 1))]
    empty, other = candidate_distances(prior, target, masks, P2SamSettings(distance=distance))
    assert other < empty == EMPTY_DISTANCE < 1e6


def test_candidates_with_the_same_patches_share_one_computation(prior, target, monkeypatch):
    calls = []
    monkeypatch.setitem(
        candidate_distances.__globals__["DISTANCES"], "wasserstein", lambda a, b: calls.append(len(b)) or 1.0
    )
    masks = [logits_of(slice(2, 5), slice(2, 5)), logits_of(slice(2, 5), slice(2, 5), inside=1.0)]
    assert candidate_distances(prior, target, masks, P2SamSettings()) == [1.0, 1.0]
    assert calls == [9]


def test_bounds_change_neither_the_winner_nor_its_distance(monkeypatch):
    random, skipped, cases = np.random.default_rng(0), 0, 150
    for case in range(cases):
        means = random.normal(size=(3, 6)) * random.choice([0.0, 0.3, 3.0])
        features = random.normal(size=(8, 8, 6)) + means[random.integers(0, 3, (8, 8))]
        target = Embedding(torch.from_numpy(features.transpose(2, 0, 1).astype(np.float32)), (64, 64), (64, 64))
        prior = Prior(target.features, torch.from_numpy(random.random((8, 8)) < random.uniform(0.1, 0.6)))
        if not prior.usable:
            continue
        grids = [torch.from_numpy(random.normal(size=(8, 8)).astype(np.float32) + shift) for shift in (-1, -0.5, 0, 1)]
        masks = [grid.repeat_interleave(4, 0).repeat_interleave(4, 1) for grid in [*grids, grids[case % 4]]]
        monkeypatch.setattr(retrieval, "WORTH_A_BOUND", 10**9)
        plain = candidate_distances(prior, target, masks, P2SamSettings())
        monkeypatch.setattr(retrieval, "WORTH_A_BOUND", 0)
        bounded = candidate_distances(prior, target, masks, P2SamSettings())
        assert retrieve(bounded) == retrieve(plain)
        assert min(bounded) == min(plain)
        assert all(ours <= exact * (1 + 1e-9) for ours, exact in zip(bounded, plain, strict=True))
        skipped += sum(ours < exact for ours, exact in zip(bounded, plain, strict=True))
    assert skipped > cases / 4


def test_weights_count_a_sure_patch_more_than_a_doubtful_one(prior, target):
    logits = logits_of(slice(2, 5), slice(2, 5))
    logits[8:12, 8:12] = 0.1
    plain, weighted = (
        candidate_distances(prior, target, [logits], P2SamSettings(weighted=weighted))[0] for weighted in (False, True)
    )
    assert plain == pytest.approx(0, abs=1e-9)
    assert weighted > 0.1


@pytest.mark.parametrize("shape", [(1, 1), (3, 3)])
def test_a_prior_of_any_size_can_be_compared(target, shape):
    grid_mask = torch.zeros(8, 8, dtype=torch.bool)
    grid_mask[: shape[0], : shape[1]] = True
    for distance in ("wasserstein", "jensen-shannon", "hungarian"):
        (value,) = candidate_distances(
            Prior(target.features, grid_mask),
            target,
            [logits_of(slice(7, 8), slice(7, 8))],
            P2SamSettings(distance=distance),
        )
        assert np.isfinite(value)
