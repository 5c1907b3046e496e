"""Hysteresis along a volume: much evidence is required where a target is first found, less of the slices beside it.

Yes or no for each slice by itself throws away slices in the middle of an organ. Here the search starts at a slice with
enough evidence and goes outwards on both sides: a slice is accepted with a share of that evidence where its mask is
like the last accepted one. It ends on a side where too many millimetres were not. Of the runs that start at different
slices the one with the most evidence in all is the target: the best slice alone may be a mistake that no neighbour
shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptsam.errors import InputError


@dataclass(frozen=True)
class HysteresisSettings:
    """Settings of following neighbours.

    Attributes:
        share: of the least evidence that a neighbour needs.
        alike: the Dice of its mask and the last accepted one that it needs.
        gap_mm: the search ends where so much was not accepted.
    """

    share: float = 0.4
    alike: float = 0.5
    gap_mm: float = 12.0

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.alike <= 1 and self.gap_mm >= 0):
            raise InputError("Hysteresis takes shares between 0 and 1, and a gap in mm that is not negative.")


def outward(
    evidence: Mapping[int, float],
    mask: Callable[[int], NDArray[np.bool_]],
    least: float,
    pitch_mm: float,
    settings: HysteresisSettings,
) -> list[int]:
    """The accepted slices, ascending; one run of neighbours.

    Args:
        evidence: 0 to 1, of the slices that have a mask and may be accepted at all.
        mask: bool (H, W), not empty, of one of them.
        least: the evidence that the first one of a run needs.
        pitch_mm: between slices.
        settings: for the others.
    """
    best: list[int] = []
    tried: set[int] = set()
    for start in sorted(evidence, key=lambda k: (-evidence[k], k)):
        if evidence[start] < least:
            break
        if start not in tried:
            run = _run(start, evidence, mask, settings.share * least, pitch_mm, settings)
            tried.update(run)
            best = max(best, run, key=lambda slices: sum(evidence[k] for k in slices))
    return sorted(best)


def _run(
    start: int,
    evidence: Mapping[int, float],
    mask: Callable[[int], NDArray[np.bool_]],
    least: float,
    pitch_mm: float,
    settings: HysteresisSettings,
) -> list[int]:
    """The slices that are reached from one, itself first."""
    found = [start]
    for direction in (-1, 1):
        k, last, shape = start + direction, start, mask(start)
        while (abs(k - last) - 1) * pitch_mm <= settings.gap_mm and min(evidence) <= k <= max(evidence):
            if k in evidence and evidence[k] >= least:
                other = mask(k)
                if _dice(shape, other) >= settings.alike:
                    found.append(k)
                    last, shape = k, other
            k += direction
    return found


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / max(1, total)
