"""Correcting a result: prompts are markups, a drawn slice teaches its neighbours, and nothing is encoded again."""

import numpy as np
import slicer
from AdaptSAMLib import geometry, results, segments
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _

#: Millimetres up to which a point counts as the one that was there before.
SAME_PLACE = 0.5

COLORS = {1: (0.2, 0.9, 0.2), 0: (0.95, 0.2, 0.2)}


class Correction:
    """One structure of one finished target.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        run: the run that the outcome came from.
        outcome: AdaptSAMLib.results.Outcome.
        segmentId: which structure.
    """

    def __init__(self, engine, run, outcome, segmentId: str) -> None:
        self.outcome, self.segmentId, self.name = outcome, segmentId, run.names[segmentId]
        self._engine, self._run = engine, run
        self._axis = outcome.reports[segmentId]["slice_axis"]
        self._undo: list = []
        self._placed: dict = {}
        self.prompts: dict = {}
        self.ended = None

    @property
    def volumeNode(self):
        return self.outcome.target.volumeNode

    def showPrompts(self) -> None:
        """Put the prompts of all slices into two lists of markups, positive and negative."""
        self.hidePrompts()
        for label in (1, 0):
            kind = _("positive") if label else _("negative")
            title = f"{self.name} {kind} {self.outcome.target.title}"
            node = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLMarkupsFiducialNode", slicer.mrmlScene.GenerateUniqueName(title)
            )
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetSelectedColor(*COLORS[label])
            display.SetColor(*COLORS[label])
            display.SetPointLabelsVisibility(False)
            display.SetGlyphScale(2.0)
            self.prompts[label] = node
        for one in self.outcome.reports[self.segmentId]["slices"]:
            if one["accepted"] or one["interpolated"]:
                self._add(one["index"], one["points"], one["labels"])

    def hidePrompts(self) -> None:
        """Take the markups out of the scene."""
        for node in self.prompts.values():
            if node.GetScene() is slicer.mrmlScene:
                slicer.mrmlScene.RemoveNode(node)
        self.prompts.clear()
        self._placed.clear()

    def currentSlice(self, ras) -> int:
        """The slice of the target that a position of the world lies on."""
        at = geometry.voxelOfWorld(self.volumeNode, ras)[2 - self._axis]
        return int(np.clip(np.rint(at), 0, self._depth() - 1))

    def rerun(self, index: int, onEnd=None) -> "Correction":
        """The slice again, from the markups that lie on it."""
        points, labels, clicked = self._promptsOn(index)
        if not (labels == 1).any():
            raise InputProblem(
                _("Slice {index} has no positive prompt of {name}; place one on the structure.").format(
                    index=index, name=self.name
                )
            )
        return self._ask(
            "correct", onEnd, index=index, points=points.tolist(), labels=labels.tolist(), clicked=clicked.tolist()
        )

    def follow(self, index: int, reach: int, onEnd=None) -> "Correction":
        """The neighbours of a slice, up to ``reach`` on both sides, from how the structure is drawn on it now."""
        whole = segments.readMask(self.outcome.segmentationNode, self.segmentId, self.volumeNode)
        mask = whole.take(index, axis=self._axis)
        if geometry.isColor(self.volumeNode):
            return self._ask("follow", onEnd, index=index, mask=mask, targets=self._framesAround(reach))
        indices = [index + step for step in range(-reach, reach + 1) if step and 0 <= index + step < self._depth()]
        return self._ask("follow", onEnd, index=index, mask=mask, indices=indices)

    def _framesAround(self, reach: int) -> list:
        """The keys of the frames before and after this one in its video."""
        own = self.outcome.target
        others = [one.target for one in self._run.outcomes if one.target.sequenceNode is own.sequenceNode is not None]
        return [one.key for one in others if 0 < abs(one.item - own.item) <= reach]

    def wait(self) -> "Correction":
        """Until the worker has answered; raises InputProblem if it could not."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def undo(self) -> bool:
        """Take the last correction back; whether there was one."""
        if not self._undo:
            return False
        for outcome, index, before in reversed(self._undo.pop()):
            self._replace(outcome, index, before)
        return True

    def _replace(self, outcome, index: int, mask):
        """One slice of a result; returns what was there."""
        volumeNode = outcome.target.volumeNode
        before = segments.replaceSlice(outcome.segmentationNode, self.segmentId, volumeNode, self._axis, index, mask)
        self._run.keepItem(outcome)
        return before

    def _ask(self, do: str, onEnd, **content) -> "Correction":
        self.ended, step = None, []

        def handle(event: dict) -> None:
            kind = event["event"]
            if kind == "slice":
                step.append(self._take(event))
            elif kind in ("done", "cancelled", "error", "lost"):
                if step:
                    self._undo.append(step)
                self.ended = ("done", "") if kind == "done" else ("error", event.get("message", _("Cancelled.")))
                if onEnd is not None:
                    onEnd(*self.ended)

        target = self.outcome.target.key
        self._engine.request(do, handle, run=self._run.key, target=target, structure=self.name, **content)
        return self

    def _take(self, event: dict):
        from adaptsam.worker import wire

        key, index, mask = event.get("target", self.outcome.target.key), event["index"], wire.unpack_mask(event["mask"])
        outcome = next(one for one in self._run.outcomes if one.target.key == key)
        before = self._replace(outcome, index, mask)
        results.setSlice(outcome.reports[self.segmentId], event, bool(mask.any()))
        if self.prompts and outcome is self.outcome:
            self._clear(index)
            self._add(index, event["points"], event["labels"])
        return outcome, index, before

    def _add(self, index: int, points, labels) -> None:
        placed = self._placed.setdefault(index, [])
        for point, label in zip(points, labels):
            voxel = np.insert(np.asarray(point, float), 2 - self._axis, index)
            ras = geometry.worldOfVoxel(self.volumeNode, voxel)
            self.prompts[label].AddControlPointWorld(*ras)
            placed.append((label, ras))

    def _clear(self, index: int) -> None:
        for node in self.prompts.values():
            for number in reversed(range(node.GetNumberOfControlPoints())):
                if self.currentSliceExactly(node, number) == index:
                    node.RemoveNthControlPoint(number)
        self._placed.pop(index, None)

    def currentSliceExactly(self, node, number: int) -> int:
        """The slice of a control point, also outside of the volume."""
        ras = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(number, ras)
        return round(float(geometry.voxelOfWorld(self.volumeNode, ras)[2 - self._axis]))

    def _promptsOn(self, index: int):
        """Points in voxels of the slice (faster axis first), labels, and which a person placed or moved."""
        points, labels, clicked = [], [], []
        known = self._placed.get(index, [])
        for label, node in self.prompts.items():
            for number in range(node.GetNumberOfControlPoints()):
                if self.currentSliceExactly(node, number) != index:
                    continue
                ras = [0.0, 0.0, 0.0]
                node.GetNthControlPointPositionWorld(number, ras)
                points.append(np.delete(geometry.voxelOfWorld(self.volumeNode, ras), 2 - self._axis))
                labels.append(label)
                clicked.append(
                    not any(one == label and np.linalg.norm(np.subtract(ras, was)) < SAME_PLACE for one, was in known)
                )
        return np.array(points).reshape(-1, 2), np.array(labels, int), np.array(clicked, bool)

    def _depth(self) -> int:
        return self.volumeNode.GetImageData().GetDimensions()[2 - self._axis]
