"""PersonalizedSAM in 3D Slicer: contours of one visit, carried to the next. The method is in the package `adaptsam`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from AdaptSAMLib import images, results
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.logic import DEPENDENCIES, BaseLogic, BaseTest, link
from AdaptSAMLib.results import Outcome
from AdaptSAMLib.run import BaseRun
from PersonalizedSAMLib import inputs, samples
from PersonalizedSAMLib.correction import Correction
from PersonalizedSAMLib.panel import Panel
from PersonalizedSAMLib.parameters import PersonalizedSAMParameterNode
from PersonalizedSAMLib.run import Run
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class PersonalizedSAM(ScriptedLoadableModule):
    """Title, category and help of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "PersonalizedSAM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = list(DEPENDENCIES)
        parent.contributors = ["AdaptSAM's authors"]
        parent.helpText = _(
            "Carries the contours of one visit to later visits, 4D phases or video frames with the Segment Anything Model, adapted to the patient by P²SAM. "
            "For research use only: nothing that comes out of it is approved by a clinician."
        ) + link("tutorial")
        slicer.app.connect("startupCompleted()", samples.register)
        parent.acknowledgementText = _(
            "After C. Zhao and L. Shen, Part-aware Personalized Segment Anything Model, TMLR 2025."
        )


class PersonalizedSAMWidget(Panel):
    """The panel, with this module's logic."""

    def makeLogic(self) -> PersonalizedSAMLogic:
        return PersonalizedSAMLogic()


class PersonalizedSAMLogic(BaseLogic):
    """Logic for scripts: ``slicer.util.getModuleLogic("PersonalizedSAM").propagate(prior, segmentation, [target])``."""

    parameters = PersonalizedSAMParameterNode

    def propagate(
        self,
        prior: slicer.vtkMRMLVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        targets: slicer.vtkMRMLNode | Sequence[slicer.vtkMRMLNode],
        segments: Sequence[str] | None = None,
        *,
        wait: bool = True,
        allowDifferentPatients: bool = False,
        allowOtherItem: bool = False,
        **how: Any,
    ) -> Run:
        """Carry segments to other images.

        Args:
            prior: volume node with contours.
            segmentation: their segmentation node.
            targets: a volume node, or a list of volume nodes and sequence nodes of volumes.
            segments: names or IDs; by default all targets and organs that are not empty, without the patient's outline,
                couch, isodoses and points.
            wait: return when it is done (the window stays alive), or at once.
            allowDifferentPatients: go on although the subject hierarchy names different patients.
            allowOtherItem: go on although the contours were used on another item of the sequence that the prior shows.
            settings: of `adaptsam`, by dotted names: {"register": "rigid", "p2sam.positives": [1, 3]}.
            checkpoint: a file, a name of `adaptsam weights list`, or None for the bundled model.
            device: "auto" (the default), "cpu", "cuda", ….
            replaces: an earlier run; what it made leaves the scene when this one is done.
            onProgress: called with the share done, seconds to go or None, and a text.
            onOutcome: called with each finished target, an AdaptSAMLib.results.Outcome.
            onEnd: called with "done", "cancelled" or "error", and a sentence.

        Returns:
            A PersonalizedSAMLib.run.Run; its ``outcomes`` hold segmentation nodes and reports, ``cancel()`` stops it.

        Raises:
            InputProblem: something cannot be used; the message says what and what to do. Cancelling gives no error.
        """
        targets = images.listed(targets)
        question = inputs.question(prior, segmentation, targets)
        if question and not allowDifferentPatients:
            raise InputProblem(question + " " + _("Say so with allowDifferentPatients."))
        question = inputs.otherItem(prior, segmentation) if prior is not None and segmentation is not None else ""
        if question and not allowOtherItem:
            raise InputProblem(question + " " + _("Say so with allowOtherItem."))
        chosen = self._chosen(prior, segmentation, segments)
        run = Run(Engine.shared(), prior, segmentation, chosen, targets, **how)
        return self.start(run, wait)

    def correction(self, run: BaseRun, outcome: Outcome, segment: str) -> Correction:
        """Prompts and neighbours of one structure of one target; see PersonalizedSAMLib.correction.Correction."""
        byName = {name: segmentId for segmentId, name in run.names.items()}
        return Correction(Engine.shared(), run, outcome, byName.get(segment, segment))

    @staticmethod
    def browserOf(sequenceNode: slicer.vtkMRMLSequenceNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
        """The sequence browser that plays a sequence, or None."""
        return images.browserOf(sequenceNode)

    def asPrior(
        self, run: BaseRun, outcome: Outcome
    ) -> tuple[slicer.vtkMRMLVolumeNode, slicer.vtkMRMLSegmentationNode]:
        """A finished target as the prior of the next run: its volume and segmentation, as nodes of the scene.

        Of a sequence, the browser is moved to the item, and what it shows is the prior.
        """
        return results.bringUp(outcome.target), run.shownNode(outcome)

    def useAsPrior(self, run: BaseRun, outcome: Outcome) -> PersonalizedSAMParameterNode:
        """A finished target as the prior of this module, with what was found, and the patient's later images as targets.

        Returns:
            The parameter node.

        Raises:
            InputProblem: it is not in the scene any more.
        """
        results.check(outcome.target)
        volume, segmentation = self.asPrior(run, outcome)
        if not images.listed(segmentation):
            raise InputProblem(_("The segmentation was removed from the scene; press Apply again."))
        node = self.getParameterNode()
        modifying = node.StartModify()
        node.priorVolume, node.priorSegmentation = volume, segmentation
        node.segments = self._chosen(volume, segmentation, None)
        node.targets = images.followUps(volume)
        node.EndModify(modifying)
        return node

    @staticmethod
    def _chosen(
        prior: slicer.vtkMRMLVolumeNode | None,
        segmentation: slicer.vtkMRMLSegmentationNode | None,
        wanted: Sequence[str] | None,
    ) -> list:
        if segmentation is None:
            return []
        from AdaptSAMLib.segments import readMask, segmentNames

        names = segmentNames(segmentation)
        if wanted is None:
            likely = inputs.likelySegments(segmentation) or list(names)
            return [one for one in likely if prior is None or readMask(segmentation, one, prior).any()] or likely
        byName = {name: segmentId for segmentId, name in names.items()}
        for one in wanted:
            if one not in names and one not in byName:
                known = ", ".join(names.values())
                raise InputProblem(_("There is no segment {name}; there are {known}.").format(name=one, known=known))
        return [byName.get(one, one) for one in wanted]


class PersonalizedSAMTest(BaseTest):
    """Reload and Test runs what CTest runs."""

    def cases(self) -> type:
        from PersonalizedSAMLib.selftest import PersonalizedSAMTests

        return PersonalizedSAMTests
