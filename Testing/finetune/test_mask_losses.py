"""The loss of one mask: SAM's without its weights, held to MONAI's."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceLoss

from adaptsam.finetune.mask_losses import mask_loss


def test_a_perfect_mask_costs_next_to_nothing_and_a_wrong_one_a_lot() -> None:
    truth = torch.zeros(1, 1, 16, 16)
    truth[..., 4:10, 4:10] = 1
    right, wrong = (truth * 2 - 1) * 20, (1 - truth * 2) * 20
    assert mask_loss(right, truth, torch.ones(1, 1)).item() < 0.01
    assert mask_loss(wrong, truth, torch.ones(1, 1)).item() > 20
    assert mask_loss(right, truth, torch.zeros(1, 1)).item() == pytest.approx(1.0, abs=0.01)


def test_the_dice_of_a_mask_is_monais() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(3, 2, 8, 8, generator=rng), (torch.rand(3, 1, 8, 8, generator=rng) > 0.6).float()
    target = truth.expand_as(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    dice = DiceLoss(sigmoid=True, reduction="none")(logits.view(6, 1, 8, 8), target.reshape(6, 1, 8, 8)).view(3, 2)
    iou = ((logits > 0) & (target > 0)).sum((-2, -1)) / ((logits > 0) | (target > 0)).sum((-2, -1))
    assert torch.allclose(mask_loss(logits, truth, iou), dice + entropy, atol=1e-6)
