"""Eq. 11 to 13: both branches and their loss."""

import pytest
import torch

from adaptsam.alignsam.recalibration import new_recalibration
from adaptsam.alignsam.recalibration_loss import recalibration_loss
from adaptsam.errors import InputError


@pytest.mark.parametrize("grid", [8, 32, 64])
@pytest.mark.parametrize("branch", ["implicit", "explicit"])
def test_a_score_comes_out_for_every_cell_of_any_grid(branch: str, grid: int) -> None:
    states = torch.randn(2, 2, 6, grid, grid)
    assert new_recalibration(branch, 6)(*states).shape == (2, grid, grid)


def test_the_implicit_branch_looks_at_the_spatial_state_alone_and_the_explicit_one_at_both() -> None:
    spatial, semantic, other = torch.randn(3, 1, 6, 8, 8)
    implicit, explicit = new_recalibration("implicit", 6), new_recalibration("explicit", 6)
    assert torch.equal(implicit(spatial, semantic), implicit(spatial, other))
    assert not torch.allclose(explicit(spatial, semantic), explicit(spatial, other))
    assert not torch.allclose(explicit(spatial, semantic), explicit(other, semantic))


def test_self_attention_lets_every_place_see_every_other() -> None:
    torch.manual_seed(0)
    explicit = new_recalibration("explicit", 6)
    spatial = torch.zeros(1, 6, 32, 32, requires_grad=True)
    explicit(spatial, torch.randn(1, 6, 32, 32))[0, 0, 0].backward()
    assert spatial.grad is not None
    # Without attention, five 3×3 and one 1×1 convolutions and group normalisation alone would leave tiny, equal
    # gradients there; this asks for the far corner to matter by itself.
    assert spatial.grad[0, :, 28:, 28:].std() > 0


def test_the_loss_is_dice_plus_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(3, 8, 8), torch.rand(3, 8, 8).round()
    p = logits.sigmoid()
    dice = 1 - (2 * (p * truth).sum((1, 2)) + 1e-5) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1e-5)
    entropy = -(truth * p.log() + (1 - truth) * (1 - p).log())
    torch.testing.assert_close(recalibration_loss(logits, truth), dice.mean() + entropy.mean())
    assert recalibration_loss((truth * 2 - 1) * 30, truth) < 1e-3


def test_the_explicit_branch_without_text_is_refused() -> None:
    with pytest.raises(InputError, match="needs a text attention map"):
        new_recalibration("explicit", 6)(torch.zeros(1, 6, 8, 8))
