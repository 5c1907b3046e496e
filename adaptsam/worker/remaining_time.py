"""Remaining time of a run, estimated from its progress."""

from __future__ import annotations

import time
from collections.abc import Callable

#: What the stages take of one target's time, and the prior's learning beside one target.
_REGISTER, _PRIOR = 0.2, 0.5

#: Below this share of the work, a guess would jump about.
_EARLIEST = 0.03


class Clock:
    """Counts the stages of a propagation, or of agents at work, which have one stage.

    Args:
        targets: how many there are.
        alone: whether there is one stage only, as of agents and of videos.
        now: seconds; another clock for tests.
    """

    def __init__(self, targets: int, now: Callable[[], float] = time.monotonic, alone: bool = False) -> None:
        self._targets, self._now, self._alone = targets, now, alone
        self._start = now()
        self._reached = 0.0

    def share(self, stage: str, target: int, done: int, total: int) -> float:
        """Share of all the work that is done, 0 to 1, at a stage of the target of that number, from 0.

        It never falls, though more slices may turn out to be worth a look when all known ones are done.
        """
        self._reached = max(self._reached, self._share(stage, target, done, total))
        return self._reached

    def _share(self, stage: str, target: int, done: int, total: int) -> float:
        part = done / total if total else 0.0
        if self._alone or stage == "prompt":
            return min(1.0, (target + part) / self._targets)
        if stage == "prior":
            units = _PRIOR * part
        elif stage == "register":
            units = _PRIOR + target + _REGISTER * part
        else:
            units = _PRIOR + target + _REGISTER + (1 - _REGISTER) * part
        return min(1.0, units / (_PRIOR + self._targets))

    def remaining(self, share: float) -> float | None:
        """Seconds to go; None as long as nobody can say."""
        if share < _EARLIEST:
            return None
        return (self._now() - self._start) * (1 - share) / share
