"""The part of the panel in which an own agent is trained."""

from __future__ import annotations

import os

import qt
import slicer
import slicer.util
from AdaptSAMLib import choices, images, packages
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.panel import BasePanel, sentence, showProgress
from slicer.i18n import tr as _

from AutoPromptSAMLib import curves, inputs, parameters
from AutoPromptSAMLib.training import Training

#: What training and texts need beside what every run needs.
MORE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Resources", "requirements-agents.txt")


class TrainingPanel(BasePanel):
    """The half of AutoPromptSAM's panel that trains: choices, the button that trains and then cancels, curves.

    Attributes:
        training: the AutoPromptSAMLib.training.Training that runs, or None.
        learnt: the one whose curves can be shown.
        unfinished: names of trainings that were stopped.
        knownAgents: descriptions of the agents on this machine.
    """

    boxes = BasePanel.boxes | {
        "trainBranch": "trainBranchComboBox",
        "trainSchedule": "trainScheduleComboBox",
        "trainWindow": "trainWindowComboBox",
    }
    lines = {"trainName": "trainNameLineEdit", "trainText": "trainTextLineEdit", "trainFolder": "trainFolderLineEdit"}

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self.training = self.learnt = None
        self.unfinished: list = []
        self.knownAgents: list = []
        self._outlined: dict = {}
        self._lackingMore: list = []

    def lookAround(self) -> None:
        super().lookAround()
        self._lackingMore = packages.lacking(MORE)

    def prepareTraining(self) -> None:
        """Fill choices and connect widgets, once."""
        ui = self.ui
        choices.fill(ui.trainBranchComboBox, [(_("Implicit"), "implicit"), (_("Explicit, with a text"), "explicit")])
        schedules = [(_("Reduced, 300 slices prompted"), "reduced"), (_("Published, 50 episodes"), "published")]
        choices.fill(ui.trainScheduleComboBox, schedules)
        windows = [(_("Automatic"), "auto"), (_("Lung"), "lung"), (_("Soft tissue"), "soft tissue")]
        windows += [(_("Liver"), "liver"), (_("Brain"), "brain"), (_("Bone"), "bone")]
        choices.fill(ui.trainWindowComboBox, windows)
        choices.fill(ui.curveComboBox, [(title, key) for key, (title, _columns) in curves.CHARTS.items()])
        ui.trainSegmentComboBox.currentTextChanged.connect(lambda text: self.onTrainSegment())
        ui.trainList.itemChanged.connect(lambda item: self.onTrainTicked())
        ui.trainAnewCheckBox.toggled.connect(lambda on: self.checkCanTrain())
        ui.trainFolderButton.clicked.connect(lambda checked=False: self.onTrainFolder())
        ui.trainButton.clicked.connect(lambda checked=False: self.onTrain())
        ui.curveButton.clicked.connect(lambda checked=False: self.onCurve())
        ui.installMoreButton.clicked.connect(lambda checked=False: self.onInstallMore())
        ui.trainProgressBar.visible = False

    def trainingSource(self) -> tuple:
        """Ticked examples, tuples of volume, segmentation and segment ID; or the folder that is chosen in place of them."""
        node = self._parameterNode
        folder = node.trainFolder.strip()
        ticked = list(zip(node.trainVolumes, node.trainSegmentations))
        found = [one for one in self._outlined.get(node.trainSegment, []) if one[:2] in ticked]
        return ([], folder) if folder else (found, None)

    # -- what is shown

    def updateTraining(self) -> None:
        """Choices as parameters and scene are now."""
        node, ui = self._parameterNode, self.ui
        self._outlined = inputs.outlined()
        names = list(self._outlined)
        if [ui.trainSegmentComboBox.itemText(n) for n in range(ui.trainSegmentComboBox.count)] != names:
            choices.fill(ui.trainSegmentComboBox, [(name, name) for name in names])
        if node.trainSegment not in names and names:
            self._chooseStructure(names[0])
        if node.trainSegment in names:
            choices.choose(ui.trainSegmentComboBox, node.trainSegment)
        entries = [
            (f"{volume.GetID()} {segmentation.GetID()}", f"{volume.GetName()}: {segmentation.GetName()}", "")
            for volume, segmentation, _segmentId in self._outlined.get(node.trainSegment, [])
        ]
        pairs = zip(node.trainVolumes, node.trainSegmentations)
        marked = [
            f"{one.GetID()} {other.GetID()}" for one, other in pairs if images.listed([one, other]) == [one, other]
        ]
        choices.showTicks(ui.trainList, entries, marked)
        ui.trainTextLineEdit.enabled = node.trainBranch == "explicit"
        ui.trainAnewCheckBox.enabled = node.trainName.strip() in self.unfinished
        ui.curveButton.enabled = self.learnt is not None and bool(self.learnt.curves.charts)
        self.checkCanTrain()

    def checkCanTrain(self) -> None:
        """Train works, or says why not; during a training it cancels."""
        node, ui = self._parameterNode, self.ui
        lacking = self._lackingMore
        ui.installMoreButton.visible = bool(lacking)
        if self.training is not None:
            ui.trainButton.text, ui.trainButton.enabled = _("Cancel the training"), True
            ui.trainButton.toolTip = _("Stops within two seconds; finished episodes are kept, and can be gone on from.")
            return
        examples, folder = self.trainingSource()
        problem = sentence(
            lambda: inputs.checkTraining(node.trainName, examples, folder, node.trainBranch, node.trainText)
        )
        if lacking:
            problem = _("{count} Python packages are missing for training; install them first.").format(
                count=len(lacking)
            )
        if self.run is not None:
            problem = _("Structures are being searched for; wait for it, or cancel it.")
        goesOn = node.trainName.strip() in self.unfinished and not ui.trainAnewCheckBox.checked
        ui.trainButton.text = _("Go on training") if goesOn else _("Train")
        ui.trainButton.enabled = not problem
        ui.trainButton.toolTip = problem or _("Trains in the background. The window stays free meanwhile.")

    # -- choices

    def _chooseStructure(self, name: str) -> None:
        """A structure, on every image that refers to the segmentation it is in; its name becomes the agent's."""
        node = self._parameterNode
        found = self._outlined.get(name, [])
        own = [one for one in found if [other[1] for other in found].count(one[1]) == 1]
        modifying = node.StartModify()
        if not node.trainName or node.trainName == node.trainSegment:
            node.trainName = name
        node.trainSegment = name
        node.trainVolumes, node.trainSegmentations = [one[0] for one in own], [one[1] for one in own]
        node.EndModify(modifying)

    def onTrainSegment(self) -> None:
        name = choices.chosen(self.ui.trainSegmentComboBox)
        if self._parameterNode is not None and name and name != self._parameterNode.trainSegment:
            self._chooseStructure(name)

    def onTrainTicked(self) -> None:
        node = self._parameterNode
        pairs = [key.split(" ") for key in choices.ticked(self.ui.trainList)]
        modifying = node.StartModify()
        node.trainVolumes = [slicer.mrmlScene.GetNodeByID(volume) for volume, _other in pairs]
        node.trainSegmentations = [slicer.mrmlScene.GetNodeByID(other) for _volume, other in pairs]
        node.EndModify(modifying)

    def onTrainFolder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Choose a folder of images and masks"), "")
        if path:
            self._parameterNode.trainFolder = path

    def onInstallMore(self) -> None:
        self._install(MORE)

    # -- a training

    def onTrain(self) -> None:
        if self.training is not None:
            self.ui.trainStatusLabel.text = _("Stopping")
            self.training.cancel()
            return
        node, ui = self._parameterNode, self.ui
        name = node.trainName.strip()
        exists = any(one["name"] == name for one in self.knownAgents)
        question = _("There is an agent {name} already. Shall the new one replace it?").format(name=name)
        if exists and not slicer.util.confirmYesNoDisplay(question):
            return
        ui.trainStatusLabel.text = _("Reading the images")
        examples, folder = self.trainingSource()
        try:
            self.training = self.logic.startTraining(
                name,
                examples,
                folder=folder,
                branch=node.trainBranch,
                text=node.trainText,
                clip=node.clip or None,
                count=node.trainImages,
                window=node.trainWindow,
                settings=parameters.trainingOf(node),
                checkpoint=node.model or None,
                device=node.device,
                anew=bool(ui.trainAnewCheckBox.checked and name in self.unfinished),
                overwrite=exists,
                onProgress=self.onTrainProgress,
                onEpisode=self.onEpisode,
                onEnd=self.onTrainEnd,
            )
        except InputProblem as error:
            ui.trainStatusLabel.text = str(error)
            return
        self.learnt = self.training
        ui.trainProgressBar.visible = True
        self.update()

    def onTrainProgress(self, share: float, remaining: float | None, text: str) -> None:
        showProgress(self.ui.trainProgressBar, self.ui.trainStatusLabel, share, remaining, text)

    def onEpisode(self, episodes: list[dict]) -> None:
        self.ui.curveButton.enabled = True

    def onTrainEnd(self, kind: str, message: str) -> None:
        training, self.training = self.training, None
        self.ui.trainProgressBar.visible = False
        self.ui.trainAnewCheckBox.checked = False
        if kind != "done":
            self.learnt = None
        self.ui.trainStatusLabel.text = message or self._trained(training)
        self.lookAround()
        if self._parameterNode is not None:
            self.update()
            if self.needsWorker():
                self.askWorker()

    @staticmethod
    def _trained(training: Training) -> str:
        scores = training.agent["scores"]
        where = (
            _("on images held back") if training.agent["training"]["held_back"] else _("on the images it learnt from")
        )
        text = _("The agent {name} is there and can be ticked on the other tab. Its overlap (IoU) {where}: {iou:.2f}.")
        return " ".join([text.format(name=training.name, where=where, iou=scores["iou"]), *training.warnings])

    def onCurve(self) -> None:
        chart = self.learnt.curves.charts[choices.chosen(self.ui.curveComboBox)]
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    def forgetTraining(self) -> None:
        """The scene is gone, and the nodes with it."""
        self.training = self.learnt = None
        self.ui.trainProgressBar.visible = False
        self.ui.trainStatusLabel.text = ""
