"""Steps of an agent on a slice, kept so that they can be replayed and changed without running it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from adaptsam.alignsam import Prompted
from adaptsam.autoprompting.agent_slices import AgentSlices


@dataclass(frozen=True, eq=False)
class PlayedSlice:
    """One slice of the stored array, as an agent went about it.

    Attributes:
        name: of the target.
        axis, index: the slice is ``array.take(index, axis)`` of the stored array.
        points: (n, 2), in stored pixels of the slice, faster axis first, in the order in which they were given.
        labels: (n,), 1 for foreground and 0 for background.
        first: how many points were there before the first step, 2 or 0.
        masks: bool (steps, H, W), the mask after the first pair (if there was one) and after each further point. The
            last one is exact; where the agent's view has other pixels than the slice, the others are to half a pixel.
        accepted: whether the evidence was enough.
        confidence: 0 to 1, of the last mask, from this slice alone.
    """

    name: str
    axis: int
    index: int
    points: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    first: int
    masks: np.ndarray = field(repr=False)
    accepted: bool
    confidence: float

    @property
    def mask(self) -> np.ndarray:
        """The mask kept for the slice, bool (H, W): the last one, or an empty one where it was not accepted."""
        last = np.asarray(self.masks[-1])
        return last if self.accepted else np.zeros_like(last)


#: Told every slice that was played.
Watch = Callable[[PlayedSlice], None]


def played(
    name: str,
    slices: AgentSlices,
    k: int,
    result: Prompted,
    within: np.ndarray | None,
    accepted: bool,
    confidence: float,
) -> PlayedSlice:
    """The record of canonical slice ``k``.

    Args:
        name: of the target.
        slices: what was shown.
        k: which slice.
        result: with the mask after each step.
        within: bool (H, W), where the target may be on the canonical slice; None for everywhere.
        accepted, confidence: see :class:`PlayedSlice`.
    """
    orientation, shape = slices.images.orientation, slices.images.stored.shape
    assert result.step_masks is not None
    shown = [slices.restore(np.where(mask, np.float32(1), np.float32(-1))) > 0 for mask in result.step_masks[:-1]]
    masks = np.stack([*shown, slices.restore(result.logits) > 0])
    if within is not None:
        masks &= within
    axis, index = slices.images.stored_slice(k)
    stored = [np.asarray(orientation.undo(mask[None])).take(0, axis=axis) for mask in masks]
    return PlayedSlice(
        name=name,
        axis=axis,
        index=index,
        points=orientation.stored_points(slices.view.to_slice(result.points), shape),
        labels=result.labels,
        first=result.first,
        masks=np.stack(stored),
        accepted=accepted,
        confidence=confidence,
    )
