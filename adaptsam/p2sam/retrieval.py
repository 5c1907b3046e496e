"""Retrieving the number of parts: the candidate whose target features are distributed most like the prior's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adaptsam.p2sam.feature_distances import DISTANCES, wasserstein, wasserstein_bound
from adaptsam.p2sam.p2sam_settings import P2SamSettings
from adaptsam.p2sam.part_features import Prior
from adaptsam.progress import Tick, ticked, unasked
from adaptsam.sam import Embedding

WORST_DISTANCE = 1e6
EMPTY_DISTANCE = WORST_DISTANCE - 1
"""The distance of a mask without a patch: worse than any other, better than nothing (the reference's number)."""

WORTH_A_BOUND = 400_000
"""Pairs of features from which on a bound takes less time than the transport."""


def candidate_distances(
    prior: Prior, target: Embedding, masks: Sequence[Tensor], settings: P2SamSettings, tick: Tick = unasked
) -> list[float]:
    """The distance of each candidate's F_T^f from the prior's F_R^f (Section 3.2).

    ``masks`` are low-resolution logits (4h, 4w), brought to the grid bilinearly; foreground patches are above zero.
    Candidates with the same patches share one computation, unless their logits weigh them. The smallest distance is
    exact. Where sets are so large that the transport takes long, a candidate that a bound keeps from winning
    (:func:`~adaptsam.p2sam.feature_distances.wasserstein_bound`) has that bound, which is greater than the
    smallest distance. ``tick`` is called before each transport.
    """
    grids: dict[bytes, Tensor] = {}
    keys = []
    for logits in masks:
        on_grid = F.interpolate(logits[None, None], size=target.features.shape[-2:], mode="bilinear")[0, 0]
        keys.append(((on_grid if settings.weighted else on_grid > 0).cpu().numpy()).tobytes())
        grids.setdefault(keys[-1], on_grid)
    bounds = {key: _bound(prior, target, on_grid, settings) for key, on_grid in grids.items()}
    known: dict[bytes, float] = {}
    smallest = float("inf")
    for key in ticked(sorted(grids, key=bounds.__getitem__), tick):
        # The likeliest winner first. Rounding must not keep a candidate from a tie.
        if bounds[key] > smallest * (1 + 1e-6):
            known[key] = bounds[key]
        else:
            known[key] = _distance(prior, target, grids[key], settings)
            smallest = min(smallest, known[key])
    return [known[key] for key in keys]


def retrieve(distances: Sequence[float]) -> int:
    """The index of the smallest distance, the first on ties."""
    return min(range(len(distances)), key=distances.__getitem__)


def _bound(prior: Prior, target: Embedding, on_grid: Tensor, settings: P2SamSettings) -> float:
    """Lower bound of a candidate's distance; 0 where computing one is not worth the time."""
    selected = on_grid.to(target.features.device) > 0
    plain = settings.distance == "wasserstein" and not settings.weighted
    if not plain or len(prior.foreground) * int(selected.sum()) < WORTH_A_BOUND:
        return 0.0
    return wasserstein_bound(prior.foreground, target.features.permute(1, 2, 0)[selected].cpu())


def _distance(prior: Prior, target: Embedding, on_grid: Tensor, settings: P2SamSettings) -> float:
    """Distance between raw features of the prior and of the target under the mask of grid logits (h, w)."""
    selected = on_grid.to(target.features.device) > 0
    if not selected.any():
        return EMPTY_DISTANCE
    features = target.features.permute(1, 2, 0)[selected]
    if settings.weighted:
        return wasserstein(prior.foreground, features, torch.sigmoid(on_grid[selected.to(on_grid.device)]))
    return DISTANCES[settings.distance](prior.foreground, features.cpu())
