"""k-means against scikit-learn's, which the published clusters are."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from adaptsam.p2sam.clusters import cluster


def published(features, n):
    return KMeans(n_clusters=n, random_state=0, n_init=10).fit_predict(features)


def blurred(rng, count, channels):
    """Features that change slowly from one to the next, far from the origin, as an encoder's do."""
    return (5 + 0.1 * rng.normal(size=(count, channels)).cumsum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("count", [5, 61, 800])
def test_every_feature_is_in_the_cluster_that_scikit_learn_puts_it_in(n, count):
    rng = np.random.default_rng(count)
    for features in (blurred(rng, count, 64), rng.normal(size=(count, 64)).astype(np.float32)):
        assert np.array_equal(cluster(features, n), published(features, n))


def test_features_that_come_many_times_are_clustered_as_scikit_learn_does_it():
    rng = np.random.default_rng(1)
    features = blurred(rng, 4, 16)[rng.integers(0, 4, 100)]
    for n in (2, 3, 4):
        assert np.array_equal(cluster(features, n), published(features, n))


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_fewer_distinct_features_than_clusters_leave_some_clusters_empty():
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 5, axis=0)
    labels = cluster(features, 3)
    assert np.array_equal(labels, published(features, 3))
    assert len(np.unique(labels)) == 2


def test_the_features_stay_as_they_were():
    features = blurred(np.random.default_rng(2), 30, 8)
    before = features.copy()
    cluster(features, 3)
    assert np.array_equal(features, before)
