"""One structure of a finished target, changed slice by slice: what correction and replay have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import results, segments
from AdaptSAMLib.engine import ENDS, Engine
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Outcome
from AdaptSAMLib.run import BaseRun


class Edit:
    """Base of what changes slices of a result, and takes changes back.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        run: the run that the outcome came from.
        outcome: AdaptSAMLib.results.Outcome.
        segmentId: which structure.

    Attributes:
        ended: None while the worker is asked, and then what onEnd was told.
    """

    def __init__(self, engine: Engine, run: BaseRun, outcome: Outcome, segmentId: str) -> None:
        self.outcome, self.segmentId, self.name = outcome, segmentId, run.names[segmentId]
        self.axis = outcome.reports[segmentId]["slice_axis"]
        self.ended = None
        self._engine, self._run = engine, run
        self._changes: list = []

    @property
    def volumeNode(self) -> slicer.vtkMRMLVolumeNode:
        return self.outcome.target.volumeNode

    @property
    def canUndo(self) -> bool:
        return bool(self._changes)

    def wait(self) -> Self:
        """Wait until the worker has answered; returns itself, and raises InputProblem if it could not."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def undo(self) -> bool:
        """Take the last change of the result back, all slices of it; whether there was one."""
        if not self._changes:
            return False
        for outcome, *_change in self._changes[-1]:
            self.check(outcome)
        for outcome, index, mask, report in reversed(self._changes.pop()):
            self._replace(outcome, index, mask)
            outcome.reports[self.segmentId] = report
        self._run.tellAgain()
        return True

    def check(self, outcome: results.Outcome) -> None:
        """Raises InputProblem where a result cannot be changed any more."""
        results.check(outcome.target)
        node = outcome.segmentationNode
        kept = self._run.sequenceOf(outcome.target) or node
        if kept.GetScene() is not slicer.mrmlScene or node.GetSegmentation().GetSegment(self.segmentId) is None:
            raise InputProblem(
                _("{name} of {target} is not in the scene any more; press Apply again.").format(
                    name=self.name, target=outcome.target.title
                )
            )

    def _hear(self, event: dict, change: list) -> None:
        """A slice that the worker made anew."""
        raise NotImplementedError

    def _ask(self, do: str, onEnd: Callable[[str, str], None] | None, **content: Any) -> Self:
        """Ask the worker about the structure; all slices that it makes are one change. Returns itself."""
        self.check(self.outcome)
        self.ended, change = None, []

        def handle(event: dict) -> None:
            kind = event["event"]
            if kind == "slice":
                self._hear(event, change)
            elif kind in ENDS:
                if change:
                    self._keep(change)
                self.ended = ("done", "") if kind == "done" else ("error", event.get("message", _("Cancelled.")))
                if onEnd is not None:
                    onEnd(*self.ended)

        target = self.outcome.target.key
        self._engine.request(do, handle, run=self._run.key, target=target, structure=self.name, **content)
        return self

    def _keep(self, change: list) -> None:
        """Note a change that can be undone, and show it in the scene's tables."""
        self._changes.append(change)
        self._run.tellAgain()

    def _put(self, outcome: Outcome, event: dict, change: list) -> None:
        """Put a slice from the worker into a result, and what was there into the change."""
        from adaptsam.worker import wire_format as wire

        self.check(outcome)
        mask, report = wire.unpack_mask(event["mask"]), outcome.reports[self.segmentId]
        was = {**report, "slices": [dict(one) for one in report["slices"]]}
        change.append((outcome, event["index"], self._replace(outcome, event["index"], mask), was))
        results.setSlice(report, event, bool(mask.any()))
        whole = segments.readMask(outcome.segmentationNode, self.segmentId, outcome.target.volumeNode)
        results.setAmount(report, int(whole.sum()), outcome.target.volumeNode)

    def _replace(self, outcome: Outcome, index: int, mask: np.ndarray) -> np.ndarray:
        """One slice of a result; returns what was there."""
        volumeNode = outcome.target.volumeNode
        before = segments.replaceSlice(outcome.segmentationNode, self.segmentId, volumeNode, self.axis, index, mask)
        self._run.keepItem(outcome)
        return before
