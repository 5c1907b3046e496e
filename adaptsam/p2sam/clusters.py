"""k-means as scikit-learn's ``KMeans(n, random_state=0, n_init=10)`` runs it, with all restarts side by side.

The published clusters are scikit-learn's, so starts are drawn from the same numbers in the same order, and steps, ends
and the choice among restarts follow the same rules. But a step of all restarts is one matrix product here, where
scikit-learn goes through the features anew for each.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

#: The reference's, and those that scikit-learn has by default.
RESTARTS, SEED = 10, 0
STEPS, TOLERANCE = 300, 1e-4


def cluster(features: np.ndarray, n: int) -> np.ndarray:
    """Which of n clusters, 0 to n − 1, each of the features (m, C) float32 belongs to, int (m,)."""
    centred = features - features.mean(axis=0)
    found = _converged(centred, _starts(centred, n), float(np.var(features, axis=0).mean()) * TOLERANCE)
    if found is None:
        # A cluster ran empty, as it does with equal features: scikit-learn has rules for that.
        return np.asarray(KMeans(n, random_state=SEED, n_init=RESTARTS).fit_predict(features))
    labels, centres = found
    best, least = labels[0], _inertia(centred, labels[0], centres[0])
    for other, own in zip(labels[1:], centres[1:], strict=True):
        if not _alike(other, best, n) and (inertia := _inertia(centred, other, own)) < least:
            best, least = other, inertia
    return best


def _starts(x: np.ndarray, n: int) -> np.ndarray:
    """Which ones of x (m, C) each restart begins with, (r, n, C): greedy k-means++ (Arthur, Vassilvitskii, 2007)."""
    numbers, each = np.random.RandomState(SEED), np.arange(RESTARTS)
    trials, weights = 2 + int(np.log(n)), np.ones(len(x), x.dtype)
    firsts, shares = [], []
    for _ in each:
        firsts.append(numbers.choice(len(x), p=weights / len(x)))
        shares.append(numbers.uniform(size=(n - 1, trials)))
    double = x.astype(np.float64)
    chosen = np.array(firsts)[:, None]
    nearest = _squared_distances(double, chosen[:, 0])
    for c in range(n - 1):
        tried = np.stack([_drawn(one, own[c]) for one, own in zip(nearest, shares, strict=True)])
        reached = _squared_distances(double, tried.ravel()).reshape(RESTARTS, trials, -1)
        np.minimum(reached, nearest[:, None], out=reached)
        best = [int(np.argmin(one @ weights[:, None])) for one in reached]
        chosen, nearest = np.column_stack([chosen, tried[each, best]]), reached[each, best]
    return x[chosen]


def _squared_distances(double: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From some rows of x (m, C) float64 to all, float32: with scikit-learn's digits, which decide what is drawn."""
    norms = np.einsum("ij,ij->i", double, double)
    squared = (-2 * double[rows]) @ double.T
    squared += norms[rows, None]
    squared += norms
    return np.maximum(squared.astype(np.float32), 0)


def _drawn(nearest: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Features drawn by numbers from 0 to 1, the likelier the farther they lie from the ``nearest`` chosen one."""
    total = nearest[None] @ np.ones_like(nearest)
    return np.minimum(np.searchsorted(np.cumsum(nearest), shares * total), len(nearest) - 1)


def _converged(x: np.ndarray, centres: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Lloyd's steps from centres (r, n, C): the labels (r, m) and centres at their end; None if a cluster ran empty."""
    labels = np.full((len(centres), len(x)), -1)
    running = np.arange(len(centres))
    for _ in range(STEPS):
        new = _nearest(x, centres[running])
        means = _means(x, new, centres.shape[1])
        if means is None:
            return None
        settled = (new == labels[running]).all(axis=1)
        close = ~settled & (((means - centres[running]) ** 2).sum(axis=(1, 2)) <= tolerance)
        labels[running], centres[running] = new, means
        labels[running[close]] = _nearest(x, means[close])
        running = running[~settled & ~close]
        if not len(running):
            return labels, centres
    labels[running] = _nearest(x, centres[running])
    return labels, centres


def _nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Which of its centres (r, n, C) each of x (m, C) is nearest to, the first on ties, (r, m)."""
    flat = centres.reshape(-1, centres.shape[-1])
    apart = (-2 * flat) @ x.T
    apart += np.einsum("ij,ij->i", flat, flat)[:, None]
    return apart.reshape(*centres.shape[:2], len(x)).argmin(axis=1)


def _means(x: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray | None:
    """The means (r, n, C) of the clusters that labels (r, m) part x (m, C) into; None if one is empty."""
    members = (labels[:, None] == np.arange(n)[:, None]).astype(x.dtype)
    sizes = members.sum(axis=2, keepdims=True)
    if not sizes.all():
        return None
    return (members.reshape(-1, len(x)) @ x).reshape(len(labels), n, -1) / sizes


def _inertia(x: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> float:
    return float(((x - centres[labels]) ** 2).sum(dtype=np.float64))


def _alike(a: np.ndarray, b: np.ndarray, n: int) -> bool:
    """Whether two labellings part the features alike, whatever number a cluster has in each."""
    return len(np.unique(a * n + b)) == n
