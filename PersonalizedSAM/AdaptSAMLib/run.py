"""One run: what all modules' runs have in common. Its results appear in the scene as they come; nothing waits."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import patients, segments
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Outcome


class BaseRun:
    """Asks the worker for structures in images, and puts them into the scene.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        targets: AdaptSAMLib.results.Target.
        title: what the new segmentations' names begin with.
        names: segment IDs to names, in order.
        prototypes: segment IDs to segments with name, colour, terminology and tags.
        onProgress: called with the share done (0 to 1), seconds to go or None, and a text.
        onEnd: called with "done", "cancelled" or "error", and a sentence.
        onOutcome: called with each finished target.

    Attributes:
        outcomes: the targets that are finished.
        made: all nodes that this run put into the scene.
        ended: None, and at the end what onEnd was told.
    """

    #: What is said while a stage of the worker's runs.
    stages: dict = {}
    _count = 0

    def __init__(self, engine, targets, title, names, prototypes, onProgress=None, onEnd=None, onOutcome=None):
        BaseRun._count += 1
        self.key = f"run{BaseRun._count}"
        self.targets, self.title, self.names = targets, title, names
        self.outcomes, self.made, self.warnings = [], [], []
        self.ended = None
        self._engine, self._number = engine, None
        self._onProgress, self._onEnd, self._onOutcome = onProgress, onEnd, onOutcome
        self._prototypes = prototypes
        self._partial: dict = {}
        self._sequences: dict = {}
        self._saved = False

    def _begin(self):
        """A generator that makes the request in short steps."""
        raise NotImplementedError

    def _summarise(self) -> None:
        """Put tables and plots into the scene, when there is an outcome."""
        raise NotImplementedError

    def _finish(self) -> None:
        if self.outcomes:
            self._summarise()
        self._end("done", " ".join(self.warnings))

    def start(self) -> "BaseRun":
        """Begin; returns at once."""
        self._engine.spawn(self._begin(), self._failed)
        return self

    def cancel(self) -> None:
        """Stop within two seconds, and leave the scene as it was."""
        if self.ended is None and self._number is not None:
            self._engine.cancel(self._number)
        elif self.ended is None:
            self._end("cancelled", _("Cancelled."))

    def abandon(self) -> None:
        """The scene is being closed: stop, and touch no node any more."""
        self.made.clear()
        if self._number is not None:
            self._engine.cancel(self._number)
        if self.ended is None:
            self.ended = ("cancelled", _("The scene was closed."))
            self._tell(self._onEnd, *self.ended)

    def wait(self) -> "BaseRun":
        """Until it has ended, with the window alive; raises InputProblem with the sentence if it failed."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended and self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def sequenceOf(self, target):
        """The sequence of segmentations that a target's result is kept in; None for a volume of the scene."""
        return self._sequences.get(target.sequenceNode.GetID()) if target.sequenceNode is not None else None

    def keepItem(self, outcome) -> None:
        """Put what was changed in a segmentation back into its sequence, if it comes from one."""
        target, sequence = outcome.target, self.sequenceOf(outcome.target)
        if sequence is None:
            return
        sequence.UpdateDataNodeAtValue(outcome.segmentationNode, target.sequenceNode.GetNthIndexValue(target.item))
        if target.browserNode is not None:
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(target.browserNode)

    def _handle(self, event: dict) -> None:
        if self.ended is not None:
            return
        kind = event["event"]
        if kind == "progress":
            title = self.targets[event["target"]].title
            text = self.stages.get(event["stage"].rpartition(": ")[2], event["stage"])
            self._progress(
                event["share"], event["remaining"], text.format(title=title, done=event["done"], total=event["total"])
            )
        elif kind == "partial":
            self._show(event)
        elif kind == "result":
            self._take(event)
        elif kind == "done":
            self._finish()
        elif kind == "cancelled":
            self._end("cancelled", _("Cancelled."))
        elif kind in ("error", "lost"):
            self._end("error", event["message"])

    def _failed(self, message: str) -> None:
        if self.ended is None:
            self._end("error", message)

    def _progress(self, share: float, remaining, text: str) -> None:
        self._tell(self._onProgress, share, remaining, text)

    def _target(self, key: str):
        """The target of that key, or None if its node was taken out of the scene meanwhile."""
        target = next(one for one in self.targets if one.key == key)
        node = target.sequenceNode or target.volumeNode
        return target if node.GetScene() is not None and node.GetScene() is slicer.mrmlScene else None

    def _show(self, event: dict) -> None:
        """Slices that were just accepted, in the segmentation that will hold the result."""
        from adaptsam.worker import wire

        target = self._target(self.targets[event["target"]].key)
        if target is None or target.sequenceNode is not None:
            return
        node = self._node(target)
        grown = self._partial.setdefault(target.key, {})
        shape = tuple(reversed(target.volumeNode.GetImageData().GetDimensions()))
        changed = set()
        for one in event["slices"]:
            mask = grown.setdefault(one["structure"], np.zeros(shape, bool))
            mask[tuple(one["index"] if axis == one["axis"] else slice(None) for axis in range(3))] = wire.unpack_mask(
                one["mask"]
            )
            changed.add(one["structure"])
        for segmentId, name in self.names.items():
            if name in changed:
                inner, first = segments.cropped(grown[name])
                segments.setSegment(node, segmentId, self._prototypes[segmentId], inner, first, target.volumeNode)

    def _take(self, event: dict) -> None:
        """A finished target."""
        from adaptsam.worker import wire

        target = self._target(event["target"])
        self._partial.pop(event["target"], None)
        if target is None:
            self.warnings.append(
                _("A target was removed from the scene while it was worked on; its result is left out.")
            )
            return
        node = self._node(target)
        outcome = Outcome(target, node, {}, event["warnings"])
        ids = {name: segmentId for segmentId, name in self.names.items()}
        for one in event["structures"]:
            segmentId = ids[one["name"]]
            inner, where = wire.unpack_box(one["mask"])
            first = tuple(part.start for part in reversed(where))
            segments.setSegment(node, segmentId, self._prototypes[segmentId], inner, first, target.volumeNode)
            outcome.reports[segmentId] = one["report"]
        if target.sequenceNode is not None:
            self._store(target, node)
        self.outcomes.append(outcome)
        self.warnings += [f"{target.title}: {text}" for text in event["warnings"]]
        self._tell(self._onOutcome, outcome)

    def _end(self, kind: str, message: str) -> None:
        if kind != "done":
            self._remove()
        self._partial.clear()
        self.ended = (kind, message)
        self._tell(self._onEnd, kind, message)

    def _remove(self) -> None:
        """Everything that this run made, out of the scene; what others made stays."""
        for node in reversed(self.made):
            if node.GetScene() is slicer.mrmlScene:
                display = node.GetDisplayNode() if hasattr(node, "GetDisplayNode") else None
                slicer.mrmlScene.RemoveNode(node)
                if display is not None and display.GetScene() is slicer.mrmlScene:
                    slicer.mrmlScene.RemoveNode(display)
        self.made.clear()
        self.outcomes.clear()

    def _node(self, target):
        """The segmentation of a target, made when it is first needed: the one step that undo takes back."""
        if not self._saved:
            slicer.mrmlScene.SaveStateForUndo()
            self._saved = True
        for node in self.made:
            if node.GetAttribute("AdaptSAM.target") == target.key:
                return node
        name = f"{self.title} {target.title}"
        node = segments.newSegmentation(target.volumeNode, name, inScene=target.sequenceNode is None)
        node.SetAttribute("AdaptSAM.target", target.key)
        if target.sequenceNode is None:
            self.made.append(node)
            patients.putBeside(node, target.volumeNode)
        return node

    def _store(self, target, node) -> None:
        """Put an item's segmentation into the sequence that is played beside the images."""
        sequence = self._sequences.get(target.sequenceNode.GetID())
        if sequence is None:
            name = f"{self.title} {target.sequenceNode.GetName()}"
            sequence = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(name)
            )
            sequence.SetIndexName(target.sequenceNode.GetIndexName())
            sequence.SetIndexUnit(target.sequenceNode.GetIndexUnit())
            sequence.SetIndexType(target.sequenceNode.GetIndexType())
            self._sequences[target.sequenceNode.GetID()] = sequence
            self.made.append(sequence)
        sequence.SetDataNodeAtValue(node, target.sequenceNode.GetNthIndexValue(target.item))
        if target.browserNode is not None and not target.browserNode.IsSynchronizedSequenceNode(sequence, False):
            target.browserNode.AddSynchronizedSequenceNode(sequence)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(target.browserNode)
            proxy = target.browserNode.GetProxyNode(sequence)
            if proxy is not None:
                proxy.CreateDefaultDisplayNodes()
                self.made.append(proxy)

    @staticmethod
    def _tell(callback, *values) -> None:
        if callback is not None:
            callback(*values)
