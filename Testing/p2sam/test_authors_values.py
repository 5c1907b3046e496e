"""Points, distances and masks that the authors' own code gave on drawn features, beside ours.

``authors_values.npz`` was made by running Zch0414/p2sam (``p2sam_medical``, ``p2sam_perseg``; 1 to 5 parts) and
ZrrSkywalker/Personalize-SAM (``persam.py``, ``persam_f.py``; masks of value 128, as PerSeg has them) on the features
and the decoder of :mod:`drawn_pair`, with scikit-learn 1.2.2 set as 1.0.2 was (ten restarts, Elkan). No line of ours
took part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_pair import drawn_job, drawn_model

from adaptsam.p2sam import Settings, segment

VALUES = np.load(Path(__file__).with_name("authors_values.npz"))
SETTINGS = {
    "medical": Settings(positives=(1, 5), negatives=(1, 5)),
    "natural": Settings(domain="natural", positives=(1, 5)),
}
CASES = [name.removesuffix("_distances") for name in VALUES if name.endswith("_distances")]


@pytest.fixture(scope="module")
def model():
    return drawn_model()


def as_set(points) -> list[tuple[int, int]]:
    """Parts may be numbered otherwise."""
    return sorted((int(x), int(y)) for x, y in points)


@pytest.mark.parametrize("case", CASES)
def test_every_candidate_and_the_winner_are_the_authors(model, case):
    domain, seed = case[:7], int(case[7:])
    job = drawn_job(model, seed)
    [result] = segment(model, [job], SETTINGS[domain])
    distances, points = VALUES[f"{case}_distances"], iter(VALUES[f"{case}_points"])
    for candidate in result.candidates:
        ours = candidate.points[: candidate.n_positive], candidate.points[candidate.n_positive :]
        for part in ours:
            assert as_set(part) == as_set(next(points) for _ in part)
    assert next(points, None) is None
    np.testing.assert_allclose([candidate.distance for candidate in result.candidates], distances, rtol=1e-5)
    assert result.winner == distances.argmin()
    assert (result.mask != mask_of(case, result.mask.shape)).sum() <= 1


def mask_of(case: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(VALUES[f"{case}_mask"])[: np.prod(shape)].reshape(shape).astype(bool)
