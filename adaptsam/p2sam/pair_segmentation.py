"""P²SAM on image pairs: from priors and targets to masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.p2sam.cascade import Refined, cascade
from adaptsam.p2sam.p2sam_settings import PAPER, P2SamSettings
from adaptsam.p2sam.part_features import Prior
from adaptsam.p2sam.prompt_selection import Prompt, make_prompts
from adaptsam.p2sam.retrieval import candidate_distances, retrieve
from adaptsam.progress import Tick, ticked, unasked
from adaptsam.sam import Embedding, SamModel


@dataclass(frozen=True, eq=False)
class Job:
    """One structure to find on one target; positive points may lie only in ``region`` bool (H, W), if there is one.

    ``hint``, logits (4h, 4w) on the decoder's grid, is a mask to begin the cascade with: an option of ours.
    """

    prior: Prior
    target: Embedding
    region: np.ndarray | None = field(default=None, repr=False)
    hint: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One number of parts and what came of it.

    ``points`` (n, 2) are x, y in original pixels and ``labels`` (n,) 1 or 0; ``logits`` (4h, 4w) float32 are at the
    decoder's resolution; ``iou`` is the decoder's own estimate.
    """

    points: np.ndarray
    labels: np.ndarray
    n_positive: int
    n_negative: int
    distance: float
    iou: float
    logits: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Result:
    """The retrieved candidate with its ``logits`` (H, W) float32 at the target's original resolution.

    ``distance`` is the winner's (:data:`~adaptsam.p2sam.retrieval.EMPTY_DISTANCE` if even the best mask is empty), and
    ``candidates`` are all that were tried, in their order, the winner at ``winner``.
    """

    logits: np.ndarray = field(repr=False)
    candidates: tuple[Candidate, ...]
    winner: int

    @property
    def mask(self) -> np.ndarray:
        """The segmentation, bool (H, W)."""
        return self.logits > 0

    @property
    def points(self) -> np.ndarray:
        """The winner's prompt points (n, 2): x, y in original pixels, positive ones first."""
        return self.candidates[self.winner].points

    @property
    def labels(self) -> np.ndarray:
        """The winner's point labels (n,): 1 on the structure, 0 off it."""
        return self.candidates[self.winner].labels

    @property
    def n_positive(self) -> int:
        return self.candidates[self.winner].n_positive

    @property
    def n_negative(self) -> int:
        return self.candidates[self.winner].n_negative

    @property
    def distance(self) -> float:
        return self.candidates[self.winner].distance

    @property
    def iou(self) -> float:
        """The decoder's own estimate of the winner's quality."""
        return self.candidates[self.winner].iou


def segment(
    model: SamModel, jobs: Sequence[Job], settings: P2SamSettings = PAPER, tick: Tick = unasked
) -> list[Result]:
    """P²SAM (Section 3.2) for several pairs at once, one result a job.

    Every decoder pass takes all candidates of all jobs together. Only the winners are kept at full resolution.
    ``tick`` is called many times a second, if the model is small, and may raise to stop.
    Raises :class:`InputError` if a prior has no foreground patch, or a region is empty or not of its target's size.
    """
    if not jobs:
        return []
    for job in jobs:
        if not job.prior.usable:
            raise InputError(
                "The prior's mask covers no patch of the model's grid; choose a neighbouring slice or a magnified view."
            )
    with model.threads():
        return _segmented(model, jobs, settings, tick)


def _segmented(model: SamModel, jobs: Sequence[Job], settings: P2SamSettings, tick: Tick) -> list[Result]:
    prompts = [make_prompts(model, job.prior, job.target, job.region, settings) for job in ticked(jobs, tick)]
    targets = [job.target for job, own in zip(jobs, prompts, strict=True) for _ in own]
    hints = [job.hint for job, own in zip(jobs, prompts, strict=True) for _ in own]
    refined = cascade(model, targets, [prompt for own in prompts for prompt in own], settings.domain, hints, tick)
    bounds = pairwise(accumulate((len(own) for own in prompts), initial=0))
    return [
        _result(model, job, own, refined[start:stop], settings, tick)
        for job, own, (start, stop) in zip(jobs, prompts, bounds, strict=True)
    ]


def segment_points(
    model: SamModel, job: Job, points: np.ndarray, labels: np.ndarray, settings: P2SamSettings = PAPER
) -> Result:
    """One pair whose points (n, 2), x and y in the target's pixels with labels (n,) 1 or 0, a person has given.

    The three passes and the distance are :func:`segment`'s; parts, their prompts and the choice among them fall away.
    Raises :class:`InputError` without a point, or if the prior has no foreground patch.
    """
    points, labels = np.asarray(points, float).reshape(-1, 2), np.asarray(labels, int).ravel()
    if not len(points) or len(points) != len(labels):
        raise InputError(f"A slice needs at least one point, each with a label; there are {len(points)} points.")
    if not job.prior.usable:
        raise InputError("The prior's mask covers no patch of the model's grid; choose a neighbouring slice.")
    order = np.argsort(-labels, kind="stable")
    positive = int((labels == 1).sum())
    prompt = Prompt(points[order], labels[order], positive, len(labels) - positive)
    refined = cascade(model, [job.target], [prompt], settings.domain, [job.hint])
    return _result(model, job, [prompt], refined, settings)


def _result(
    model: SamModel,
    job: Job,
    prompts: Sequence[Prompt],
    masks: Sequence[Refined],
    settings: P2SamSettings,
    tick: Tick = unasked,
) -> Result:
    distances = candidate_distances(job.prior, job.target, [mask.logits for mask in masks], settings, tick)
    winner = retrieve(distances)
    candidates = tuple(
        Candidate(
            prompt.points,
            prompt.labels,
            prompt.n_positive,
            prompt.n_negative,
            distance,
            mask.iou,
            mask.logits.float().cpu().numpy(),
        )
        for prompt, mask, distance in zip(prompts, masks, distances, strict=True)
    )
    logits = model.upscale(masks[winner].logits, job.target)
    return Result(logits.float().cpu().numpy(), candidates, winner)
