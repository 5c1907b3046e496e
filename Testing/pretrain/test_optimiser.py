"""AdamW with its schedule."""

from __future__ import annotations

import pytest
import torch

from adaptsam.errors import TrainingError
from adaptsam.pretrain.optimiser import Optimiser, learning_rate


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(step, 100, 1e-3, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 2e-5


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_parameters() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimiser = Optimiser("test", [weight], 10, 0.1, 0, 0.0)
    with pytest.raises(TrainingError, match="not finite at step 0"):
        optimiser.step((weight / 0 * 0).sum())
    assert torch.equal(weight, torch.ones(2, 2))
