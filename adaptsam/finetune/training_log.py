"""Log of a running training: a line a minute, and rate and rounds in TensorBoard."""

from __future__ import annotations

import logging
import time

import psutil
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

_log = logging.getLogger("adaptsam.train")


class TrainingLog:
    """A handler for a SupervisedTrainer.

    Args:
        log_dir: of TensorBoard's files.
        optimizer: whose rate is shown.
        every: seconds between two lines.
    """

    def __init__(self, log_dir: str, optimizer: Optimizer, every: float = 60.0) -> None:
        self.log_dir, self.optimizer, self.every = log_dir, optimizer, every
        self._writer: SummaryWriter | None = None
        self._losses: list[float] = []
        self._images = 0
        self._since = self._begun = 0.0
        self._first = 0

    def attach(self, trainer: SupervisedTrainer) -> None:
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.COMPLETED, self._end)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _start(self, trainer: SupervisedTrainer) -> None:
        self._since = self._begun = time.monotonic()
        self._first = trainer.state.iteration
        self._writer = SummaryWriter(self.log_dir)

    def _iteration(self, trainer: SupervisedTrainer) -> None:
        output = trainer.state.output
        iteration, rate = trainer.state.iteration, self.optimizer.param_groups[0]["lr"]
        assert self._writer is not None
        self._writer.add_scalar("rate", rate, iteration)
        for number, loss in enumerate(output["losses"]):
            self._writer.add_scalar(f"loss_by_round/{number:02d}", loss, iteration)
        self._losses.append(output["loss"])
        self._images += len(output["image"])
        now = time.monotonic()
        if now - self._since >= self.every:
            self._say(trainer, rate, now)

    def _say(self, trainer: SupervisedTrainer, rate: float, now: float) -> None:
        state = trainer.state
        whole = state.max_epochs * state.epoch_length
        left = (whole - state.iteration) * (now - self._begun) / (state.iteration - self._first)
        _log.info(
            "epoch %d of %d, iteration %d of %d: loss %.4f, rate %.2e, %.2f images/s, %s left, %.1f GB at most",
            state.epoch,
            state.max_epochs,
            state.iteration,
            whole,
            sum(self._losses) / len(self._losses),
            rate,
            self._images / (now - self._since),
            _clock(left),
            peak_memory() / 1e9,
        )
        self._losses, self._images, self._since = [], 0, now

    def _end(self, trainer: SupervisedTrainer) -> None:
        if self._writer is not None:
            self._writer.close()

    def _failed(self, trainer: SupervisedTrainer, error: Exception) -> None:
        self._end(trainer)
        raise error


def peak_memory() -> float:
    """Peak memory so far in bytes: of the GPU that is used, otherwise of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    used = psutil.Process().memory_info()
    try:
        import resource
    except ImportError:  # Windows, where psutil knows the peak
        return float(getattr(used, "peak_wset", used.rss))
    return float(max(used.rss, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
