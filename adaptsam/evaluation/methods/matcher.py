"""Matcher (Liu et al., 2024) on SAM's own features, with its settings for FSS-1000, as P²SAM's tables use it.

Patches of the outlined structure are matched to patches of the image, forth and back; what comes back outside the
structure is dropped. The matched places are clustered, every choice of 4 to 6 centres prompts SAM once, masks are
scored by the earth mover's distance of their features and by how many matched places they hold, and the best are
joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import ot
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from adaptsam.evaluation.methods.evaluated_method import Pair, Workbench
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod
from adaptsam.sam import DecodeRequest, Embedding, SamModel
from adaptsam.sam.cpu_threads import one_thread

#: Prompts that are decoded together, so that masks at the image's own size stay few.
_PROMPTS_AT_ONCE = 32
_KEPT_MATCHES = 40


@dataclass(frozen=True)
class MatcherSettings:
    """The published settings for FSS-1000.

    Attributes:
        centres: into how many the matched places are clustered.
        sample_range: how many of them a prompt has, first and last.
        alpha, beta, exponent: the score is α · (1 − EMD) + β · purity · coverage^exponent.
        merged: how many masks are joined at most.
        least_share: of the best score, that a joined mask must exceed.
    """

    centres: int = 8
    sample_range: tuple[int, int] = (4, 6)
    alpha: float = 0.8
    beta: float = 0.2
    exponent: float = 1.0
    merged: int = 10
    least_share: float = 0.7


@dataclass(frozen=True, eq=False)
class Patches:
    """An image's grid: unit features (N, C) of the patches that show it, and their indices (N,) on the whole grid."""

    features: Tensor
    index: Tensor


class Matcher(PictureMethod):
    """Matcher with SAM's encoder in the place of DINOv2."""

    name, title = "matcher", "Matcher"

    def __init__(self, matching: MatcherSettings | None = None) -> None:
        self.matching = matching or MatcherSettings()

    @property
    def settings(self) -> object:
        return asdict(self.matching)

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        return [self._one(bench, pair) for pair in pairs]

    def _one(self, bench: Workbench, pair: Pair) -> np.ndarray:
        model = bench.model
        reference, target = bench.embed([pair.prior.image, pair.image])
        ours, theirs = patches(model, reference), patches(model, target)
        inside = under(model, pair.prior.mask)[ours.index]
        if not inside.any():
            return np.zeros(pair.image.shape[:2], bool)
        similarity = ours.features @ theirs.features.T
        matched = match(similarity, inside)
        places = place(model, target, theirs.index[matched])
        prompts = choices(centres(places, self.matching), self.matching)
        masks = decode_each(model, target, prompts)
        cost = ((1 - similarity[inside]) / 2).double().numpy()
        known: dict[bytes, float] = {}  # many prompts give the same patches
        scores = np.array([self._score(model, mask, places, cost, theirs, known) for mask in masks])
        best = np.argsort(-scores, kind="stable")[: self.matching.merged]
        kept = best[scores[best] > self.matching.least_share * scores[best].max()]
        return np.any(masks[kept], axis=0)

    def _score(
        self,
        model: SamModel,
        mask: np.ndarray,
        places: np.ndarray,
        cost: np.ndarray,
        grid: Patches,
        known: dict[bytes, float],
    ) -> float:
        held = under(model, mask)[grid.index].numpy()
        if not held.any():
            held[:] = True  # as published: an empty mask is compared with the whole image
        key = np.packbits(held).tobytes()
        if key not in known:
            part = cost[:, held]
            known[key] = ot.emd2(ot.unif(len(part)), ot.unif(part.shape[1]), part, numItermax=10_000_000)
        distance = known[key]
        x, y = places.astype(int).T
        count = int(mask[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)].sum())
        purity, coverage = count / max(held.sum(), 1) + 1e-6, count / len(places) + 1e-6
        chosen = self.matching
        return float(chosen.alpha * (1 - distance) + chosen.beta * purity * coverage**chosen.exponent)


def patches(model: SamModel, embedding: Embedding) -> Patches:
    """The patches whose middle shows the image and not the padding."""
    side = model.image_size // model.grid_size
    height, width = (max(1, round(length / side)) for length in embedding.input_size)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    index = (rows * model.grid_size + columns).flatten()
    features = embedding.features.cpu().flatten(1).T[index]
    return Patches(functional.normalize(features, dim=1), index)


def under(model: SamModel, mask: np.ndarray) -> Tensor:
    """The patches (h·w,) that a mask (H, W) touches, bool."""
    side = model.image_size // model.grid_size
    if mask.all():
        return torch.ones(model.grid_size**2, dtype=torch.bool)
    framed = model.resize_mask(mask)
    return (functional.avg_pool2d((framed > framed.min()).float(), side) > 0).flatten()


def match(similarity: Tensor, inside: Tensor) -> Tensor:
    """Indices of the target's patches that match the structure's, best first; the better half of more than 40.

    Args:
        similarity: (reference patches, target patches), cosines.
        inside: (reference patches,) bool, the structure.
    """
    forward = similarity[inside]
    rows, columns = (torch.from_numpy(x) for x in linear_sum_assignment(forward.numpy(), maximize=True))
    scores = forward[rows, columns]
    back = torch.from_numpy(linear_sum_assignment(similarity.T[columns].numpy(), maximize=True)[1])
    returned = torch.isin(back, inside.nonzero()[:, 0])
    if returned.any():
        columns, scores = columns[returned], scores[returned]
    count = len(scores) // 2 if len(scores) > _KEPT_MATCHES else len(scores)
    order = torch.sort(scores, descending=True, stable=True).indices[:count]
    return torch.unique(columns[order])


def place(model: SamModel, target: Embedding, index: Tensor) -> np.ndarray:
    """The middles of patches as x, y (n, 2) in the image's own pixels."""
    side = model.image_size // model.grid_size
    row, column = index // model.grid_size, index % model.grid_size
    middle = torch.stack([column, row], dim=1).double() * side + side // 2
    scale = np.array(target.original_size[::-1]) / np.array(target.input_size[::-1])
    limit = np.array(target.original_size[::-1]) - 1
    return np.asarray(np.minimum(middle.numpy() * scale, limit))


def centres(places: np.ndarray, settings: MatcherSettings) -> np.ndarray:
    """Cluster centres (k, 2) on whole pixels; the k-means++ is seeded, which the published one is not."""
    count = min(settings.centres, len(np.unique(places, axis=0)))
    with one_thread():
        return np.floor(KMeans(count, random_state=0, n_init=1).fit(places).cluster_centers_)


def choices(points: np.ndarray, settings: MatcherSettings) -> list[np.ndarray]:
    """Every choice of so many centres as the sample range has: (n, 2) each."""
    first, last = (min(number, len(points)) for number in settings.sample_range)
    return [points[list(chosen)] for n in range(first, last + 1) for chosen in combinations(range(len(points)), n)]


def decode_each(model: SamModel, target: Embedding, prompts: Sequence[np.ndarray]) -> np.ndarray:
    """The mask of each prompt of positive points, bool (n, H, W)."""
    masks = []
    for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
        requests = [
            DecodeRequest(target, points, np.ones(len(points), int))
            for points in prompts[start : start + _PROMPTS_AT_ONCE]
        ]
        logits = torch.stack([decoded.logits[0] for decoded in model.decode(requests)])
        masks.append((model.upscale(logits, target) > 0).cpu().numpy())
    return np.concatenate(masks)
