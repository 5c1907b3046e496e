"""First centres of k-means as the reference's pinned scikit-learn 1.0.2 draws them; later versions draw others.

k-means++ (Arthur and Vassilvitskii, 2007) with the best of a few candidates for each centre. Up to scikit-learn 1.2 the
first centre came from ``randint``, since 1.3 it comes from ``choice``: another number of draws, so that all that
follows in the stream differs. On real features that changes half of the partitions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class KMeansSeeds:
    """The ``init`` of scikit-learn's ``KMeans`` for a number of restarts; its ``n_init`` must be the same.

    What is drawn does not depend on the features, so that the seeds of all restarts are found together, in one product
    of matrices for each centre.

    Args:
        restarts: how often k-means is begun anew.

    Example:
        >>> KMeans(4, init=KMeansSeeds(10), n_init=10, random_state=0, algorithm="elkan").fit_predict(features)
    """

    def __init__(self, restarts: int = 10) -> None:
        self.restarts = restarts
        self._waiting: list[NDArray[np.floating]] = []

    def __call__(
        self, features: NDArray[np.floating], n: int, random_state: np.random.RandomState
    ) -> NDArray[np.floating]:
        """The next restart's centres (n, C), rows of the features (m, C)."""
        if not self._waiting:
            indices = seed_indices(features, n, self.restarts, random_state)
            self._waiting = [features[row] for row in indices]
        return self._waiting.pop(0)


def seed_indices(
    features: NDArray[np.floating], n: int, restarts: int, random_state: np.random.RandomState
) -> NDArray[np.int64]:
    """Rows of features (m, C) that each restart begins with: (restarts, n)."""
    count, candidates = len(features), 2 + int(np.log(n))
    first = np.empty(restarts, np.int64)
    drawn = np.empty((restarts, n - 1, candidates))
    for restart in range(restarts):
        first[restart] = random_state.randint(count)
        drawn[restart] = random_state.random_sample((n - 1, candidates))
    wide = features.astype(np.float64)
    squares = np.einsum("ij,ij->i", wide, wide)
    chosen = [first]
    nearest = _squared_distances(wide, squares, first, features.dtype)
    for step in range(n - 1):
        tried = np.stack([_likely(row, values) for row, values in zip(nearest, drawn[:, step], strict=True)])
        distances = _squared_distances(wide, squares, tried.ravel(), features.dtype).reshape(restarts, candidates, -1)
        np.minimum(distances, nearest[:, None], out=distances)
        best = distances.sum(-1).argmin(-1)
        every = np.arange(restarts)
        nearest = distances[every, best]
        chosen.append(tried[every, best])
    return np.stack(chosen, axis=1)


def _likely(nearest: NDArray[np.floating], drawn: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows drawn in proportion to their squared distances (m,) from the centres so far."""
    reached = np.cumsum(nearest, dtype=np.float64)
    return np.minimum(np.searchsorted(reached, drawn * nearest.sum()), len(nearest) - 1)


def _squared_distances(
    wide: NDArray[np.float64], squares: NDArray[np.float64], rows: NDArray[np.int64], dtype: np.dtype
) -> NDArray[np.floating]:
    """Squared distances (len(rows), m) in float64, then rounded to the features' type, as scikit-learn does."""
    distances = squares[rows, None] - 2 * wide[rows] @ wide.T + squares
    np.maximum(distances, 0, out=distances)
    distances[np.arange(len(rows)), rows] = 0
    return distances.astype(dtype)
