"""AdamW with warm-up, cosine decay, clipping and a line of progress; it can be stopped and taken up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

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
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * share))))


class Optimiser:
    """Steps of one stage of a training.

    Args:
        name: of the stage, for its lines of progress.
        parameters: what is trained; vectors are not decayed.
        steps: of the whole stage.
        peak: the highest learning rate.
        warm_up: steps until it is reached.
        weight_decay: of AdamW.
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
        self._begun = time.monotonic()

    @property
    def done(self) -> int:
        return len(self.history)

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss.

        Raises:
            TrainingError: the loss is not finite; the parameters are as they were.
        """
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss of the {self.name} is not finite at step {self.done}; lower its rate.")
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.done, self.steps, self.peak, self.warm_up)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.history.append(loss.item())
        if self.done % _REPORTED == 0:
            minutes = round((time.monotonic() - self._begun) / 60, 1)
            mean = round(float(np.mean(self.history[-_REPORTED:])), 4)
            print(json.dumps({"stage": self.name, "step": self.done, "loss": mean, "minutes": minutes}), flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        self.history = list(state["history"])
