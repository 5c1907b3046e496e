"""Selection of point prompts: the place on the target that each part feature matches best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.p2sam.p2sam_settings import P2SamSettings
from adaptsam.p2sam.part_features import Prior
from adaptsam.sam import Embedding, SamModel


@dataclass(frozen=True, eq=False)
class Prompt:
    """Prompt of one candidate for the decoder.

    ``points`` (n, 2) float are x, y in the target's original pixels, positive ones first; ``labels`` (n,) int are 1 on
    the structure and 0 off it. ``attention`` (h·w,) and ``semantic`` (C,) are PerSAM's target-guided attention and
    target-semantic prompting, for the first pass of the natural domain only.
    """

    points: np.ndarray
    labels: np.ndarray
    n_positive: int
    n_negative: int
    attention: Tensor | None = None
    semantic: Tensor | None = None


def make_prompts(
    model: SamModel, prior: Prior, target: Embedding, region: np.ndarray | None, settings: P2SamSettings
) -> list[Prompt]:
    """The candidates' prompts for one pair, in the reference's order: positives outer, negatives inner.

    ``region`` bool (H, W), in the target's original pixels, is where positive points may lie: an option of ours, and
    ``None`` is the paper. Raises :class:`InputError` if the region is empty or not of the target's size.
    """
    allowed = _check_region(region, target)
    if settings.domain == "natural":
        return _natural_prompts(model, prior, target, allowed, settings)
    return _medical_prompts(model, prior, target, allowed, settings)


def similarity_maps(model: SamModel, target: Embedding, parts: Sequence[Tensor]) -> list[Tensor]:
    """Eq. 2 for several sets of parts, each (n, C) of unit length: cosine similarities (n, H, W) in original pixels.

    Set by set, and the maps of a set as the channels of one image: PyTorch rounds products and upsamplings differently
    for other numbers of rows and channels, and the last bit decides which pixel of the flat rim of an upsampled map is
    its peak. This order is the reference's, and so are the points.
    """
    channels, height, width = target.features.shape
    features = target.features.to(model.device)
    features = (features / features.norm(dim=0, keepdim=True)).reshape(channels, height * width)
    maps = []
    for part in parts:
        coarse = (part.to(features.device) @ features).reshape(1, len(part), height, width)
        finer = F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
        maps.append(model.upscale(finer, target)[0])
    return maps


def peaks(maps: Tensor, allowed: Tensor | None = None) -> np.ndarray:
    """x, y (n, 2) of the greatest value of each map (n, H, W), the first on ties; only where ``allowed`` (H, W)."""
    values, width = maps.flatten(1).cpu().numpy(), maps.shape[-1]
    if allowed is None:
        index = values.argmax(1)
    else:
        there = np.flatnonzero(allowed)
        index = there[values[:, there].argmax(1)]
    return np.stack([index % width, index // width], axis=1).astype(float)


def target_guided_attention(mean_map: Tensor, grid: tuple[int, int]) -> Tensor:
    """PerSAM's attention guidance (h·w,) from the mean similarity map (H, W): standardised, on the grid, sigmoid."""
    standard = (mean_map - mean_map.mean()) / torch.std(mean_map)
    return F.interpolate(standard[None, None], size=grid, mode="bilinear", align_corners=False).sigmoid().flatten()


def _medical_prompts(
    model: SamModel, prior: Prior, target: Embedding, allowed: Tensor | None, settings: P2SamSettings
) -> list[Prompt]:
    counts = settings.counts(*prior.patches)
    n_positives = sorted({positive for positive, _ in counts})
    n_negatives = sorted({negative for _, negative in counts if negative > 0})
    maps = similarity_maps(model, target, [prior.foreground_parts(n) for n in n_positives])
    positives = {n: peaks(part_maps, allowed) for n, part_maps in zip(n_positives, maps, strict=True)}
    negatives = {0: np.empty((0, 2))}
    if n_negatives:
        maps = similarity_maps(model, target, [prior.background_parts(n) for n in n_negatives])
        negatives |= {n: peaks(part_maps) for n, part_maps in zip(n_negatives, maps, strict=True)}
    return [_prompt(positives[p], negatives[n]) for p, n in counts]


def _natural_prompts(
    model: SamModel, prior: Prior, target: Embedding, allowed: Tensor | None, settings: P2SamSettings
) -> list[Prompt]:
    """PerSAM's prompts: {Neg} is the lowest point of the mean similarity map, which also guides the decoder."""
    parts = [prior.foreground_parts(n) for n, _ in settings.counts(*prior.patches)]
    semantic = prior.foreground.mean(0)
    prompts = []
    for maps in similarity_maps(model, target, parts):
        mean_map = maps.mean(0)
        attention = target_guided_attention(mean_map, (target.features.shape[1], target.features.shape[2]))
        prompts.append(_prompt(peaks(maps, allowed), peaks(-mean_map[None]), attention, semantic))
    return prompts


def _prompt(
    positive: np.ndarray, negative: np.ndarray, attention: Tensor | None = None, semantic: Tensor | None = None
) -> Prompt:
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return Prompt(np.concatenate([positive, negative]), labels, len(positive), len(negative), attention, semantic)


def _check_region(region: np.ndarray | None, target: Embedding) -> Tensor | None:
    if region is None:
        return None
    region = np.asarray(region, dtype=bool)
    if region.shape != tuple(target.original_size):
        raise InputError(
            f"The region for positive points has the shape {region.shape}, the target image "
            f"{tuple(target.original_size)}; give it on the target's own pixels."
        )
    if not region.any():
        raise InputError("The region for positive points is empty; widen it or leave it out.")
    return torch.from_numpy(region)
