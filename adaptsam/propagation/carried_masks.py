"""A structure carried to a frame by the flows from several others, which vote pixel by pixel.

A frame is told from the outlined one, which is right but may be far, and from its neighbours, which are near but may
have drifted. Each flow's vote counts by its belief times the trust in what it carries, squared, so that a flow that
fits outvotes several that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from adaptsam.registration.optical_flow import Flow, FlowFrame, picture_flows, structure_flow

#: How much sharper than in proportion a flow that is believed more counts.
SHARPNESS = 2.0


@dataclass(eq=False)
class Remembered:
    """A frame whose masks are known: ``share`` and ``trust`` float32 (h, w), 0 to 1, by structure.

    ``index`` tells frames apart.
    """

    index: int
    frame: FlowFrame
    share: dict[str, np.ndarray] = field(default_factory=dict)
    trust: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CarriedMask:
    """By pixel (H, W) of the frame, float32: the share of votes for the structure, and the trust in them, 0 to 1."""

    share: np.ndarray
    trust: np.ndarray


class FrameVotes:
    """The votes for one frame; flows of whole pictures are computed once for all structures.

    Args:
        target: the frame.
        size: its rows and columns before it was reduced, which the results have.
    """

    def __init__(self, target: FlowFrame, size: tuple[int, int]) -> None:
        self._target, self._size = target, size
        self._flows: dict[int, list[Flow]] = {}

    def carry(self, name: str, sources: Sequence[Remembered]) -> CarriedMask | None:
        """A structure from the frames that know it; None where none does."""
        votes, weights = np.zeros(self._target.grid, np.float32), np.full(self._target.grid, 1e-9, np.float32)
        told = False
        for source in sources:
            if name not in source.share:
                continue
            told = True
            for flow in self._flows_from(source, name):
                weight = (flow.belief * flow.moved(source.trust[name])) ** SHARPNESS
                votes += weight * flow.moved(source.share[name])
                weights += weight
        if not told:
            return None
        trust = np.clip(weights, 0.0, 1.0) ** (1 / SHARPNESS)
        return CarriedMask(resized(votes / weights, self._size), resized(trust, self._size))

    def _flows_from(self, source: Remembered, name: str) -> list[Flow]:
        if source.index not in self._flows:
            self._flows[source.index] = picture_flows(source.frame, self._target)
        own = structure_flow(source.frame, self._target, source.share[name] > 0.5)
        return [*self._flows[source.index], *([own] if own is not None else [])]


def resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) on another number of rows and columns, float32; means where it gets smaller."""
    smaller = size[0] < array.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(array.astype(np.float32), (size[1], size[0]), interpolation=how))
