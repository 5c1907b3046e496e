"""Distances between two sets of raw features: the three measures of Table 5. Smaller is more alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ot
from scipy.optimize import linear_sum_assignment
from scipy.special import rel_entr
from torch import Tensor

from adaptsam.p2sam.p2sam_settings import DistanceName
from adaptsam.p2sam.part_features import part_features

HISTOGRAM_BINS = 10
MATCHED_CLUSTERS = 4


def wasserstein(a: Tensor, b: Tensor, weights: Tensor | None = None) -> float:
    """The exact earth mover's distance between features (n_a, C) and (n_b, C), with squared Euclidean cost.

    Every feature weighs the same, unless ``weights`` (n_b,), of any positive scale, are given for ``b``.
    """
    mass_a = ot.unif(len(a))
    mass_b = ot.unif(len(b)) if weights is None else _numpy(weights) / _numpy(weights).sum()
    return float(ot.emd2(mass_a, mass_b, ot.dist(_numpy(a), _numpy(b)), numItermax=10_000_000))


def wasserstein_bound(a: Tensor, b: Tensor) -> float:
    """A number that :func:`wasserstein` of features (n_a, C) and (n_b, C), all of one weight, cannot fall below.

    Squared distances add up over orthogonal axes, and along each axis the best plan moves the values as they are sorted
    and no other plan costs less. So the sum over the axes of these costs is a bound, the tighter the less the axes have
    to do with each other: they are the principal axes of both sets together.
    """
    x, y = _numpy(a), _numpy(b)
    pooled = np.concatenate([x, y])
    pooled -= pooled.mean(0)
    axes = np.linalg.eigh(pooled.T @ pooled)[1]
    x, y = np.sort(x @ axes, axis=0), np.sort(y @ axes, axis=0)
    # In units of 1 / (n_a n_b), both sorted sets are steps: where either steps on, another pair is moved.
    steps = np.union1d(np.arange(len(x) + 1) * len(y), np.arange(len(y) + 1) * len(x))
    moved = x[steps[:-1] // len(y)] - y[steps[:-1] // len(x)]
    return float((np.diff(steps) @ moved**2).sum() / (len(x) * len(y)))


def jensen_shannon(a: Tensor, b: Tensor) -> float:
    """The Jensen–Shannon divergence in nats, 0 to ln 2, on the first two principal components of features (n, C).

    The paper says no more than that. Our choices: the components are those of both sets pooled, each set centred by the
    pooled mean; the two densities are histograms on the same 10 × 10 bins over the pooled range, without smoothing.
    """
    pooled = np.concatenate([_numpy(a), _numpy(b)])
    centred = pooled - pooled.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    projected = np.zeros((len(pooled), 2))
    projected[:, : len(axes)] = centred @ axes.T
    span = [(low, high) for low, high in zip(projected.min(0), projected.max(0), strict=True)]
    p, q = (
        np.histogram2d(points[:, 0], points[:, 1], bins=HISTOGRAM_BINS, range=span)[0].ravel() / len(points)
        for points in (projected[: len(a)], projected[len(a) :])
    )
    middle = (p + q) / 2
    return float((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2)


def hungarian(a: Tensor, b: Tensor) -> float:
    """1 − the mean cosine similarity of matched cluster centres of features (n_a, C) and (n_b, C): 0 to 2.

    Both sets are clustered into the same number of clusters, as parts are, and the centres matched one to one so that
    the sum of similarities is greatest. The paper is silent on the number: ours is 4, its default number of parts,
    or the size of the smaller set.
    """
    n = min(MATCHED_CLUSTERS, len(a), len(b))
    similarity = _numpy(part_features(a, n)) @ _numpy(part_features(b, n)).T
    return float(1.0 - similarity[linear_sum_assignment(similarity, maximize=True)].mean())


DISTANCES: dict[DistanceName, Callable[[Tensor, Tensor], float]] = {
    "wasserstein": wasserstein,
    "jensen-shannon": jensen_shannon,
    "hungarian": hungarian,
}


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float64)
