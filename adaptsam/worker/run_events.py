"""Events about a run's progress and results, not more of them than a window can show."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from adaptsam.worker import wire_format as wire
from adaptsam.worker.remaining_time import Clock
from adaptsam.worker.result_messages import Emit

#: Seconds between two views of a growing result.
PARTIAL_EVERY = 0.5


class Steps:
    """Progress and partial results as events, at most one of a kind per moment."""

    def __init__(self, emit: Emit, check: Callable[[], None], targets: int, one_stage: bool = False) -> None:
        self._emit, self._check = emit, check
        self._clock = Clock(targets, alone=one_stage)
        self._target = 0
        self._partial: dict[tuple[str, int], wire.Message] = {}
        self._told = 0.0
        self._last: tuple[object, ...] = ()

    def begin(self, target: int) -> None:
        """Begin the target of that number."""
        self.flush()
        self._target = target

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._check()
        if time.monotonic() - self._told > PARTIAL_EVERY:
            self.flush()
        if (stage, self._target, done, total) == self._last:
            return
        self._last = (stage, self._target, done, total)
        share = self._clock.share(stage, self._target, done, total)
        self._emit(
            "progress",
            stage=stage,
            target=self._target,
            done=done,
            total=total,
            share=share,
            remaining=self._clock.remaining(share),
        )

    def watch(self, structure: str, axis: int, index: int, mask: np.ndarray) -> None:
        """A slice of the result, bool (H, W), as it is now."""
        packed = wire.pack_mask(mask)
        self.add(structure, index, {"structure": structure, "axis": axis, "index": index, "mask": packed})

    def add(self, structure: str, index: int, message: wire.Message) -> None:
        """The same with more to tell; what comes later of a slice stands in for what came before."""
        self._partial[structure, index] = message

    def flush(self) -> None:
        """Tell what has gathered."""
        self._told = time.monotonic()
        if self._partial:
            self._emit("partial", target=self._target, slices=list(self._partial.values()))
            self._partial.clear()
