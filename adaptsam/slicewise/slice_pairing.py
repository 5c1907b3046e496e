"""Pairing of target slices with prior slices."""

from __future__ import annotations

from collections.abc import Sequence


def nearest_slice(wanted: float, usable: Sequence[int]) -> int:
    """The prior slice nearest to a fractional position; of two equally near ones the lower."""
    return min(usable, key=lambda k: (abs(k - wanted), k))


def neighbours(k: int, usable: Sequence[int], count: int) -> list[int]:
    """``k`` and the usable slices nearest to it, ``count`` in all or as many as there are, ``k`` first."""
    return sorted(usable, key=lambda one: (abs(one - k), one))[:count]


def middle_pairs(target_slices: Sequence[int], prior_slices: Sequence[int]) -> dict[int, int]:
    """The papers' pairing: the same offset from the middle of the stack of annotated slices, clamped at its ends.

    Both sequences ascend in the same anatomical direction; the middle of n slices is number n // 2, from 0.
    """
    shift = len(prior_slices) // 2 - len(target_slices) // 2
    last = len(prior_slices) - 1
    return {k: prior_slices[min(max(place + shift, 0), last)] for place, k in enumerate(target_slices)}
