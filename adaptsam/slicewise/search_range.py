"""Range of a target's slices that is searched for one structure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adaptsam.slicewise.volume_settings import VolumeSettings

#: So many rejected slices in a row end the search in their direction.
PATIENCE = 2


class Search:
    """The slices of one structure: a first set, then outward from it while slices are accepted.

    Args:
        first: slices to look at whatever comes of them.
        limits: the lowest and highest slice that may be reached; None stays within ``first``.
    """

    def __init__(self, first: Iterable[int], limits: tuple[int, int] | None = None) -> None:
        self.first = sorted(first)
        self._accepted: dict[int, bool] = {}
        self._limits = limits if limits is not None else (self.first[0], self.first[-1]) if self.first else (0, -1)

    @classmethod
    def around(
        cls,
        expected: tuple[int, int],
        depth: int,
        pitch_mm: float,
        blunt: tuple[bool, bool],
        margin_mm: float,
        settings: VolumeSettings,
    ) -> Search:
        """Search around ``expected`` slices of a target with ``depth`` slices: a margin at each end, and a limit.

        A blunt end gets its own small margin, rounded up to whole slices, and is not followed.
        """
        margins = [int(np.ceil((settings.blunt_margin_mm if end else margin_mm) / pitch_mm)) for end in blunt]
        further = [0 if end else int(np.ceil(settings.extend_mm / pitch_mm)) for end in blunt]
        first = range(max(0, expected[0] - margins[0]), min(depth - 1, expected[1] + margins[1]) + 1)
        low = max(0, expected[0] - max(margins[0], further[0]))
        high = min(depth - 1, expected[1] + max(margins[1], further[1]))
        return cls(first, (low, high))

    def wants(self, k: int) -> bool:
        """Whether slice ``k`` is to be looked at now."""
        return k not in self._accepted and (k in self.first or k in self.next_slices())

    def tell(self, k: int, accepted: bool) -> None:
        """Take in the outcome of slice ``k``."""
        self._accepted[k] = accepted

    def next_slices(self) -> list[int]:
        """The next slice outward at either end that is still followed, once the first set is done."""
        if not self.first or any(k not in self._accepted for k in self.first) or not any(self._accepted.values()):
            return []
        seen = sorted(self._accepted)
        ends = [(seen[:PATIENCE], seen[0] - 1), (seen[-PATIENCE:], seen[-1] + 1)]
        low, high = self._limits
        return [k for last, k in ends if low <= k <= high and any(self._accepted[one] for one in last)]
