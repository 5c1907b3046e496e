"""The batched method against the published one, written again slowly: one image, one candidate, one pass at a time.

The reimplementation follows the procedure of Zch0414/p2sam on segment_anything's own predictor, scikit-learn and POT,
and shares no code with the package. It reads the features that the package reads: the last bit of an encoder decides
which pixel of the flat rim of an upsampled map is its peak, and encoders are compared in the tests of ``sam``. One test
keeps the predictor's own encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from plain_sam import SameFeatures, box_of, guided_logits, reference_features, similarity, top
from segment_anything import SamPredictor
from sklearn.cluster import KMeans

from adaptsam.p2sam import P2SamSettings, segment


@dataclass
class Answer:
    points: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    distance: float
    tried: list


def first_centres(features, n, stream):
    """As scikit-learn 1.0.2 draws them, one restart after the other."""
    rows = [stream.randint(len(features))]
    for _ in range(n - 1):
        nearest = ((features[:, None] - features[rows]) ** 2).sum(-1).min(1)
        tried = np.searchsorted(nearest.cumsum(), stream.random_sample(2 + int(np.log(n))) * nearest.sum())
        left = [np.minimum(nearest, ((features - features[row]) ** 2).sum(-1)).sum() for row in tried]
        rows.append(tried[np.argmin(left)])
    return features[rows]


def parts_of(features, n):
    if n == 1:
        parts = [features.mean(0)]
    else:
        points, stream = features.numpy(), np.random.RandomState(0)
        starts = [first_centres(points.astype(float), n, stream).astype(np.float32) for _ in range(10)]
        runs = [KMeans(n, init=start, n_init=1, algorithm="elkan").fit(points) for start in starts]
        labels = torch.from_numpy(min(runs, key=lambda run: run.inertia_).labels_)
        parts = [features[labels == c].mean(0) for c in range(n)]
    return torch.stack([part / part.norm() for part in parts])


def score(predictor, reference_foreground, low_res, weighted):
    features = predictor.features.squeeze().permute(1, 2, 0)
    on_grid = F.interpolate(torch.as_tensor(low_res)[None, None], size=features.shape[:2], mode="bilinear").squeeze()
    found = features[on_grid > 0]
    if len(found) == 0:
        return 1e6 - 1
    a, b = ot.unif(len(reference_foreground)), ot.unif(len(found))
    if weighted:
        weights = torch.sigmoid(on_grid[on_grid > 0]).double().numpy()
        b = weights / weights.sum()
    cost = ot.dist(reference_foreground.double().numpy(), found.double().numpy())
    return ot.emd2(a, b, cost, numItermax=10_000_000)


def published_medical(predictor, pair, counts, weighted=False):
    features, grid = reference_features(predictor, pair.reference, pair.mask)
    foreground, background = features[grid > 0], features[grid <= 0]
    predictor.set_image(pair.target)
    best, tried = None, []
    for n_pos, n_neg in counts:
        if len(foreground) < n_pos or len(background) < n_neg:
            continue
        points = [top(m) for m in similarity(predictor, parts_of(foreground, n_pos))]
        if n_neg:
            points += [top(m) for m in similarity(predictor, parts_of(background, n_neg))]
        prompt = {"point_coords": np.array(points), "point_labels": np.array([1] * n_pos + [0] * n_neg)}
        _, _, logits = predictor.predict(**prompt, multimask_output=False)
        masks, _, logits = predictor.predict(**prompt, mask_input=logits[:1], multimask_output=False)
        masks, _, logits = predictor.predict(
            **prompt, box=box_of(masks[0]), mask_input=logits[:1], multimask_output=False
        )
        distance = score(predictor, foreground, logits[0], weighted)
        tried.append((n_pos, n_neg, distance))
        if distance < (best.distance if best else 1e6):
            best = Answer(prompt["point_coords"], prompt["point_labels"], masks[0], distance, tried)
    return best


def published_natural(predictor, pair, counts):
    features, grid = reference_features(predictor, pair.reference, pair.mask)
    foreground = features[grid > 0]
    predictor.set_image(pair.target)
    best, tried = None, []
    for n in counts:
        maps = similarity(predictor, parts_of(foreground, n))
        mean = maps.mean(0)
        points = np.array([top(m) for m in maps] + [top(mean, largest=False)])
        prompt = {"point_coords": points, "point_labels": np.array([1] * n + [0])}
        standard = (mean - mean.mean()) / torch.std(mean)
        attention = F.interpolate(standard[None, None], size=features.shape[:2], mode="bilinear").sigmoid().flatten()
        logits = guided_logits(predictor, prompt, attention, foreground.mean(0))
        masks, scores, logits = predictor.predict(**prompt, mask_input=logits, multimask_output=True)
        top_mask = np.argmax(scores)
        masks, scores, logits = predictor.predict(
            **prompt, box=box_of(masks[top_mask]), mask_input=logits[top_mask : top_mask + 1], multimask_output=True
        )
        top_mask = np.argmax(scores)
        distance = score(predictor, foreground, logits[top_mask], weighted=False)
        tried.append((n, 1, distance))
        if distance < (best.distance if best else 1e6):
            best = Answer(points, prompt["point_labels"], masks[top_mask], distance, tried)
    return best


def assert_same(result, answer):
    np.testing.assert_array_equal(result.points, answer.points)
    np.testing.assert_array_equal(result.labels, answer.labels)
    tried = [(c.n_positive, c.n_negative) for c in result.candidates]
    assert tried == [entry[:2] for entry in answer.tried]
    np.testing.assert_allclose([c.distance for c in result.candidates], [e[2] for e in answer.tried], rtol=1e-4)
    assert np.mean(result.mask == answer.mask) >= 0.999


DIAGONAL = [(n, n) for n in range(1, 5)]
RELEASED = [(n, 1) for n in range(1, 4)]
SHAPES = [(48, 64), (70, 50), (64, 64), (33, 90)]


@pytest.mark.parametrize("seed", range(6))
def test_the_paper_s_diagonal_gives_the_published_points_mask_and_winner(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, SHAPES[seed % 4])
    (result,) = segment(model, [pair.job(model)])
    assert_same(result, published_medical(SameFeatures(model), pair, DIAGONAL))


@pytest.mark.parametrize("seed", range(4))
def test_the_released_grid_gives_the_published_points_mask_and_winner(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, SHAPES[seed])
    (result,) = segment(model, [pair.job(model)], P2SamSettings(positives=(1, 3), negatives=(1, 1)))
    assert_same(result, published_medical(SameFeatures(model), pair, RELEASED))


def test_the_predictor_s_own_encoder_gives_the_same_points_mask_and_winner_too(model, pair):
    (result,) = segment(model, [pair.job(model)])
    assert_same(result, published_medical(SamPredictor(model.sam), pair, DIAGONAL))


def test_a_full_grid_is_tried_with_negatives_in_the_inner_loop_and_may_have_none(model, pair):
    (result,) = segment(model, [pair.job(model)], P2SamSettings(positives=(1, 2), negatives=(0, 2)))
    grid = [(p, n) for p in (1, 2) for n in (0, 1, 2)]
    assert_same(result, published_medical(SameFeatures(model), pair, grid))


def test_weights_from_the_logits_give_the_published_distances(model, pair):
    (result,) = segment(model, [pair.job(model)], P2SamSettings(weighted=True))
    assert_same(result, published_medical(SameFeatures(model), pair, DIAGONAL, weighted=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_natural_domain_gives_the_published_points_mask_and_winner(make_model, make_pair, seed):
    model, pair = make_model(seed), make_pair(seed, SHAPES[seed % 4])
    (result,) = segment(model, [pair.job(model)], P2SamSettings(domain="natural"))
    assert_same(result, published_natural(SameFeatures(model), pair, range(1, 5)))


@pytest.mark.parametrize("domain", ["medical", "natural"])
def test_jobs_together_give_what_each_gives_alone(model, make_pair, domain):
    jobs = [make_pair(seed, SHAPES[seed]).job(model) for seed in range(4)]
    together = segment(model, jobs, P2SamSettings(domain=domain))
    for job, result in zip(jobs, together, strict=True):
        (alone,) = segment(model, [job], P2SamSettings(domain=domain))
        np.testing.assert_array_equal(result.points, alone.points)
        assert np.mean(result.mask == alone.mask) >= 0.999
        assert result.winner == alone.winner
