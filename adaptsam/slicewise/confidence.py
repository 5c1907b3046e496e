"""Confidence of a slice, 0 to 1, so that a person looks at the worst first.

For a slice that holds the structure, the weighted geometric mean of

    1 / (1 + (distance / limit)²)                                       1 for the prior itself, 1/2 at the limit
    the predicted IoU, within 0 to 1
    min(1, Dice with the neighbouring slices' masks / the prior's usual Dice between neighbours)
    min(1, smaller / larger area of the slice and its neighbours' mean, over the prior's usual ratio)

With fusion it is the Dice that the fused log-odds promise, times the overlap and area ratio where these are less than
``jump`` of the usual ones. Both times ``touching_factor`` if the mask runs into the location limit; a slice that was
only bridged stays below ``bridged_limit``. For a rejected slice the value says how sure its emptiness is: 1 − limit /
distance, and ``unseen`` where the method found nothing to measure. 0 for one that was accepted and then removed by the
clean-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from adaptsam.slicewise.volume_settings import ConfidenceSettings


@dataclass(frozen=True)
class Continuity:
    """Likeness of neighbouring slices: ``dice`` of their masks and ``area`` ratio, smaller over larger."""

    dice: float = 1.0
    area: float = 1.0


def usual_continuity(slices: Sequence[np.ndarray] | np.ndarray) -> Continuity:
    """Medians over neighbouring slices (H, W) that both hold the structure; 1 where there are none."""
    pairs = [continuity(a, [b]) for a, b in pairwise(slices) if a.any() and b.any()]
    if not pairs:
        return Continuity()
    return Continuity(float(np.median([p.dice for p in pairs])), float(np.median([p.area for p in pairs])))


def continuity(mask: np.ndarray, neighbours: list[np.ndarray]) -> Continuity:
    """One slice (H, W) against its non-empty neighbours: mean Dice, and its area against their mean area."""
    there = [neighbour for neighbour in neighbours if neighbour.any()]
    area = int(mask.sum())
    if not there or area == 0:
        return Continuity(0.0, 0.0)
    areas = [int(neighbour.sum()) for neighbour in there]
    dice = [2 * int((mask & other).sum()) / (area + size) for other, size in zip(there, areas, strict=True)]
    mean = float(np.mean(areas))
    return Continuity(float(np.mean(dice)), min(area, mean) / max(area, mean))


def accepted_confidence(
    distance: float,
    limit: float,
    predicted_iou: float,
    found: Continuity | None,
    usual: Continuity,
    settings: ConfidenceSettings,
    touches: bool = False,
) -> float:
    """The confidence of a slice that holds the structure; ``found`` is None where it has no neighbour."""
    ratio = distance / limit if np.isfinite(limit) and limit > 0 else 0.0
    terms = [
        (1.0 / (1.0 + ratio**2), settings.distance_weight),
        (min(max(predicted_iou, 0.0), 1.0), settings.iou_weight),
    ]
    if found is not None:
        terms.append((min(1.0, found.dice / max(usual.dice, 1e-6)), settings.neighbour_weight))
        terms.append((min(1.0, found.area / max(usual.area, 1e-6)), settings.area_weight))
    total = sum(weight for _, weight in terms)
    value = float(np.exp(sum(w * np.log(max(term, 1e-6)) for term, w in terms) / total)) if total > 0 else 1.0
    return value * (settings.touching_factor if touches else 1.0)


def jump_factor(found: Continuity, usual: Continuity, settings: ConfidenceSettings) -> float:
    """Below 1 where a slice overlaps its neighbours, or resembles their area, less than ``jump`` of what is usual."""
    alike = (found.dice / max(usual.dice, 1e-6), found.area / max(usual.area, 1e-6))
    return float(np.prod([min(1.0, one / settings.jump) for one in alike]))


def rejected_confidence(distance: float, limit: float, settings: ConfidenceSettings) -> float:
    """Confidence that a slice does not hold the structure."""
    if not np.isfinite(distance) or not np.isfinite(limit):
        return settings.unseen
    return float(min(1.0, max(0.0, 1.0 - limit / distance))) if distance > 0 else 0.0
