"""One run: from the prior to all targets, without waiting; its results appear in the scene as they come."""

import numpy as np
import slicer
from AdaptSAMLib import geometry, patients, results, segments
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Outcome
from slicer.i18n import tr as _

from PersonalizedSAMLib import inputs


class Run:
    """Carries segments of a prior to targets, in the worker.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        prior: volume node.
        segmentation: segmentation node, on the prior or on any other grid.
        chosen: segment IDs.
        targets: volume nodes and sequence nodes.
        settings: of `adaptsam`, by dotted names, as {"p2sam.positives": [1, 3]}.
        checkpoint: a file, a name of `adaptsam weights list`, or None for the bundled model.
        device: "auto", "cpu", "cuda", ….
        onProgress: called with the share done (0 to 1), seconds to go or None, and a text.
        onEnd: called with "done", "cancelled" or "error", and a sentence.

    Attributes:
        outcomes: the targets that are finished.
        made: all nodes that this run put into the scene.
        ended: None, and at the end what onEnd was told.
    """

    _count = 0

    def __init__(
        self,
        engine,
        prior,
        segmentation,
        chosen,
        targets,
        settings=None,
        checkpoint=None,
        device="auto",
        onProgress=None,
        onEnd=None,
        onOutcome=None,
    ):
        message = inputs.problem(prior, segmentation, chosen, targets)
        if message:
            raise InputProblem(message)
        Run._count += 1
        self.key = f"run{Run._count}"
        self.prior, self.segmentation, self.chosen = prior, segmentation, list(chosen)
        self.targets = self._withoutPrior(inputs.expand(targets))
        self.names = {one: name for one, name in segments.segmentNames(segmentation).items() if one in self.chosen}
        self.outcomes, self.made, self.warnings = [], [], []
        self.priorVolumes: dict = {}
        self.ended = None
        self._engine, self._number = engine, None
        # On frames, clean-up lowered the Dice: adaptsam.propagate_video leaves it out, too.
        frames = {"cleanup": False} if geometry.isColor(prior) else {}
        self._settings, self._checkpoint, self._device = {**frames, **(settings or {})}, checkpoint, device
        self._onProgress, self._onEnd, self._onOutcome = onProgress, onEnd, onOutcome
        self._prototypes = self._copiedSegments()
        self._partial: dict = {}
        self._sequences: dict = {}
        self._saved = False

    def start(self) -> "Run":
        """Begin; returns at once."""
        self._engine.spawn(self._begin())
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

    def wait(self) -> "Run":
        """Until it has ended, with the window alive; raises InputProblem with the sentence if it failed."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended and self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def sequenceOf(self, target):
        """The sequence of segmentations that a target's result is kept in; None for a volume of the scene."""
        return self._sequences.get(target.sequenceNode.GetID()) if target.sequenceNode is not None else None

    def _begin(self):
        """Reads one structure a step, then asks the worker."""
        structures = []
        try:
            for _segmentId, name, mask in inputs.masks(self.prior, self.segmentation, self.chosen):
                structures.append({"name": name, "mask": mask})
                yield
                if self.ended is not None:
                    return
            for one in self.targets:
                if geometry.isColor(one.volumeNode) != geometry.isColor(self.prior):
                    raise InputProblem(
                        _("{name} and {prior} must both be in colour or both in gray values.").format(
                            name=one.title, prior=self.prior.GetName()
                        )
                    )
            content = {
                "run": self.key,
                "prior": self._described(self.prior),
                "structures": structures,
                "targets": [{**self._described(one.volumeNode), "key": one.key} for one in self.targets],
                "settings": self._settings,
                "checkpoint": self._checkpoint,
                "device": self._device,
            }
        except InputProblem as error:
            self._end("error", str(error))
            return
        self._progress(0.0, None, _("Starting"))
        self._number = self._engine.request("propagate", self._handle, **content)

    def _described(self, volumeNode) -> dict:
        kind = patients.modality(volumeNode) or patients.modality(self.prior)
        if not kind and not geometry.isColor(volumeNode) and self._looksLikeCT():
            kind = "CT"
        return {"array": geometry.pixels(volumeNode), "geometry": geometry.grid(volumeNode), "modality": kind}

    def _looksLikeCT(self) -> bool:
        """Whether values reach down to air in Hounsfield units, which nobody else's do."""
        low, high = self.prior.GetImageData().GetScalarRange()
        return low <= -500 and high <= 32767

    def _handle(self, event: dict) -> None:
        if self.ended is not None:
            return
        kind = event["event"]
        if kind == "progress":
            title = self.targets[event["target"]].title
            stages = {
                "prior": _("Learning from the prior"),
                "register": _("Registering {title}"),
                "segment": _("{title}: slice {done} of {total}"),
            }
            text = stages.get(event["stage"].rpartition(": ")[2], event["stage"])
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
            self.priorVolumes[segmentId] = one["report"]["prior_volume_cm3"]
        if target.sequenceNode is not None:
            self._store(target, node)
        self.outcomes.append(outcome)
        self.warnings += [f"{target.title}: {text}" for text in event["warnings"]]
        self._tell(self._onOutcome, outcome)

    def _finish(self) -> None:
        if self.outcomes:
            title = _("{name} carried on").format(name=self.segmentation.GetName())
            self.made.append(results.makeTable(self.outcomes, self.names, title))
            if len(self.outcomes) > 1:
                segmentation = self.segmentation.GetSegmentation()
                if all(segmentation.GetSegment(one) for one in self.names):
                    self.made += results.makePlot(
                        self.outcomes, self.names, self.priorVolumes, segmentation, title + ": " + _("volumes")
                    )
        self._end("done", " ".join(self.warnings))

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
        name = f"{self.segmentation.GetName()} {target.title}"
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
            name = f"{self.segmentation.GetName()} {target.sequenceNode.GetName()}"
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

    def _copiedSegments(self) -> dict:
        """Names, colours, terminology and tags as they are now, so that nobody can take them away during the run."""
        copies = {}
        for segmentId in self.chosen:
            copies[segmentId] = slicer.vtkSegment()
            copies[segmentId].DeepCopyMetadata(self.segmentation.GetSegmentation().GetSegment(segmentId))
        return copies

    def _withoutPrior(self, targets: list) -> list:
        """Of a sequence that the prior is shown from, the other items."""
        kept = [
            one
            for one in targets
            if one.sequenceNode is None or inputs.itemOf(self.prior, one.sequenceNode) != one.item
        ]
        if not kept:
            raise InputProblem(_("The only target is the prior itself; tick another image."))
        return kept

    @staticmethod
    def _tell(callback, *values) -> None:
        if callback is not None:
            callback(*values)
