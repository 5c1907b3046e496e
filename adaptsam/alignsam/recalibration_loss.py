"""Loss of the recalibration module (Eq. 13). A module of its own, because using an agent does not need MONAI."""

from __future__ import annotations

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

_dice = DiceLoss(sigmoid=True)


def recalibration_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Dice plus binary cross-entropy (Eq. 13).

    Args:
        logits: float32 (B, h, w).
        truth: y', float32 (B, h, w): the share of each cell that is foreground.
    """
    dice = _dice(logits[:, None], truth[:, None])
    return dice + functional.binary_cross_entropy_with_logits(logits, truth)
