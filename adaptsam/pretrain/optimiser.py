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


def learning_rate(step: float, steps: float, peak: float, warm_up: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1.0, share)))))


class Optimiser:
    """Steps of one stage of a training, which lasts for a number of steps or for a time.

    A GPU is never waited for: a loss is looked at when the step after it is under way.

    Args:
        name: of the stage, for its lines of progress.
        parameters: what is trained; vectors are not decayed.
        steps: of the whole stage.
        peak: the highest learning rate.
        warm_up: steps until it is reached.
        weight_decay: of AdamW.
        seconds: how long the stage lasts, over all its runs, instead of ``steps``. The rate then follows the time: how
            many steps there will be is told at each step from how many there were, so that it reaches its end in time
            on any machine, and on another one after a break.
    """

    def __init__(
        self,
        name: str,
        parameters: Iterable[torch.nn.Parameter],
        steps: int,
        peak: float,
        warm_up: int,
        weight_decay: float,
        seconds: float = 0.0,
    ) -> None:
        self.name, self.peak, self.warm_up, self.seconds = name, peak, warm_up, seconds
        self.parameters = list(parameters)
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.on_gpu = any(p.is_cuda for p in self.parameters)
        self.adam = torch.optim.AdamW(groups, lr=peak, fused=self.on_gpu or None)
        self.spent = 0.0
        self._steps = steps
        self._history: list[float] = []
        self._pending: Tensor | None = None
        self._begun: float | None = None

    @property
    def done(self) -> int:
        return len(self._history) + (self._pending is not None)

    @property
    def steps(self) -> float:
        """Steps of the whole stage; where it lasts for a time, an estimate from the steps so far."""
        return self.done * self.seconds / max(self.spent, 1e-9) if self.seconds else self._steps

    @property
    def finished(self) -> bool:
        return self.spent >= self.seconds if self.seconds else self.done >= self._steps

    @property
    def history(self) -> list[float]:
        """The losses of all steps; waits for the last one.

        Raises:
            TrainingError: it is not finite.
        """
        self._look_at_pending()
        return self._history

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss.

        Raises:
            TrainingError: the loss is not finite. On a CPU the parameters are as they were; on a GPU it is told a step
                later, and what was kept before is what there is.
        """
        if not self.on_gpu:
            self._look_at(loss.detach())
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.done, self.steps, self.peak, self.warm_up)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self._look_at_pending()
        self._pending = loss.detach()
        if not self.on_gpu:
            self._look_at_pending()
        self._count_time()
        if self.done % _REPORTED == 0:
            mean = round(float(np.mean(self._history[-_REPORTED:])), 4)
            line = {"stage": self.name, "step": self.done, "loss": mean, "minutes": round(self.spent / 60, 1)}
            print(json.dumps(line), flush=True)

    def _count_time(self) -> None:
        """The first step of a run counts nothing: it is as long as its start."""
        now = time.monotonic()
        if self._begun is not None:
            self.spent += now - self._begun
        self._begun = now

    def _look_at_pending(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._history.append(self._look_at(pending))

    def _look_at(self, loss: Tensor) -> float:
        value = float(loss)
        if not np.isfinite(value):
            raise TrainingError(
                f"The loss of the {self.name} is not finite at step {len(self._history)}; lower its rate."
            )
        return value

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "history": self.history, "spent": self.spent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        self._history, self.spent = list(state["history"]), float(state["spent"])
