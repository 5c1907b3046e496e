"""Replay of an agent on one slice, step by step: prompts as markups, masks as a segment. No model runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from AdaptSAMLib import prompts, segments
from AdaptSAMLib.edit import Edit
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _


class Replay(Edit):
    """One structure of one finished target, slice by slice; its arguments are those of AdaptSAMLib.edit.Edit.

    The prompts are one list of markups in the order in which they were given: selected points are positive (green), the
    others negative (red). Neither they nor the masks are saved with the scene. The result changes only with :meth:`accept` and :meth:`goOn`.
    """

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.index = self.step = 0
        self.markups = self.preview = None

    @property
    def slices(self) -> list:
        """The slices that the agent looked at."""
        return sorted(self._run.played.get((self.outcome.target.key, self.segmentId), {}))

    @property
    def played(self) -> dict:
        """Prompts and masks of the agent on the slice that is shown."""
        return self._run.played[self.outcome.target.key, self.segmentId][self.index]

    @property
    def steps(self) -> int:
        """Number of masks of the slice that is shown."""
        return len(self.played["steps"])

    def best(self) -> int:
        """The slice on which the agent was surest."""
        played = self._run.played[self.outcome.target.key, self.segmentId]
        return max(played, key=lambda index: (played[index]["accepted"], played[index]["confidence"]))

    def show(self, index: int, step: int = -1) -> None:
        """The prompts up to a step, counted from 0, and the mask after it; -1 is the last."""
        if index not in self.slices:
            raise InputProblem(_("The agent did not look at slice {index}; choose another one.").format(index=index))
        self.index = index
        self.step = step % self.steps
        self._ensureNodes()
        played = self.played
        count = self._countAt(self.step)
        modifying = self.markups.StartModify()
        self.markups.RemoveAllControlPoints()
        for point, label in zip(played["points"][:count], played["labels"][:count]):
            number, _ras = prompts.place(self.markups, self.volumeNode, self.axis, index, point)
            self.markups.SetNthControlPointSelected(number, label == 1)
            self.markups.SetNthControlPointLabel(number, str(number + 1))
        self.markups.EndModify(modifying)
        self._showMask(self.mask())

    def mask(self) -> np.ndarray:
        """The mask after the step that is shown, bool, a slice of the volume's array."""
        from adaptsam.worker import wire_format as wire

        return wire.unpack_mask(self.played["steps"][self.step])

    def hide(self) -> None:
        """Take markups and mask of the replay out of the scene."""
        for node in (self.markups, self.preview):
            if node is not None and node.GetScene() is slicer.mrmlScene:
                slicer.mrmlScene.RemoveNode(node)
        self.markups = self.preview = None

    def flip(self) -> None:
        """The last prompt that is shown: positive becomes negative, and the other way round."""
        last = self.markups.GetNumberOfControlPoints() - 1
        if last < 0:
            return
        self.markups.SetNthControlPointSelected(last, not self.markups.GetNthControlPointSelected(last))

    def remove(self) -> None:
        """Delete the last prompt that is shown."""
        if self.markups.GetNumberOfControlPoints() > 1:
            self.markups.RemoveNthControlPoint(self.markups.GetNumberOfControlPoints() - 1)

    def goOn(self, play: bool = True, onEnd: Callable[[str, str], None] | None = None) -> Replay:
        """Go on from the prompts as they are in the scene now: the agent adds its own, and the result follows.

        Args:
            play: False decodes the prompts alone.
            onEnd: called with "done" or "error", and a sentence.
        """
        shown = prompts.onSlice(self.markups, self.volumeNode, self.axis, self.index)
        if not shown:
            raise InputProblem(
                _("Slice {index} has no prompt of {name}; place one on it.").format(index=self.index, name=self.name)
            )
        points = [point.tolist() for _number, point, _ras in shown]
        labels = [int(self.markups.GetNthControlPointSelected(number)) for number, _point, _ras in shown]
        return self._ask("go_on", onEnd, index=self.index, points=points, labels=labels, play=play)

    def _hear(self, event: dict, change: list) -> None:
        self._run.keep(self.outcome.target.key, event)
        self._put(self.outcome, event, change)
        self.show(event["index"])

    def accept(self) -> None:
        """The mask of the step that is shown becomes the result of the slice."""
        count = self._countAt(self.step)
        played = self.played
        shown = {"points": played["points"][:count], "labels": played["labels"][:count]}
        change: list = []
        self._put(self.outcome, {**played, **shown, "mask": played["steps"][self.step]}, change)
        self._keep(change)

    def _countAt(self, step: int) -> int:
        """Number of prompts at a step: the first pair is one step."""
        return max(1, self.played["first"]) + step

    def _ensureNodes(self) -> None:
        scene = slicer.mrmlScene
        if self.markups is None or self.markups.GetScene() is not scene:
            title = _("{name}: prompts of the agent").format(name=self.name)
            self.markups = prompts.newList(title, prompts.POSITIVE, prompts.NEGATIVE)
        if self.preview is None or self.preview.GetScene() is not scene:
            self.preview = segments.newSegmentation(
                self.volumeNode, _("{name}: step of the agent").format(name=self.name)
            )
            self.preview.SetSaveWithScene(False)

    def _showMask(self, mask: np.ndarray) -> None:
        inner, first = segments.cropped(np.expand_dims(mask, self.axis))
        first = list(first)
        first[2 - self.axis] += self.index
        prototype = slicer.vtkSegment()
        prototype.SetName(self.name)
        prototype.SetColor(1.0, 0.9, 0.2)
        segments.setSegment(self.preview, "step", prototype, inner, first, self.volumeNode)
