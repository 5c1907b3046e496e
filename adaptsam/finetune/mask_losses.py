"""The losses of masks: SAM's own for fine-tuning, and one for a model that is trained from nothing, or knows little.

SAM's 20 · focal belongs to a decoder that already answers prompts: from nothing it holds the masks empty (no pixel
above zero after 200 steps here), because an empty mask is already a small focal loss. There, Dice with cross-entropy is
used; and so it can be where a weak model is fine-tuned.

Dice is MONAI's, written out, so that the bundled model is trained without MONAI.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

_FOCAL_WEIGHT = 20.0
_DICE_SMOOTH = 1e-5


def sam_loss(logits: Tensor, truth: Tensor, predicted_iou: Tensor) -> Tensor:
    """Dice + 20 · focal + squared error of the predicted IoU (Kirillov et al., 2023, App. A), of each mask.

    Args:
        logits: float32 (B, M, H, W).
        truth: float32 (B, 1, H, W), 0 or 1.
        predicted_iou: float32 (B, M).

    Returns:
        float32 (B, M).
    """
    target = truth.expand_as(logits)
    focal = sigmoid_focal_loss(logits, target).mean((-2, -1))
    return _dice_of(logits, target) + _FOCAL_WEIGHT * focal + (predicted_iou - _iou(logits, target)) ** 2


def mask_loss(logits: Tensor, truth: Tensor, predicted_iou: Tensor) -> Tensor:
    """Dice + cross-entropy + squared error of the predicted IoU; shapes as of :func:`sam_loss`."""
    target = truth.expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    return _dice_of(logits, target) + entropy + (predicted_iou - _iou(logits, target)) ** 2


#: By what a recipe calls them.
LOSSES = {"sam": sam_loss, "cross-entropy": mask_loss}


def _dice_of(logits: Tensor, target: Tensor) -> Tensor:
    found = logits.sigmoid()
    both, either = ((found * target).sum((-2, -1)), (found + target).sum((-2, -1)))
    return 1 - (2 * both + _DICE_SMOOTH) / (either + _DICE_SMOOTH)


@torch.no_grad()
def _iou(logits: Tensor, target: Tensor) -> Tensor:
    found, true = logits > 0, target > 0
    both, either = (found & true).sum((-2, -1)), (found | true).sum((-2, -1))
    # Nothing found where nothing is: right, and 1, as in P²SAM's code.
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
