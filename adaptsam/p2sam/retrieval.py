"""Retrieving the number of parts: the candidate whose target features are distributed most like the prior's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adaptsam.p2sam.distances import DISTANCES, wasserstein
from adaptsam.p2sam.parts import Prior
from adaptsam.p2sam.settings import Settings
from adaptsam.sam import Embedding

WORST_DISTANCE = 1e6
EMPTY_DISTANCE = WORST_DISTANCE - 1
"""The distance of a mask without a patch: worse than any other, better than nothing (the reference's number)."""


def candidate_distances(prior: Prior, target: Embedding, masks: Sequence[Tensor], settings: Settings) -> list[float]:
    """The distance of each candidate's F_T^f from the prior's F_R^f (Section 3.2).

    ``masks`` are low-resolution logits (4h, 4w), brought to the grid bilinearly; foreground patches are above zero.
    Candidates with the same patches share one computation, unless their logits weigh them.
    """
    known: dict[bytes, float] = {}
    distances = []
    for logits in masks:
        on_grid = F.interpolate(logits[None, None], size=target.features.shape[-2:], mode="bilinear")[0, 0]
        key = ((on_grid if settings.weighted else on_grid > 0).cpu().numpy()).tobytes()
        if key not in known:
            known[key] = _distance(prior, target, on_grid, settings)
        distances.append(known[key])
    return distances


def retrieve(distances: Sequence[float]) -> int:
    """The index of the smallest distance, the first on ties."""
    return min(range(len(distances)), key=distances.__getitem__)


def _distance(prior: Prior, target: Embedding, on_grid: Tensor, settings: Settings) -> float:
    """From grid logits (h, w) to the distance between raw features of the prior and of the target under the mask."""
    selected = on_grid.to(target.features.device) > 0
    if not selected.any():
        return EMPTY_DISTANCE
    features = target.features.permute(1, 2, 0)[selected]
    if settings.weighted:
        return wasserstein(prior.foreground, features, torch.sigmoid(on_grid[selected.to(on_grid.device)]))
    return DISTANCES[settings.distance](prior.foreground, features.cpu())
