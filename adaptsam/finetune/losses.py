"""The losses of training SAM from nothing: Dice with cross-entropy, and the squared error of the predicted IoU.

SAM's own 20 · focal belongs to a decoder that already answers prompts: from nothing it holds the masks empty (no pixel
above zero after 200 steps here), because an empty mask is already a small focal loss.
"""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

_dice = DiceLoss(sigmoid=True, reduction="none")


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
    dice = _dice(logits.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None]).view(predicted_iou.shape)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    with torch.no_grad():
        found = logits > 0
        union = (found | (target > 0)).sum((-2, -1)).clamp(min=1)
        iou = (found & (target > 0)).sum((-2, -1)) / union
    return dice + entropy + (predicted_iou - iou) ** 2
