"""Scores of an agent on images with a known truth: its return, and the overlap after each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptsam.alignsam.agent_inference import Prompted


@dataclass(frozen=True)
class Scores:
    """Means over images.

    Attributes:
        mean_return: the sum of the rewards of the chosen points, without the first pair, -T to T.
        label_accuracy: the share of chosen points that got their true label.
        iou: after the first pair (if there was one) and after each step, at the image's resolution.
    """

    mean_return: float
    label_accuracy: float
    iou: tuple[float, ...]


def score(results: Sequence[Prompted], truths: Sequence[NDArray[np.bool_]]) -> Scores:
    """Compare what an agent did with truths (H, W).

    Results must hold their step masks; an image on which the agent stopped early keeps its last mask.
    """
    curves, hits, right = [], [], []
    for result, truth in zip(results, truths, strict=True):
        if result.step_masks is None:
            raise ValueError("Prompt with keep_steps=True to score every step.")
        curves.append([overlap(mask, truth) for mask in result.step_masks])
        # A little more than half a pixel, since a centre between two pixels may come as 11.4999…
        x, y = np.floor(result.points[result.first :] + 0.5 + 1e-6).astype(int).T
        on_target = truth[y, x]
        hits.append(np.where(on_target, 1, -1).sum())
        right.append(np.mean(on_target == (result.labels[result.first :] > 0)))
    longest = max(len(curve) for curve in curves)
    padded = [curve + curve[-1:] * (longest - len(curve)) for curve in curves]
    return Scores(float(np.mean(hits)), float(np.mean(right)), tuple(np.mean(padded, axis=0).tolist()))


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks (H, W); 1 where both are empty."""
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0
