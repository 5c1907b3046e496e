"""Points, distances and masks that the authors' own code gave on drawn features, beside ours.

``authors_values.npz`` was made by running Zch0414/p2sam (``p2sam_medical``, ``p2sam_perseg``; 1 to 5 parts) and
ZrrSkywalker/Personalize-SAM (``persam.py``, ``persam_f.py``; masks of value 128, as PerSeg has them) on the features
and the decoder of :mod:`drawn_pair`, with scikit-learn 1.2.2 set as 1.0.2 was (ten restarts, Elkan). No line of ours
took part.

Points are equal wherever a map has one pixel within :data:`peak_ties.ULPS` of its peak. Where it has several, another
processor may choose another one of them; what follows is compared from the authors' points on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_pair import drawn_job, drawn_model
from peak_ties import exact_maps, near_peaks, paired_by_part

from adaptsam.p2sam import Job, P2SamSettings, pair_segmentation, segment
from adaptsam.p2sam.prompt_selection import Prompt, make_prompts

VALUES = np.load(Path(__file__).with_name("authors_values.npz"))
SETTINGS = {
    "medical": P2SamSettings(positives=(1, 5), negatives=(1, 5)),
    "natural": P2SamSettings(domain="natural", positives=(1, 5)),
}
CASES = [name.removesuffix("_distances") for name in VALUES if name.endswith("_distances")]


@pytest.fixture(scope="module")
def model():
    return drawn_model()


def pixels(points) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in points]


def near_prompt(model, job: Job, prompt: Prompt, domain: str) -> tuple[list, list]:
    """Of each positive and each negative point, the pixels that rounding decides among."""
    maps = exact_maps(model, job.target, job.prior.foreground_parts(prompt.n_positive))
    if domain == "natural":
        return near_peaks(maps), near_peaks(-maps.mean(0, keepdim=True))
    negative = exact_maps(model, job.target, job.prior.background_parts(prompt.n_negative))
    return near_peaks(maps), near_peaks(negative)


def authors_prompts(model, case: str, job: Job, prompts: list[Prompt]) -> list[Prompt]:
    """Our prompts with the authors' points, once each point is found to be theirs or a tie with it."""
    points, same = iter(VALUES[f"{case}_points"]), []
    for prompt in prompts:
        ours = pixels(prompt.points)
        theirs = pixels(next(points) for _ in ours)
        split = prompt.n_positive
        for part, near in zip(
            (slice(split), slice(split, None)), near_prompt(model, job, prompt, case[:7]), strict=True
        ):
            assert paired_by_part(ours[part], theirs[part], near), (case, ours, theirs)
        same.append(replace(prompt, points=np.array(theirs, float)))
    assert next(points, None) is None
    return same


@pytest.mark.parametrize("case", CASES)
def test_every_candidate_and_the_winner_are_the_authors(model, case, monkeypatch):
    job, settings = drawn_job(model, int(case[7:])), SETTINGS[case[:7]]
    prompts = authors_prompts(model, case, job, make_prompts(model, job.prior, job.target, None, settings))
    monkeypatch.setattr(pair_segmentation, "make_prompts", lambda *_: prompts)
    [result] = segment(model, [job], settings)
    distances = VALUES[f"{case}_distances"]
    np.testing.assert_allclose([candidate.distance for candidate in result.candidates], distances, rtol=1e-5)
    assert result.winner == distances.argmin()
    assert (result.mask != mask_of(case, result.mask.shape)).sum() <= 1


def test_most_points_are_decided_beyond_rounding(model):
    """So that the comparison above is one of equality, but for flat rims: 15 of 100 points, of 2 to 9 pixels."""
    near = []
    for case in CASES:
        job = drawn_job(model, int(case[7:]))
        prompts = make_prompts(model, job.prior, job.target, None, SETTINGS[case[:7]])
        near += [part for prompt in prompts for side in near_prompt(model, job, prompt, case[:7]) for part in side]
    assert np.mean([len(part) == 1 for part in near]) > 0.8
    assert max(len(part) for part in near) < 10


def mask_of(case: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(VALUES[f"{case}_mask"])[: np.prod(shape)].reshape(shape).astype(bool)
