"""A run of PersonalizedSAM: from the prior to all targets."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import slicer
from AdaptSAMLib import display, geometry, images, results, segments, tables
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Target
from AdaptSAMLib.run import BaseRun
from slicer.i18n import tr as _

from PersonalizedSAMLib import inputs

#: Settings that mean nothing for frames, which have no place in space and no window.
_OF_VOLUMES = ("pairing", "register", "window", "location_prior", "fusion")


class Run(BaseRun):
    """Carries segments of a prior to targets, in the worker.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        prior: volume node.
        segmentation: segmentation node, on the prior or on any other grid.
        chosen: segment IDs.
        targets: volume nodes and sequence nodes.
        how: settings, checkpoint, device and callbacks of AdaptSAMLib.run.BaseRun.
    """

    stages = {
        "prior": _("Learning from the contours"),
        "register": _("Registering {title}"),
        "segment": _("{title}: slice {done} of {total}"),
    }

    def __init__(
        self,
        engine: Engine,
        prior: slicer.vtkMRMLVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        chosen: Sequence[str],
        targets: Sequence[slicer.vtkMRMLNode],
        **how: Any,
    ) -> None:
        inputs.check(prior, segmentation, chosen, targets)
        self.prior, self.segmentation, self.chosen = prior, segmentation, list(chosen)
        self._shown, self._restore = images.shownFrom(prior), None
        names = {one: name for one, name in segments.segmentNames(segmentation).items() if one in self.chosen}
        wanted = self._withoutPrior(images.expand(targets))
        super().__init__(engine, wanted, segmentation.GetName(), names, self._copiedSegments(), **how)
        if self._video:
            self._settings = {key: value for key, value in self._settings.items() if key not in _OF_VOLUMES}
            self.stages = {"prior": _("Learning from the outlined frame"), "segment": _("Frame {done} of {total}")}

    @property
    def _video(self) -> bool:
        return geometry.isColor(self.prior)

    def _describe(self) -> Generator[None, None, tuple[str, dict]]:
        """One structure or image a step."""
        structures, targets, kind = [], [], images.modality(self.prior)
        prior = images.described(self.prior, kind)  # before another item of its sequence may be shown
        for read in inputs.masks(self.prior, self.segmentation, self.chosen):
            if read is not None:
                structures.append({"name": read[1], "mask": read[2]})
            yield
        for one in self.targets:
            images.checkKind(one.volumeNode, self.prior, one.title)
            targets.append({**images.described(one.volumeNode, kind), "key": one.key})
            yield
        content = {**self._content(targets), "prior": prior, "structures": structures}
        return ("track", {**content, "drawn": self._drawn()}) if self._video else ("propagate", content)

    def _drawn(self) -> int:
        """Place of the outlined frame among the targets, which lack it; -1 for another picture, or several videos."""
        sequences = {one.sequenceNode for one in self.targets}
        if len(sequences) != 1 or None in sequences:
            return -1
        return images.itemOf(self.prior, sequences.pop())

    def _summarise(self) -> None:
        inputs.remember(self.segmentation, self._shown)
        title = _("{name} carried on").format(name=self.title)
        self.made.append(tables.makeTable(self.outcomes, self.names, title))
        if len(self.outcomes) > 1:
            before = {key: results.amounts(one)[1] for key, one in self.outcomes[0].reports.items()}
            colors = {key: one.GetColor() for key, one in self._prototypes.items()}
            self.made += tables.makePlot(self.outcomes, self.names, colors, title + ": " + _("volumes"), before)

    def _inputs(self) -> list:
        return [*super()._inputs(), self.prior, self.segmentation]

    def _node(self, target: Target) -> slicer.vtkMRMLSegmentationNode:
        """Node of a target's result; from the first one on, the contours that it comes from are a pale outline."""
        if self._restore is None:
            self._restore = display.pale(self.segmentation)
        return super()._node(target)

    def _remove(self) -> None:
        super()._remove()
        if self._restore is not None and self.ended is None:  # what is discarded later leaves others' contours alone
            self._restore()

    def _copiedSegments(self) -> dict:
        """Names, colours, terminology and tags as they are now, so that they are there even if a segment is deleted during the run."""
        copies = {}
        for segmentId in self.chosen:
            copies[segmentId] = slicer.vtkSegment()
            copies[segmentId].DeepCopyMetadata(self.segmentation.GetSegmentation().GetSegment(segmentId))
        return copies

    def _withoutPrior(self, targets: list) -> list:
        """The other items of a sequence that the prior is shown from."""
        kept = [
            one
            for one in targets
            if one.sequenceNode is None or images.itemOf(self.prior, one.sequenceNode) != one.item
        ]
        if not kept:
            raise InputProblem(_("The only image that is ticked is the contoured one; tick another."))
        return kept
