"""Correcting a result: prompts are markups, a drawn slice teaches its neighbours, and nothing is encoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
from AdaptSAMLib import geometry, prompts, segments
from AdaptSAMLib.edit import Edit
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _

#: Millimetres up to which a point counts as the one that was there before.
SAME_PLACE = 0.5

COLORS = {1: prompts.POSITIVE, 0: prompts.NEGATIVE}


class Correction(Edit):
    """One structure of one finished target; its arguments are those of AdaptSAMLib.edit.Edit.

    Attributes:
        prompts: labels (1 positive, 0 negative) to lists of markups, while they are shown.
        shown: the slice whose prompts are in them; None where there are none.
    """

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._placed: list = []  # labels and places of the points that are shown and were not moved
        self._clicked: dict = {}
        self.prompts: dict = {}
        self.shown = None

    def showPrompts(self, index: int) -> None:
        """Put the prompts of a slice, and of no other, into two lists of markups, positive and negative."""
        if not self.prompts or not self._listed():
            self.hidePrompts()
            for label in (1, 0):
                kind = _("positive") if label else _("negative")
                title = f"{self.name} {kind} {self.outcome.target.title}"
                node = self.prompts[label] = prompts.newList(title, COLORS[label], COLORS[label])
                node.GetDisplayNode().SetPointLabelsVisibility(False)
        self.shown = index
        known = (one for one in self.outcome.reports[self.segmentId]["slices"] if one["index"] == index)
        one = next((one for one in known if one["accepted"] or one["interpolated"]), None)
        self._fill(one or {"index": index, "points": [], "labels": []})

    def _listed(self) -> bool:
        return all(node.GetScene() is slicer.mrmlScene for node in self.prompts.values())

    def hidePrompts(self) -> None:
        """Take the markups out of the scene."""
        for node in self.prompts.values():
            if node.GetScene() is slicer.mrmlScene:
                slicer.mrmlScene.RemoveNode(node)
        self.prompts.clear()
        self._placed.clear()
        self.shown = None

    def normal(self) -> np.ndarray:
        """The direction of the world, of length 1, in which the slices of the target follow each other."""
        column = geometry.ijkToWorld(self.volumeNode)[:3, 2 - self.axis]
        return column / np.linalg.norm(column)

    def currentSlice(self, ras: Sequence[float]) -> int:
        """The slice of the target that a position of the world lies on."""
        at = geometry.voxelOfWorld(self.volumeNode, ras)[2 - self.axis]
        return int(np.clip(np.rint(at), 0, self._depth() - 1))

    def rerun(self, index: int, onEnd: Callable[[str, str], None] | None = None) -> Correction:
        """The slice again, from the markups that lie on it."""
        if not self.prompts or not self._listed():
            raise InputProblem(_("The prompts were removed from the scene; press + structure again."))
        points, labels, clicked = self._promptsOn(index)
        if not (labels == 1).any():
            raise InputProblem(
                _("Slice {index} has no positive prompt of {name}; place one on the structure.").format(
                    index=index, name=self.name
                )
            )
        self._clicked[index] = clicked.tolist()
        return self._ask(
            "correct", onEnd, index=index, points=points.tolist(), labels=labels.tolist(), clicked=clicked.tolist()
        )

    def follow(self, index: int, reach: int, onEnd: Callable[[str, str], None] | None = None) -> Correction:
        """The neighbours of a slice, up to ``reach`` on both sides, from how the structure is drawn on it now."""
        self.check(self.outcome)
        self._clicked.clear()
        whole = segments.readMask(self.outcome.segmentationNode, self.segmentId, self.volumeNode)
        mask = whole.take(index, axis=self.axis)
        if geometry.isColor(self.volumeNode):
            return self._ask("follow", onEnd, index=index, mask=mask, targets=self._framesAround(reach))
        indices = [index + step for step in range(-reach, reach + 1) if step and 0 <= index + step < self._depth()]
        return self._ask("follow", onEnd, index=index, mask=mask, indices=indices)

    def _framesAround(self, reach: int) -> list:
        """The keys of the frames before and after this one in its video."""
        own = self.outcome.target
        others = [one.target for one in self._run.outcomes if one.target.sequenceNode is own.sequenceNode is not None]
        return [one.key for one in others if 0 < abs(one.item - own.item) <= reach]

    def _hear(self, event: dict, change: list) -> None:
        key, index = event.get("target", self.outcome.target.key), event["index"]
        outcome = next(one for one in self._run.outcomes if one.target.key == key)
        known = event | {"clicked": self._clicked.get(index, []) if outcome is self.outcome else []}
        self._put(outcome, known, change)
        if self.prompts and self._listed() and outcome is self.outcome and index == self.shown:
            self._fill(known)

    def _fill(self, one: dict) -> None:
        """The prompts of a slice into the lists, each in one modification; those that a person placed stay so."""
        points, labels = one["points"], one["labels"]
        modifying = {label: node.StartModify() for label, node in self.prompts.items()}
        for node in self.prompts.values():
            node.RemoveAllControlPoints()
        self._placed.clear()
        for point, label, clicked in zip(points, labels, one.get("clicked") or [False] * len(points)):
            _number, ras = prompts.place(self.prompts[label], self.volumeNode, self.axis, one["index"], point)
            if not clicked:
                self._placed.append((label, ras))
        for label, node in self.prompts.items():
            node.EndModify(modifying[label])

    def _promptsOn(self, index: int) -> tuple[list, list, list]:
        """Points in voxels of the slice (faster axis first), labels, and which a person placed or moved."""
        points, labels, clicked = [], [], []
        for label, node in self.prompts.items():
            for _number, point, ras in prompts.onSlice(node, self.volumeNode, self.axis, index):
                points.append(point)
                labels.append(label)
                clicked.append(
                    not any(
                        one == label and np.linalg.norm(np.subtract(ras, was)) < SAME_PLACE for one, was in self._placed
                    )
                )
        return np.array(points).reshape(-1, 2), np.array(labels, int), np.array(clicked, bool)

    def _depth(self) -> int:
        return self.volumeNode.GetImageData().GetDimensions()[2 - self.axis]
