"""One run: what all modules' runs have in common. Its results appear in the scene as they come; nothing waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import patients, results, segments, tables
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.job import Job
from AdaptSAMLib.results import Outcome, Target

#: Seconds between two surfaces of a segment that grows: making one of a lung takes a while.
SURFACE_EVERY = 3.0


class BaseRun(Job):
    """Asks the worker for structures in images, and puts them into the scene.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        targets: AdaptSAMLib.results.Target.
        title: what the new segmentations' names begin with.
        names: segment IDs to names, in order.
        prototypes: segment IDs to segments with name, colour, terminology and tags.
        settings: of `adaptsam`, by dotted names.
        checkpoint: a file, a name of `adaptsam weights list`, or None for the bundled model.
        device: "auto", "cpu", "cuda", ….
        replaces: an earlier run whose nodes leave the scene when this one is done, but for those that it was asked about.
        onProgress, onEnd: see AdaptSAMLib.job.Job.
        onOutcome: called with each finished target.

    Attributes:
        outcomes: the targets that are finished.
    """

    #: What is said while a stage of the worker's runs.
    stages: dict = {}
    _count = 0

    def __init__(
        self,
        engine: Engine,
        targets: list[Target],
        title: str,
        names: dict[str, str],
        prototypes: dict[str, slicer.vtkSegment],
        *,
        settings: dict | None = None,
        checkpoint: str | None = None,
        device: str = "auto",
        replaces: BaseRun | None = None,
        onProgress: Callable[[float, float | None, str], None] | None = None,
        onEnd: Callable[[str, str], None] | None = None,
        onOutcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        BaseRun._count += 1
        self.key = f"run{BaseRun._count}"
        super().__init__(engine, onProgress, onEnd)
        self.targets, self.title, self.names = targets, title, names
        self.outcomes, self.warnings = [], []
        self._settings, self._checkpoint, self._device = dict(settings or {}), checkpoint, device
        self._onOutcome, self._replaces = onOutcome, replaces
        self._prototypes = prototypes
        self._partial: dict = {}
        self._sequences: dict = {}
        self._surfaceAt = 0.0

    def _content(self, targets: list) -> dict:
        """Content of every request for a run; ``targets`` as they were described."""
        how = {"settings": self._settings, "checkpoint": self._checkpoint, "device": self._device}
        return {"run": self.key, "targets": targets, **how}

    def _summarise(self) -> None:
        """Put tables and plots into the scene, when there is an outcome."""
        raise NotImplementedError

    def _finish(self) -> None:
        if self.cancelling:  # the worker was faster, but the scene was promised to be left as it was
            self._end("cancelled", _("Cancelled."))
            return
        if self.outcomes:
            self._summarise()
            if self._replaces is not None:
                self._replaces.discard(self._inputs())
        self._end("done", " ".join(self.warnings))

    def _inputs(self) -> list:
        """The target nodes of the run."""
        return [one.volumeNode for one in self.targets]

    def discard(self, kept: Iterable[slicer.vtkMRMLNode]) -> None:
        """Take what this run made out of the scene, but for some nodes."""
        self.made = [one for one in self.made if one not in kept]
        self._remove()

    def shownNode(self, outcome: Outcome) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation of an outcome as a node of the scene; of a sequence, the one that its browser shows."""
        target = outcome.target
        if target.browserNode is None:
            return outcome.segmentationNode
        return target.browserNode.GetProxyNode(self.sequenceOf(target))

    @staticmethod
    def shownImage(outcome: Outcome) -> slicer.vtkMRMLVolumeNode | None:
        """The image of an outcome as a node of the scene; of a sequence, the one that its browser shows."""
        target = outcome.target
        return target.volumeNode if target.browserNode is None else target.browserNode.GetProxyNode(target.sequenceNode)

    def sequenceOf(self, target: results.Target) -> slicer.vtkMRMLSequenceNode | None:
        """The sequence of segmentations that a target's result is kept in; None for a volume of the scene."""
        return self._sequences.get(target.sequenceNode.GetID()) if target.sequenceNode is not None else None

    def tellAgain(self) -> None:
        """Tables and plots of the scene as the reports are after a change."""
        for node in self.made:
            if node.GetScene() is slicer.mrmlScene and node.GetAttribute(tables.ROLE):
                tables.tellAgain(node, self.outcomes, self.names)

    def keepItem(self, outcome: Outcome) -> None:
        """Show and keep what was changed in a segmentation that is an item of a sequence."""
        target, sequence = outcome.target, self.sequenceOf(outcome.target)
        if sequence is None:
            return
        sequence.Modified()
        if target.browserNode is not None and target.browserNode.GetSelectedItemNumber() == target.item:
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(target.browserNode)

    def _said(self, event: dict) -> str:
        title = self.targets[event["target"]].title
        text = self.stages.get(event["stage"].rpartition(": ")[2], event["stage"])
        return text.format(title=title, done=event["done"], total=event["total"])

    def _hear(self, event: dict) -> Iterator | None:
        """Masks go into the scene one a step."""
        if self.cancelling:
            return None
        if event["event"] == "partial":
            return self._show(event)
        return self._take(event) if event["event"] == "result" else None

    def _target(self, key: str) -> Target | None:
        """The target of that key, or None if its node was taken out of the scene meanwhile, or got other voxels."""
        target = next(one for one in self.targets if one.key == key)
        return target if results.there(target) else None

    def _show(self, event: dict) -> Iterator:
        """Slices that were just accepted, in the segmentation that will hold the result."""
        from adaptsam.worker import wire_format as wire

        target = self._target(self.targets[event["target"]].key)
        if target is None or target.sequenceNode is not None:
            return
        grown = self._partial.setdefault(target.key, {})
        changed = {one["structure"] for one in event["slices"]}
        for one in event["slices"]:
            mask = grown.setdefault(one["structure"], segments.GrowingMask())
            mask.put(one["axis"], one["index"], *wire.unpack_box(one["mask"]))
        for segmentId, name in self.names.items():
            if name in changed:
                yield
                if not self._wanted(target):
                    return
                self._fill(self._node(target), segmentId, *grown[name].box(), target, self._surfaceDue())

    def _take(self, event: dict) -> Iterator:
        """A finished target."""
        from adaptsam.worker import wire_format as wire

        target = self._target(event["target"])
        self._partial.pop(event["target"], None)
        node = self._node(target) if target is not None else None
        outcome = Outcome(target, node, {}, event["warnings"])
        ids = {name: segmentId for segmentId, name in self.names.items()}
        for one in event["structures"]:
            if not self._wanted(target):
                break
            inner, where = wire.unpack_box(one["mask"])
            segmentId = ids[one["name"]]
            self._fill(node, segmentId, inner, tuple(part.start for part in reversed(where)), target)
            outcome.reports[segmentId] = one["report"]
            yield
        if self.ended is not None or self.cancelling:
            return
        if not self._wanted(target):
            self.warnings.append(
                _("A target was removed from the scene or resampled while it was worked on; its result is left out.")
            )
            return
        if target.sequenceNode is not None:
            outcome.segmentationNode = self._store(target, node)
        self.outcomes.append(outcome)
        self.warnings += [f"{target.title}: {text}" for text in event["warnings"]]
        self._tell(self._onOutcome, outcome)

    def _wanted(self, target: Target | None) -> bool:
        """Whether the run goes on, and the target is still in the scene."""
        return (
            self.ended is None and not self.cancelling and target is not None and self._target(target.key) is not None
        )

    def _fill(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        inner: np.ndarray,
        first: Sequence[int],
        target: Target,
        surfaces: bool = True,
    ) -> None:
        segments.setSegment(node, segmentId, self._prototypes[segmentId], inner, first, target.volumeNode, surfaces)

    def _surfaceDue(self) -> bool:
        due = time.monotonic() - self._surfaceAt > SURFACE_EVERY
        self._surfaceAt = time.monotonic() if due else self._surfaceAt
        return due

    def _end(self, kind: str, message: str) -> None:
        self._partial.clear()
        super()._end(kind, message)

    def _remove(self) -> None:
        self._stopPlaying()
        super()._remove()
        self.outcomes.clear()

    def _stopPlaying(self) -> None:
        """Part the results' sequences from their browsers, which would make proxies anew for what is removed."""
        for sequence in self._sequences.values():
            for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
                if sequence.GetScene() is slicer.mrmlScene and browser.IsSynchronizedSequenceNode(sequence, True):
                    proxy = browser.GetProxyNode(sequence)
                    storage = proxy.GetStorageNode() if proxy is not None else None
                    browser.RemoveSynchronizedSequenceNode(sequence.GetID())
                    if storage is not None:
                        slicer.mrmlScene.RemoveNode(storage)

    def _node(self, target: Target) -> slicer.vtkMRMLSegmentationNode:
        """The segmentation of a target, made when it is first needed."""
        for node in self.made:
            if node.GetAttribute("AdaptSAM.target") == target.key and node.GetScene() is slicer.mrmlScene:
                return node
        name = f"{self.title} {target.title}"
        node = segments.newSegmentation(target.volumeNode, name, inScene=target.sequenceNode is None)
        node.SetAttribute("AdaptSAM.target", target.key)
        if target.sequenceNode is None:
            self.made.append(node)
            patients.putBeside(node, target.volumeNode)
        return node

    def _store(self, target: Target, node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentationNode:
        """Put an item's segmentation into the sequence that is played beside the images; returns the item's own node."""
        sequence = self._sequences.get(target.sequenceNode.GetID())
        if sequence is None:
            sequence = self._sequences[target.sequenceNode.GetID()] = self._newSequence(target)
        stored = sequence.SetDataNodeAtValue(node, target.sequenceNode.GetNthIndexValue(target.item))
        browser = target.browserNode
        if browser is not None and not browser.IsSynchronizedSequenceNode(sequence, False):
            self._playBeside(target, sequence)
        elif browser is not None and browser.GetSelectedItemNumber() == target.item:
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        return stored

    def _newSequence(self, target: Target) -> slicer.vtkMRMLSequenceNode:
        name = slicer.mrmlScene.GenerateUniqueName(f"{self.title} {target.sequenceNode.GetName()}")
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.SetIndexName(target.sequenceNode.GetIndexName())
        sequence.SetIndexUnit(target.sequenceNode.GetIndexUnit())
        sequence.SetIndexType(target.sequenceNode.GetIndexType())
        self.made.append(sequence)
        return sequence

    def _playBeside(self, target: Target, sequence: slicer.vtkMRMLSequenceNode) -> None:
        """Show the items' segmentations with the images; what is edited of one stays with it, and the prior's is empty."""
        browser = target.browserNode
        browser.AddSynchronizedSequenceNode(sequence)
        browser.SetMissingItemMode(sequence, slicer.vtkMRMLSequenceBrowserNode.MissingItemSetToDefault)
        browser.SetSaveChanges(sequence, True)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        proxy, volume = browser.GetProxyNode(sequence), browser.GetProxyNode(target.sequenceNode)
        if proxy is None:
            return
        proxy.CreateDefaultDisplayNodes()
        self.made.append(proxy)
        if volume is not None:
            proxy.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            proxy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
            patients.putBeside(proxy, volume)
