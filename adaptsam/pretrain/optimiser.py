"""AdamW with warm-up, cosine decay, clipping and a line of progress."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from adaptsam.errors import TrainingError

_REPORTED = 50


def learning_rate(step: int, steps: int, peak: float, warm_up: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1.0, share)))))


class Optimiser:
    """Steps of a training.

    Args:
        name: of the training, for its lines of progress.
        parameters: what is trained; vectors are not decayed.
        steps: of the whole training.
        peak: the highest learning rate.
        warm_up: steps until it is reached.
        weight_decay: of AdamW.

    Attributes:
        history: the losses of all steps.
    """

    def __init__(
        self,
        name: str,
        parameters: Iterable[torch.nn.Parameter],
        steps: int,
        peak: float,
        warm_up: int,
        weight_decay: float,
    ) -> None:
        self.name, self.steps, self.peak, self.warm_up = name, steps, peak, warm_up
        self.parameters = list(parameters)
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, lr=peak)
        self.history: list[float] = []

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss.

        Raises:
            TrainingError: the loss is not finite; the parameters are as they were.
        """
        done, value = len(self.history), float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(f"The loss of the {self.name} is not finite at step {done}; lower its rate.")
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(done, self.steps, self.peak, self.warm_up)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.history.append(value)
        if len(self.history) % _REPORTED == 0:
            mean = round(float(np.mean(self.history[-_REPORTED:])), 4)
            print(json.dumps({"stage": self.name, "step": len(self.history), "loss": mean}), flush=True)
