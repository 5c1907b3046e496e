"""The module's panel: what the user sees and touches. All work is the logic's."""

import slicer
import slicer.util
from AdaptSAMLib import geometry, images, patients, segments
from AdaptSAMLib.panel import BasePanel
from slicer.i18n import tr as _

from PersonalizedSAMLib import inputs, parameters


class Panel(BasePanel):
    """Base of PersonalizedSAMWidget, which names the logic."""

    hasPrior = True
    resultBoxes = ("correctionTargetComboBox", "correctionSegmentComboBox")
    boxes = BasePanel.boxes | {
        "registration": "registrationComboBox",
        "pairing": "pairingComboBox",
        "window": "windowComboBox",
    }

    def __init__(self, parent=None):
        super().__init__(parent)
        self.correction = None

    def prepare(self) -> None:
        self._fillChoices()
        self._connect()

    def forget(self) -> None:
        self.correction = None

    def _connect(self) -> None:
        ui = self.ui
        ui.segmentList.itemChanged.connect(lambda item: self.onTicked())
        ui.targetList.itemChanged.connect(lambda item: self.onTicked())
        ui.laterButton.clicked.connect(lambda checked=False: self.onLater())
        ui.promptsButton.clicked.connect(lambda checked=False: self.onPrompts())
        ui.rerunButton.clicked.connect(lambda checked=False: self.onRerun())
        ui.followButton.clicked.connect(lambda checked=False: self.onFollow())
        ui.undoButton.clicked.connect(lambda checked=False: self.onUndo())
        ui.acceptButton.clicked.connect(lambda checked=False: self.onAccept())

    def _fillChoices(self) -> None:
        ui = self.ui
        self._fill(
            ui.registrationComboBox,
            [(_("Deformable"), "deformable"), (_("Rigid"), "rigid"), (_("None (phases of one scan)"), "off")],
        )
        self._fill(ui.pairingComboBox, [(_("By registration"), "registered"), (_("By position"), "position")])
        windows = [(_("Automatic"), "auto"), (_("By structure"), "anatomy"), (_("Percentiles"), "percentiles")]
        windows += [(name, name) for name in ("papers", "lung", "soft tissue", "liver", "brain", "bone")]
        self._fill(ui.windowComboBox, windows)

    # -- life of the panel

    def fillDefaults(self) -> None:
        """The earliest volume that has contours, all its segments, and the patient's later volumes."""
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
    def _imageOf(segmentation):
        return segmentation.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())

    # -- what is shown

    def showInputs(self) -> None:
        node = self._parameterNode
        segmentation = node.priorSegmentation
        names = segments.segmentNames(segmentation) if segmentation is not None else {}
        self._list(self.ui.segmentList, list(names.items()), node.segments)
        self._listImages([one for one in images.candidates() if one is not node.priorVolume])

    def onTicked(self) -> None:
        node = self._parameterNode
        modifying = node.StartModify()  # the first change would bring back what the other list showed
        node.segments, node.targets = self._ticked(self.ui.segmentList), self._tickedImages()
        node.EndModify(modifying)

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
        return _("Carries the ticked segments to the ticked targets. The window stays free meanwhile.")

    def startRun(self):
        node = self._parameterNode
        return self.logic.propagate(
            node.priorVolume,
            node.priorSegmentation,
            self.targets(),
            segments=self.segments(),
            settings=parameters.settingsOf(node),
            checkpoint=node.model or None,
            device=node.device,
            wait=False,
            allowDifferentPatients=True,
            allowOtherItem=True,
            onProgress=self.onProgress,
            onOutcome=self.onOutcome,
            onEnd=self.onEnd,
        )

    # -- correction

    def onResult(self) -> None:
        """Another structure or target: its prompts are not shown yet."""
        if self.correction is not None:
            self.correction.hidePrompts()
        self.correction = None
        ready = self.resultReady()
        self.ui.promptsButton.enabled = self.ui.followButton.enabled = self.ui.acceptButton.enabled = ready
        self.ui.rerunButton.enabled = False
        self._showUndo()

    def onPrompts(self) -> None:
        self.correction = self.edit(self.logic.correction)
        self.ui.rerunButton.enabled = self.attempt(self.correction.showPrompts)

    def _ensureCorrection(self) -> None:
        if self.correction is None:
            self.onPrompts()

    def currentSlice(self) -> int:
        """The slice of the target in the view that looks at its slices; without a view, the last that was jumped to."""
        views = [slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{color}") for color in ("Red", "Yellow", "Green")]
        planes = [slicer.util.arrayFromVTKMatrix(one.GetSliceToRAS()) for one in views if one is not None]
        if planes:
            across = self.correction.normal()
            plane = max(planes, key=lambda one: round(abs(float(one[:3, 2] @ across)), 3))
            return self.correction.currentSlice(plane[:3, 3])
        return self.correction.currentSlice(
            getattr(self, "_place", geometry.worldOfVoxel(self.correction.volumeNode, [0, 0, 0]))
        )

    def onRerun(self) -> None:
        told = self.ended(self.correction, self.onCorrected)
        self._correct(lambda: self.correction.rerun(self.currentSlice(), told))

    def onFollow(self) -> None:
        self._ensureCorrection()
        told = self.ended(self.correction, self.onCorrected)
        self._correct(lambda: self.correction.follow(self.currentSlice(), self._parameterNode.followReach, told))

    def _correct(self, ask) -> None:
        if self.attempt(ask):
            self.ui.statusLabel.text = _("Correcting")

    def onCorrected(self, kind: str, message: str) -> None:
        self.ui.statusLabel.text = message if kind == "error" else _("Corrected.")
        self._showUndo()

    def onUndo(self) -> None:
        if self.attempt(self.edit(self.logic.correction).undo):
            self.showTables(self.finished)
            self.ui.statusLabel.text = _("Taken back.")
        self._showUndo()

    def _showUndo(self) -> None:
        self.ui.undoButton.enabled = self.resultReady() and self.edit(self.logic.correction).canUndo

    def onAccept(self) -> None:
        """A corrected visit is the prior of the next."""
        self.attempt(lambda: self.logic.useAsPrior(self.finished, self.chosenOutcome()))
