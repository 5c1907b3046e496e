"""SAM's training loss (Kirillov et al., 2023, App. A): Dice + 20 · focal + the squared error of the predicted IoU."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss, FocalLoss
from torch import Tensor

_dice = DiceLoss(sigmoid=True, reduction="none")
_focal = FocalLoss(gamma=2.0, alpha=0.25, reduction="none")


def mask_loss(logits: Tensor, truth: Tensor, predicted_iou: Tensor) -> Tensor:
    """The loss of each mask.

    Args:
        logits: float32 (B, M, H, W).
        truth: float32 (B, 1, H, W), 0 or 1.
        predicted_iou: float32 (B, M).

    Returns:
        float32 (B, M).
    """
    target = truth.expand_as(logits)
    flat, flat_target = logits.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None]
    dice = _dice(flat, flat_target).flatten()
    focal = _focal(flat, flat_target).flatten(1).mean(1)
    with torch.no_grad():
        found = logits > 0
        union = (found | (target > 0)).sum((-2, -1)).clamp(min=1)
        iou = (found & (target > 0)).sum((-2, -1)) / union
    return (dice + 20 * focal).view(predicted_iou.shape) + (predicted_iou - iou) ** 2
