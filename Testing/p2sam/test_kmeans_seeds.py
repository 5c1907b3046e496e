"""Parts as scikit-learn 1.2.2 clusters them, whose k-means++ draws as the reference's 1.0.2 does: values made there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adaptsam.p2sam.kmeans_seeds import KMeansSeeds, seed_indices
from adaptsam.p2sam.part_features import part_labels

LABELS = json.loads(Path(__file__).with_name("kmeans_labels.json").read_text(encoding="utf-8"))
SHARED = Path(__file__).parents[2].parent / "shared/parity/kmeans.npz"


def drawn_features(seed: int, count: int) -> np.ndarray:
    """Float32 (count, 24) in sixteenths, so that every machine has the same: some blobs, and more noise."""
    rng = np.random.default_rng([seed, count])
    blobs = rng.integers(-40, 40, (6, 24))
    return ((blobs[rng.integers(6, size=count)] + rng.integers(-48, 48, (count, 24))) / 16).astype(np.float32)


def numbered(labels) -> list[int]:
    """The same partition, its parts in the order of their first members."""
    order: dict[int, int] = {}
    return [order.setdefault(int(label), len(order)) for label in labels]


@pytest.mark.parametrize("key", LABELS)
def test_parts_are_those_of_the_reference_s_scikit_learn(key):
    seed, count, n = map(int, key.split())
    assert numbered(part_labels(drawn_features(seed, count), n)) == numbered(LABELS[key])


@pytest.mark.skipif(not SHARED.is_file(), reason=f"{SHARED} is not on this machine")
def test_parts_of_real_features_are_those_of_the_reference_s_scikit_learn():
    values = np.load(SHARED)
    sets = [name for name in values if "__" not in name]
    assert len(sets) == 16
    for name in sets:
        for n in range(2, 6):
            assert numbered(part_labels(values[name], n)) == numbered(values[f"{name}__labels{n}"]), (name, n)


def test_each_restart_begins_with_rows_of_the_features_that_the_stream_decides_alone():
    features = drawn_features(0, 50)
    rows = seed_indices(features, 4, 10, np.random.RandomState(0))
    assert rows.shape == (10, 4)
    assert all(len(set(row)) == 4 for row in rows.tolist())
    assert rows[0, 0] == np.random.RandomState(0).randint(50)
    init, stream = KMeansSeeds(10), np.random.RandomState(0)
    given = [init(features, 4, stream) for _ in range(10)]
    np.testing.assert_array_equal(given, features[rows])
    follows = seed_indices(features, 4, 10, stream)
    np.testing.assert_array_equal(init(features, 4, np.random.RandomState(0)), features[rows[0]])
    assert follows.tolist() != rows.tolist()


def test_features_of_one_value_are_seeded_too():
    assert seed_indices(np.ones((5, 3), np.float32), 2, 10, np.random.RandomState(0)).shape == (10, 2)
