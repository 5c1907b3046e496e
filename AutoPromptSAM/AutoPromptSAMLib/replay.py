"""What an agent did on one slice, step by step: prompts as markups, masks as a segment. The model is not asked."""

import numpy as np
import slicer
from AdaptSAMLib import geometry, results, segments
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _

POSITIVE, NEGATIVE = (0.2, 0.9, 0.2), (0.95, 0.2, 0.2)


class Replay:
    """One structure of one finished target, slice by slice.

    The prompts are one list of markups in the order in which they were given: selected points are positive (green), the
    others negative (red). The result changes only with :meth:`accept` and :meth:`goOn`.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        run: AutoPromptSAMLib.run.Run.
        outcome: AdaptSAMLib.results.Outcome.
        segmentId: which structure.
    """

    def __init__(self, engine, run, outcome, segmentId: str) -> None:
        self.outcome, self.segmentId, self.name = outcome, segmentId, run.names[segmentId]
        self._engine, self._run = engine, run
        self._undo: list = []
        self.index = self.step = 0
        self.markups = self.preview = None
        self.ended = None

    @property
    def volumeNode(self):
        return self.outcome.target.volumeNode

    @property
    def slices(self) -> list:
        """The slices that the agent looked at."""
        return sorted(self._run.played.get((self.outcome.target.key, self.segmentId), {}))

    @property
    def played(self) -> dict:
        """What the agent did on the slice that is shown."""
        return self._run.played[self.outcome.target.key, self.segmentId][self.index]

    @property
    def steps(self) -> int:
        """How many masks the slice that is shown has."""
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
            voxel = np.insert(np.asarray(point, float), 2 - played["axis"], index)
            number = self.markups.AddControlPointWorld(*(float(one) for one in self._world(voxel)))
            self.markups.SetNthControlPointSelected(number, label == 1)
            self.markups.SetNthControlPointLabel(number, str(number + 1))
        self.markups.EndModify(modifying)
        self._showMask(self.mask())

    def mask(self):
        """The mask after the step that is shown, bool, a slice of the volume's array."""
        from adaptsam.worker import wire

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

    def goOn(self, play: bool = True, onEnd=None) -> "Replay":
        """From the prompts as they are in the scene now: the agent adds its own, and the result follows.

        Args:
            play: False decodes the prompts alone.
            onEnd: called with "done" or "error", and a sentence.
        """
        points, labels = self._prompts()
        if not len(points):
            raise InputProblem(
                _("Slice {index} has no prompt of {name}; place one on it.").format(index=self.index, name=self.name)
            )
        self.ended = None

        def handle(event: dict) -> None:
            kind = event["event"]
            if kind == "slice":
                self._run.keep(self.outcome.target.key, event)
                self._put(event)
                self.show(event["index"])
            elif kind in ("done", "cancelled", "error", "lost"):
                self.ended = ("done", "") if kind == "done" else ("error", event.get("message", _("Cancelled.")))
                if onEnd is not None:
                    onEnd(*self.ended)

        self._engine.request(
            "go_on",
            handle,
            run=self._run.key,
            target=self.outcome.target.key,
            structure=self.name,
            index=self.index,
            points=points.tolist(),
            labels=labels.tolist(),
            play=play,
        )
        return self

    def wait(self) -> "Replay":
        """Until the worker has answered; raises InputProblem if it could not."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def accept(self) -> None:
        """The mask of the step that is shown becomes the result of the slice."""
        count = self._countAt(self.step)
        played = self.played
        self._put(
            {
                **played,
                "points": played["points"][:count],
                "labels": played["labels"][:count],
                "mask": played["steps"][self.step],
            }
        )

    def undo(self) -> bool:
        """Take the last change of the result back; whether there was one."""
        if not self._undo:
            return False
        index, before, report = self._undo.pop()
        node = self.outcome.segmentationNode
        segments.replaceSlice(node, self.segmentId, self.volumeNode, self.played["axis"], index, before)
        self.outcome.reports[self.segmentId]["slices"][:] = report
        self._run.keepItem(self.outcome)
        return True

    def _put(self, event: dict) -> None:
        from adaptsam.worker import wire

        mask, report = wire.unpack_mask(event["mask"]), self.outcome.reports[self.segmentId]
        kept = [dict(one) for one in report["slices"]]
        node, index = self.outcome.segmentationNode, event["index"]
        before = segments.replaceSlice(node, self.segmentId, self.volumeNode, event["axis"], index, mask)
        self._undo.append((index, before, kept))
        results.setSlice(report, event, bool(mask.any()))
        self._run.keepItem(self.outcome)

    def _countAt(self, step: int) -> int:
        """How many prompts were there at a step: the first pair is one step."""
        return max(1, self.played["first"]) + step

    def _ensureNodes(self) -> None:
        scene = slicer.mrmlScene
        if self.markups is None or self.markups.GetScene() is not scene:
            title = _("{name}: prompts of the agent").format(name=self.name)
            self.markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", scene.GenerateUniqueName(title))
            self.markups.CreateDefaultDisplayNodes()
            display = self.markups.GetDisplayNode()
            display.SetSelectedColor(*POSITIVE)
            display.SetColor(*NEGATIVE)
            display.SetGlyphScale(2.0)
        if self.preview is None or self.preview.GetScene() is not scene:
            self.preview = segments.newSegmentation(
                self.volumeNode, _("{name}: step of the agent").format(name=self.name)
            )

    def _showMask(self, mask: np.ndarray) -> None:
        axis = self.played["axis"]
        inner, first = segments.cropped(np.expand_dims(mask, axis))
        first = list(first)
        first[2 - axis] += self.index
        prototype = slicer.vtkSegment()
        prototype.SetName(self.name)
        prototype.SetColor(1.0, 0.9, 0.2)
        segments.setSegment(self.preview, "step", prototype, inner, first, self.volumeNode)

    def _world(self, voxel) -> np.ndarray:
        return geometry.worldOfVoxel(self.volumeNode, voxel)

    def _prompts(self):
        """Points of the shown slice (faster axis first) and labels, in the markups' order."""
        axis = self.played["axis"]
        points, labels = [], []
        for number in range(self.markups.GetNumberOfControlPoints()):
            ras = [0.0, 0.0, 0.0]
            self.markups.GetNthControlPointPositionWorld(number, ras)
            voxel = geometry.voxelOfWorld(self.volumeNode, ras)
            if round(float(voxel[2 - axis])) == self.index:
                points.append(np.delete(voxel, 2 - axis))
                labels.append(int(self.markups.GetNthControlPointSelected(number)))
        return np.array(points).reshape(-1, 2), np.array(labels, int)
