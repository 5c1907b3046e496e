"""The learning rate of the released training: a line up, and a cosine that began with it."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def released_rate(time: float, whole: float, warm_up: float, peak: float, least: float) -> float:
    """The rate at a time, in iterations or epochs, as timm's cosine schedule gives it.

    From ``least`` in a line to ``peak`` at the end of the warm-up; from there on along the cosine that fell from
    ``peak`` since the beginning, so that the rate steps down a little where the line meets it.
    """
    if time < warm_up:
        return least + (peak - least) * time / warm_up
    return least + (peak - least) * (1 + math.cos(math.pi * min(1.0, time / whole))) / 2


class ReleasedRate(LambdaLR):
    """Steps with every iteration.

    Args:
        optimizer: its rate is the peak.
        epochs: of the training.
        per_epoch: iterations of one.
        warm_up: its share of the epochs; rounded to whole ones where the rate changes with the epochs.
        least: the rate at the beginning and at the end; never more than the peak.
        changes: "batch", or "epoch": then, as in the released code, an epoch has the rate of the one before.
    """

    def __init__(
        self, optimizer: Optimizer, epochs: int, per_epoch: int, warm_up: float, least: float, changes: str = "batch"
    ) -> None:
        peak = optimizer.param_groups[0]["lr"]
        least = min(least, peak)

        def factor(iteration: int) -> float:
            if changes == "epoch":
                time = float(max(0, iteration // per_epoch - 1))
                rate = released_rate(time, epochs, round(warm_up * epochs), peak, least)
            else:
                whole = epochs * per_epoch
                rate = released_rate(iteration, whole, warm_up * whole, peak, least)
            return float(rate / peak) if peak else 0.0

        super().__init__(optimizer, factor)
