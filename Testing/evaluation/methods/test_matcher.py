"""Matcher against the published procedure, written again plainly, and on colours that can be matched by hand."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from plain_sam import SameFeatures
from scipy.optimize import linear_sum_assignment
from segment_anything.utils.transforms import ResizeLongestSide
from sklearn.cluster import KMeans

from adaptsam.evaluation.methods import Workbench, make_methods
from adaptsam.evaluation.methods.matcher import MatcherSettings, centres, choices, match, patches, place, under
from adaptsam.sam import EmbeddingStore


def plain_grid(mask, size, grid):
    """Which patches of a square image a mask touches."""
    resized = ResizeLongestSide(size).apply_image(mask.astype(np.uint8) * 255)
    return F.avg_pool2d(torch.tensor(resized > 0).float()[None, None], size // grid)[0, 0].numpy() > 0


def published(model, pair):
    """Matcher.py for square images: SAM's features in DINOv2's place, one prompt at a time."""
    size, grid = model.image_size, model.grid_size
    patch = size // grid
    predictor = SameFeatures(model)
    predictor.set_image(pair.prior.image)
    reference = F.normalize(predictor.features[0].flatten(1).T, dim=1).numpy()
    predictor.set_image(pair.image)
    target = F.normalize(predictor.features[0].flatten(1).T, dim=1).numpy()
    inside = plain_grid(pair.prior.mask, size, grid).flatten()
    similarity = reference @ target.T
    forward = similarity[inside]
    rows, columns = linear_sum_assignment(forward, maximize=True)
    back = linear_sum_assignment(similarity.T[columns], maximize=True)[1]
    keep = np.isin(back, np.flatnonzero(inside))
    if keep.any():
        rows, columns = rows[keep], columns[keep]
    scores = forward[rows, columns]
    number = len(scores) // 2 if len(scores) > 40 else len(scores)
    best = sorted(set(columns[np.argsort(-scores, kind="stable")[:number]].tolist()))
    scale = np.array(pair.image.shape[1::-1]) / size
    points = np.array([((n % grid) * patch + patch // 2, (n // grid) * patch + patch // 2) for n in best]) * scale
    means = np.floor(KMeans(min(8, len(points)), random_state=0, n_init=1).fit(points).cluster_centers_)
    masks = []
    for count in range(min(4, len(means)), min(6, len(means)) + 1):
        for chosen in itertools.combinations(range(len(means)), count):
            one, _, _ = predictor.predict(means[list(chosen)], np.ones(count), multimask_output=False)
            masks.append(one[0])
    figures = []
    for mask in masks:
        held = plain_grid(mask, size, grid).flatten()
        held = held if held.any() else np.ones_like(held)
        cost = (1 - similarity[inside][:, held].astype(float)) / 2
        distance = ot.emd2(np.full(len(cost), 1 / len(cost)), np.full(cost.shape[1], 1 / cost.shape[1]), cost)
        hits = sum(mask[int(y), int(x)] for x, y in points)
        purity, coverage = hits / max(held.sum(), 1) + 1e-6, hits / len(points) + 1e-6
        figures.append(0.8 * (1 - distance) + 0.2 * purity * coverage)
    figures = np.array(figures)
    top = np.argsort(-figures, kind="stable")[:10]
    return np.any([masks[n] for n in top if figures[n] / figures.max() > 0.7], axis=0)


@pytest.mark.parametrize("seed", range(2))
def test_matcher_gives_the_published_mask(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, (64, 64) if seed % 2 else (128, 128))
    [method] = make_methods(["matcher"])
    [mask] = method.pictures(Workbench(EmbeddingStore(model)), [pair])
    assert np.mean(mask == published(model, pair)) >= 0.995


def test_matched_places_are_the_patches_of_the_same_colour(painted, colours):
    pair, truth = colours
    model = painted.model
    reference, target = painted.embed([pair.prior.image, pair.image])
    ours, theirs = patches(model, reference), patches(model, target)
    matched = match(ours.features @ theirs.features.T, under(model, pair.prior.mask)[ours.index])
    places = place(model, target, theirs.index[matched]).astype(int)
    assert len(places) == 9
    assert truth[places[:, 1], places[:, 0]].all()


def test_an_oblong_image_is_matched_where_it_lies_and_never_in_the_padding(painted):
    wide = np.full((32, 64, 3), 100, np.uint8)
    [embedding] = painted.embed([wide])
    grid = patches(painted.model, embedding)
    assert len(grid.index) == 4 * 8
    places = place(painted.model, embedding, grid.index)
    assert places.min() == 4
    assert places.max(axis=0).tolist() == [60, 28]


def test_what_comes_back_outside_the_structure_is_dropped():
    # Target patch 1 is most like reference patch 2, which is not in the structure.
    similarity = torch.tensor([[0.9, 0.2, 0.0], [0.1, 0.6, 0.0], [0.0, 0.9, 0.1]])
    inside = torch.tensor([True, True, False])
    assert match(similarity, inside).tolist() == [0]


def test_eight_centres_give_every_choice_of_four_to_six():
    points = np.random.default_rng(0).uniform(0, 500, (60, 2))
    settings = MatcherSettings()
    found = choices(centres(points, settings), settings)
    assert len(found) == 70 + 56 + 28
    assert len(choices(points[:3], settings)) == 1
