"""The module's panel: what the user sees and touches. All work is the logic's."""

from __future__ import annotations

from collections.abc import Collection

import slicer
from AdaptSAMLib import choices, images, patients, rois, segments
from AdaptSAMLib.panel import BasePanel
from slicer.i18n import tr as _

from PersonalizedSAMLib import inputs, parameters
from PersonalizedSAMLib.correctionPanel import CorrectionPanel
from PersonalizedSAMLib.run import Run

#: So many structures need no filter.
FEW = 8


class Panel(CorrectionPanel):
    """Base of PersonalizedSAMWidget, which names the logic."""

    hasPrior = True
    boxes = BasePanel.boxes | {
        "registration": "registrationComboBox",
        "pairing": "pairingComboBox",
        "window": "windowComboBox",
        "output": "outputComboBox",
    }

    def prepare(self) -> None:
        self._fillChoices()
        ui = self.ui
        ui.segmentList.itemChanged.connect(lambda item: self.onTicked())
        ui.segmentFilterLineEdit.textChanged.connect(lambda text: self.update())
        ui.targetList.itemChanged.connect(lambda item: self.onTicked())
        ui.laterButton.clicked.connect(lambda checked=False: self.onLater())
        for button, kinds in (
            (ui.targetsButton, (rois.TARGET,)),
            (ui.organsButton, (rois.ORGAN,)),
            (ui.bothButton, (rois.TARGET, rois.ORGAN)),
            (ui.noneButton, ()),
        ):
            button.clicked.connect(lambda checked=False, kinds=kinds: self.onKinds(kinds))
        self.prepareCorrection()

    def _fillChoices(self) -> None:
        ui = self.ui
        choices.fill(
            ui.registrationComboBox,
            [(_("Deformable"), "deformable"), (_("Rigid"), "rigid"), (_("None (phases of one scan)"), "off")],
        )
        choices.fill(ui.pairingComboBox, [(_("By registration"), "registered"), (_("By position"), "position")])
        windows = [(_("Automatic"), "auto"), (_("By structure"), "anatomy"), (_("Percentiles"), "percentiles")]
        windows += [(name, name) for name in ("papers", "lung", "soft tissue", "liver", "brain", "bone")]
        choices.fill(ui.windowComboBox, windows)
        choices.fill(
            ui.outputComboBox, [(_("New segmentations"), "new"), (_("In place of the last result"), "replace")]
        )

    # -- life of the panel

    def fillDefaults(self) -> None:
        """The earliest volume that has contours, their targets and organs, and the patient's later volumes."""
        node = self._parameterNode
        if node.priorSegmentation is None:
            drawn = [(self._imageOf(one), one) for one in images.nodesOf(["vtkMRMLSegmentationNode"])]
            drawn = [pair for pair in drawn if pair[0] is not None]
            order = patients.byDate([volume for volume, _segmentation in drawn])
            if drawn and node.priorVolume in (None, order[0]):
                node.priorVolume = order[0]
                node.priorSegmentation = next(one for volume, one in drawn if volume is order[0])
                node.segments = inputs.likelySegments(node.priorSegmentation)
                node.targets = images.followUps(order[0])

    @staticmethod
    def _imageOf(segmentation: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLVolumeNode | None:
        return segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())

    # -- what is shown

    def showInputs(self) -> None:
        node = self._parameterNode
        segmentation = node.priorSegmentation
        names = segments.segmentNames(segmentation) if segmentation is not None else {}
        choices.showTicks(self.ui.segmentList, [(key, name, "") for key, name in names.items()], node.segments)
        self.ui.segmentFilterLineEdit.visible = len(names) > FEW
        choices.narrow(self.ui.segmentList, self.ui.segmentFilterLineEdit.text if len(names) > FEW else "")
        self._listImages([one for one in images.candidates() if one is not node.priorVolume])

    def onTicked(self) -> None:
        node = self._parameterNode
        modifying = node.StartModify()  # the first change would bring back what the other list showed
        node.segments, node.targets = choices.ticked(self.ui.segmentList), self._tickedImages()
        node.EndModify(modifying)

    def onKinds(self, kinds: Collection[str]) -> None:
        """Tick the segments of some kinds, and no others."""
        node = self._parameterNode
        if node.priorSegmentation is not None:
            node.segments = inputs.likelySegments(node.priorSegmentation, kinds)

    def onLater(self) -> None:
        node = self._parameterNode
        if node.priorVolume is not None:
            node.targets = images.followUps(node.priorVolume)

    # -- a run

    def segments(self) -> list:
        """The IDs of the segments that are chosen, and still there."""
        node = self._parameterNode
        there = inputs.segmentIds(node.priorSegmentation) if node.priorSegmentation is not None else []
        return [one for one in node.segments if one in there]

    def checkInputs(self) -> None:
        node = self._parameterNode
        inputs.check(node.priorVolume, node.priorSegmentation, self.segments(), self.targets())

    def inputQuestion(self) -> str:
        node = self._parameterNode
        question = inputs.question(node.priorVolume, node.priorSegmentation, self.targets())
        return question or inputs.otherItem(node.priorVolume, node.priorSegmentation)

    def applyTip(self) -> str:
        return _("Carries the ticked structures to the ticked images. The window stays free meanwhile.")

    def startRun(self) -> Run:
        node = self._parameterNode
        return self.logic.propagate(
            node.priorVolume,
            node.priorSegmentation,
            self.targets(),
            segments=self.segments(),
            settings=parameters.settingsOf(node),
            checkpoint=node.model or None,
            device=node.device,
            replaces=self.finished if node.output == "replace" else None,
            wait=False,
            allowDifferentPatients=True,
            allowOtherItem=True,
            onProgress=self.onProgress,
            onOutcome=self.onOutcome,
            onEnd=self.onEnd,
        )
