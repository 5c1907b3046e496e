"""PerSAM-F (Zhang et al., 2023, Sec. 3.3): two weights that mix SAM's three masks, learned on the outlined image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from adaptsam.evaluation.methods.evaluated_method import KEPT_PRIORS, Outlined, Pair, PriorKey, Workbench
from adaptsam.evaluation.methods.persam_patches import PATCHES, Coverage, row
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod
from adaptsam.p2sam.cascade import bounding_box
from adaptsam.p2sam.part_features import Prior
from adaptsam.p2sam.prompt_selection import peaks, similarity_maps
from adaptsam.sam import Decoded, DecodeRequest, Embedding, SamModel


@dataclass(frozen=True)
class ScaleSettings:
    """AdamW with a cosine; the published values."""

    steps: int = 1000
    learning_rate: float = 1e-3


@dataclass(frozen=True, eq=False)
class Learned:
    """The target feature (C,) of unit length, and the weights (3,) of SAM's masks, whose sum is 1."""

    feature: Tensor
    weights: Tensor


class PerSamF(PictureMethod):
    """Learns once for each outlined image.

    Args:
        scale: the optimiser of the mask weights.
        coverage: when the mask covers a patch: "published", or from "half" of it on.
    """

    def __init__(self, scale: ScaleSettings | None = None, coverage: Coverage = "published") -> None:
        self.name, self.title = row("persam-f", "PerSAM-F", coverage)
        self.scale, self.coverage = scale or ScaleSettings(), coverage
        self._learned: OrderedDict[PriorKey, Learned | None] = OrderedDict()

    @property
    def settings(self) -> object:
        return {**asdict(self.scale), "coverage": self.coverage}

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        masks = []
        for pair in pairs:
            learned = self._of(bench, pair.prior)
            if learned is None:
                masks.append(np.zeros(pair.image.shape[:2], bool))
            else:
                masks.append(segment_with(bench.model, learned, bench.embed([pair.image])[0]))
        return masks

    def _of(self, bench: Workbench, outlined: Outlined) -> Learned | None:
        key = bench.key(outlined)
        if key not in self._learned:
            [embedding] = bench.embed([outlined.image])
            prior = bench.prior(outlined, PATCHES[self.coverage])
            self._learned[key] = learn_scale(bench.model, prior, embedding, outlined.mask, self.scale)
            if len(self._learned) > KEPT_PRIORS:
                self._learned.popitem(last=False)
        self._learned.move_to_end(key)
        return self._learned[key]


def learn_scale(
    model: SamModel, prior: Prior, embedding: Embedding, mask: np.ndarray, settings: ScaleSettings
) -> Learned | None:
    """The weights by Dice and focal loss on the outlined image, ``mask`` (H, W); None without a foreground patch.

    The target feature is halfway between the mean and the largest values of the foreground.
    """
    if not prior.usable:
        return None
    feature = prior.foreground.mean(0) / 2 + prior.foreground.max(0).values / 2
    feature = feature / feature.norm()
    decoded = _decode(model, embedding, _point(model, feature, embedding))
    logits = model.upscale(decoded.logits[None], embedding)[0].flatten(1).float().cpu()
    truth = torch.from_numpy(mask).flatten()[None].float()
    free = torch.nn.Parameter(torch.full((2, 1), 1 / 3))
    optimiser = torch.optim.AdamW([free], lr=settings.learning_rate, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in range(settings.steps):
        mixed = (logits * _all_three(free)).sum(0, keepdim=True)
        loss = _dice_loss(mixed, truth) + sigmoid_focal_loss(mixed, truth, alpha=0.25, gamma=2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Learned(feature, _all_three(free).detach().flatten())


def segment_with(model: SamModel, learned: Learned, target: Embedding) -> np.ndarray:
    """The mixed mask, refined twice with its box; bool (H, W)."""
    point = _point(model, learned.feature, target)
    decoded = _decode(model, target, point)
    weights = learned.weights.to(decoded.logits.device)[:, None, None]
    # Upscaling and mixing are both linear, so the order does not matter.
    logits = (decoded.logits * weights).sum(0)
    mask = _mask(model, logits, target)
    for _ in range(2):
        decoded = _decode(model, target, point, logits, bounding_box(mask))
        logits = decoded.logits[int(decoded.iou.argmax())]
        mask = _mask(model, logits, target)
    return mask


def _point(model: SamModel, feature: Tensor, target: Embedding) -> np.ndarray:
    """Point of the image most like the target feature: x, y (1, 2)."""
    return peaks(similarity_maps(model, target, [feature[None]])[0])


def _decode(
    model: SamModel,
    target: Embedding,
    point: np.ndarray,
    logits: Tensor | None = None,
    box: np.ndarray | None = None,
) -> Decoded:
    return model.decode([DecodeRequest(target, point, [1], box, logits)], multimask=True)[0]


def _mask(model: SamModel, logits: Tensor, target: Embedding) -> np.ndarray:
    return np.asarray((model.upscale(logits, target) > 0).cpu().numpy())


def _all_three(free: Tensor) -> Tensor:
    return torch.cat([1 - free.sum(0, keepdim=True), free])


def _dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    share = functional.sigmoid(logits)
    both = 2 * (share * truth).sum(-1)
    return (1 - (both + 1) / (share.sum(-1) + truth.sum(-1) + 1)).sum()
