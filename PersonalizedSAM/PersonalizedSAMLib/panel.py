"""The module's panel: what the user sees and touches. All work is the logic's."""

import os

import qt
import slicer
import slicer.util
import vtk
from AdaptSAMLib import geometry, packages, patients, results, segments
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from PersonalizedSAMLib import inputs, parameters

VOLUMES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")


class Panel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Base of PersonalizedSAMWidget, which names the logic."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.run = None
        self.finished = None
        self.correction = None
        self._parameterNode = None
        self._guiTag = None
        self._updating = False
        self._problem = None
        self._lacking = []
        self._items = {}
        self._reviews = []
        self._models = []

    def makeLogic(self):
        raise NotImplementedError

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/PersonalizedSAM.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self._fillChoices()
        self._connect()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self.onSceneChanged)
        self.ui.progressBar.visible = False
        self.initializeParameterNode()

    def _connect(self) -> None:
        ui = self.ui
        ui.segmentList.itemChanged.connect(lambda item: self.onTicked())
        ui.targetList.itemChanged.connect(lambda item: self.onTicked())
        ui.laterButton.clicked.connect(lambda checked=False: self.onLater())
        ui.modelFileButton.clicked.connect(lambda checked=False: self.onModelFile())
        for combo in (
            ui.modelComboBox,
            ui.deviceComboBox,
            ui.registrationComboBox,
            ui.pairingComboBox,
            ui.windowComboBox,
        ):
            combo.currentTextChanged.connect(lambda text: self.onChosen())
        ui.installButton.clicked.connect(lambda checked=False: self.onInstall())
        ui.applyButton.clicked.connect(lambda checked=False: self.onApply())
        ui.plotButton.clicked.connect(lambda checked=False: self.onPlot())
        ui.reviewTable.cellClicked.connect(lambda row, column: self.onReview(row))
        ui.correctionTargetComboBox.currentTextChanged.connect(lambda text: self.onCorrectionTarget())
        ui.correctionSegmentComboBox.currentTextChanged.connect(lambda text: self.onCorrectionSegment())
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
        self._fill(ui.deviceComboBox, [(_("Automatic"), "auto")])
        self._fill(ui.modelComboBox, [(_("Small model that comes with AdaptSAM"), "")])

    @staticmethod
    def _fill(combo, entries) -> None:
        blocked = combo.blockSignals(True)
        combo.clear()
        for text, value in entries:
            combo.addItem(text, value)
        combo.blockSignals(blocked)

    @staticmethod
    def _choose(combo, value: str) -> None:
        """Show a value; one that is not in the list (a file) is added."""
        index = combo.findData(value)
        if index < 0:
            combo.addItem(os.path.basename(value) or value, value)
            index = combo.findData(value)
        if combo.currentIndex != index:
            combo.currentIndex = index

    @staticmethod
    def _chosen(combo) -> str:
        return combo.itemData(combo.currentIndex)

    # -- life of the panel

    def cleanup(self) -> None:
        self.logic.abandon()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        self.initializeParameterNode()
        self.askWorker()

    def exit(self) -> None:
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        self.logic.abandon()
        self.run = self.finished = self.correction = None
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        self.showResults()
        self._problem = None
        self.initializeParameterNode()

    def onSceneChanged(self, caller=None, event=None) -> None:
        """Lists follow the scene, once in a moment however much happens in it."""
        if not self._updating:
            self._updating = True
            qt.QTimer.singleShot(0, self.onSceneSettled)

    def onSceneSettled(self) -> None:
        self._updating = False
        self.update()

    def initializeParameterNode(self) -> None:
        self._lacking = packages.missing()
        self.setParameterNode(self.logic.getParameterNode())
        self.fillDefaults()

    def setParameterNode(self, node) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self._parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParameters)
            self.update()

    def fillDefaults(self) -> None:
        """The earliest volume that has contours, all its segments, and the patient's later volumes."""
        node = self._parameterNode
        if node.priorSegmentation is None:
            drawn = [(self._imageOf(one), one) for one in self._nodes(["vtkMRMLSegmentationNode"])]
            drawn = [pair for pair in drawn if pair[0] is not None]
            order = patients.byDate([volume for volume, _segmentation in drawn])
            if drawn and node.priorVolume in (None, order[0]):
                node.priorVolume = order[0]
                node.priorSegmentation = next(one for volume, one in drawn if volume is order[0])
                node.segments = inputs.segmentIds(node.priorSegmentation)
                node.targets = patients.laterThan(order[0], self._candidates())

    @staticmethod
    def _imageOf(segmentation):
        return segmentation.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())

    def _nodes(self, kinds) -> list:
        found = []
        for kind in kinds:
            for number in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind)):
                node = slicer.mrmlScene.GetNthNodeByClass(number, kind)
                if node not in found and not node.GetHideFromEditors() and not node.IsA("vtkMRMLLabelMapVolumeNode"):
                    found.append(node)
        return found

    def _candidates(self) -> list:
        """What can be a target: sequences of volumes, and volumes that no sequence shows."""
        sequences = [
            one
            for one in self._nodes(["vtkMRMLSequenceNode"])
            if one.GetNumberOfDataNodes() and one.GetNthDataNode(0).IsA("vtkMRMLVolumeNode")
        ]
        shown = [inputs.browserOf(one).GetProxyNode(one) for one in sequences if inputs.browserOf(one) is not None]
        return sequences + [one for one in self._nodes(VOLUMES) if one not in shown]

    # -- what is shown

    def onParameters(self, caller=None, event=None) -> None:
        self.update()

    def update(self) -> None:
        """Lists, choices and buttons as the parameters and the scene are now."""
        if self._parameterNode is None:
            return
        node, ui = self._parameterNode, self.ui
        segmentation = node.priorSegmentation
        names = segments.segmentNames(segmentation) if segmentation is not None else {}
        self._list(ui.segmentList, list(names.items()), node.segments)
        candidates = [one for one in self._candidates() if one is not node.priorVolume]
        texts = [(one.GetID(), self._titled(one)) for one in candidates]
        self._list(ui.targetList, texts, [one.GetID() for one in node.targets])
        for combo, value in (
            (ui.modelComboBox, node.model),
            (ui.deviceComboBox, node.device),
            (ui.registrationComboBox, node.registration),
            (ui.pairingComboBox, node.pairing),
            (ui.windowComboBox, node.window),
        ):
            self._choose(combo, value)
        self._showCard()
        self.checkCanApply()

    @staticmethod
    def _titled(node) -> str:
        if node.IsA("vtkMRMLSequenceNode"):
            return _("{name} ({count} images)").format(name=node.GetName(), count=node.GetNumberOfDataNodes())
        day = patients.studyDate(node)
        return f"{node.GetName()} ({day[:4]}-{day[4:6]}-{day[6:]})" if day else node.GetName()

    def _list(self, widget, entries, ticked) -> None:
        """Entries (value, text) with ticks; rebuilt only where they differ from what is shown."""
        shown = [
            (widget.item(n).data(qt.Qt.UserRole), widget.item(n).text(), widget.item(n).checkState() == qt.Qt.Checked)
            for n in range(widget.count)
        ]
        wanted = [(value, text, value in ticked) for value, text in entries]
        if shown == wanted:
            return
        blocked = widget.blockSignals(True)
        widget.clear()
        for number, (value, text, on) in enumerate(wanted):
            widget.addItem(text)
            item = widget.item(number)
            item.setData(qt.Qt.UserRole, value)
            item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)
        widget.blockSignals(blocked)

    @staticmethod
    def _ticked(widget) -> list:
        items = [widget.item(n) for n in range(widget.count)]
        return [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]

    def onTicked(self) -> None:
        node = self._parameterNode
        node.segments = self._ticked(self.ui.segmentList)
        node.targets = [slicer.mrmlScene.GetNodeByID(one) for one in self._ticked(self.ui.targetList)]

    def onLater(self) -> None:
        node = self._parameterNode
        if node.priorVolume is not None:
            node.targets = patients.laterThan(node.priorVolume, self._candidates())

    def onChosen(self) -> None:
        node, ui = self._parameterNode, self.ui
        if node is None:
            return
        modifying = node.StartModify()
        node.model, node.device = self._chosen(ui.modelComboBox), self._chosen(ui.deviceComboBox)
        node.registration, node.pairing = self._chosen(ui.registrationComboBox), self._chosen(ui.pairingComboBox)
        node.window = self._chosen(ui.windowComboBox)
        node.EndModify(modifying)

    def onModelFile(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            None, _("Choose a checkpoint"), "", _("Checkpoints (*.pth *.pt *.safetensors)")
        )
        path = path[0] if isinstance(path, tuple) else path
        if path:
            self._parameterNode.model = path

    def checkCanApply(self) -> None:
        """Apply works, or says why not; during a run it cancels."""
        node, ui = self._parameterNode, self.ui
        lacking = self._lacking
        ui.installButton.visible = bool(lacking)
        if self.run is not None:
            ui.applyButton.text, ui.applyButton.enabled = _("Cancel"), True
            ui.applyButton.toolTip = _("Stops within two seconds and leaves the scene as it was.")
            return
        chosen = [
            one
            for one in node.segments
            if node.priorSegmentation is not None and node.priorSegmentation.GetSegmentation().GetSegment(one)
        ]
        problem = inputs.problem(node.priorVolume, node.priorSegmentation, chosen, node.targets)
        if lacking:
            problem = _("{count} Python packages are missing; install them first.").format(count=len(lacking))
        ui.applyButton.text, ui.applyButton.enabled = _("Apply"), not problem
        ui.applyButton.toolTip = problem or _(
            "Carries the ticked segments to the ticked targets. The window stays free meanwhile."
        )
        if problem != self._problem:
            self._problem = ui.statusLabel.text = problem

    # -- the worker's models and devices

    def askWorker(self) -> None:
        """What models and devices there are; starts the worker, so that Apply need not wait for it."""
        if not self._lacking and not self._models:
            Engine.shared().request("hello", self.onHello)

    def onHello(self, event: dict) -> None:
        if event["event"] == "lost":
            self.ui.statusLabel.text = event["message"]
        if event["event"] != "hello":
            return
        self._models = event["models"]
        here = [(one["label"], one["name"] or "") for one in self._models if one["here"]]
        self._fill(self.ui.modelComboBox, here)
        devices = [(_("Automatic"), "auto")]
        for one in event["devices"]:
            text = _("{label}: {free:.1f} of {total:.1f} GB free").format(
                label=one["label"], free=one["free"] / 1e9, total=one["total"] / 1e9
            )
            devices.append((text, one["name"]))
        self._fill(self.ui.deviceComboBox, devices)
        self.update()

    def _showCard(self) -> None:
        value = self._parameterNode.model
        known = next((one for one in self._models if (one["name"] or "") == value), None)
        if known is not None:
            needs = (
                _(" It needs about {gigabytes:.1f} GB.").format(gigabytes=known["needed"] / 1e9)
                if known["needed"]
                else ""
            )
            self.ui.modelCardLabel.text = f"{known['card']}{needs}"
        else:
            self.ui.modelCardLabel.text = value

    def onInstall(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            wheels = qt.QSettings().value("AdaptSAM/WheelFolder", "")
            packages.install(str(wheels or ""))
            Engine.shared().close()
            self._models = []
        self._lacking = packages.missing()
        self.update()
        self.askWorker()

    # -- a run

    def onApply(self) -> None:
        if self.run is not None:
            self.ui.statusLabel.text = _("Stopping")
            self.run.cancel()  # may end it at once
            return
        node = self._parameterNode
        question = inputs.question(node.priorVolume, node.priorSegmentation, node.targets)
        if question and not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            self.run = self.logic.propagate(
                node.priorVolume,
                node.priorSegmentation,
                node.targets,
                segments=node.segments,
                settings=parameters.settingsOf(node),
                checkpoint=node.model or None,
                device=node.device,
                wait=False,
                allowDifferentPatients=True,
                onProgress=self.onProgress,
                onOutcome=self.onOutcome,
                onEnd=self.onEnd,
            )
        except InputProblem as error:
            self.ui.statusLabel.text = str(error)
            return
        self.ui.progressBar.visible = True
        self.onProgress(0.0, None, _("Reading the segments"))
        self.checkCanApply()

    def onProgress(self, share: float, remaining, text: str) -> None:
        self.ui.progressBar.value = int(1000 * share)
        left = "" if remaining is None else _(", about {time} left").format(time=_duration(remaining))
        self.ui.statusLabel.text = text + left

    def onOutcome(self, outcome) -> None:
        if self.run is not None:
            self.showResults(self.run)

    def onEnd(self, kind: str, message: str) -> None:
        run, self.run = self.run, None
        self.ui.progressBar.visible = False
        if kind == "done":
            self.finished = run
        self.showResults(self.finished)
        if self._parameterNode is not None:
            self.checkCanApply()
        done = _("Done. Review the slices below before you use anything.")
        self.ui.statusLabel.text = message or done

    # -- results

    def showResults(self, run=None) -> None:
        """The tables and choices of a run; empty without one."""
        ui = self.ui
        outcomes = run.outcomes if run is not None else []
        names = run.names if run is not None else {}
        rows = []
        for outcome in outcomes:
            for segmentId, report in outcome.reports.items():
                row = results.summary(report)
                rows.append(
                    [
                        outcome.target.title,
                        names[segmentId],
                        results._text(row["volume"], 2),
                        results._text(row["change"], 1),
                        results._text(row["shift"], 1),
                        results._text(row["confidence"], 2),
                        str(row["review"]),
                    ]
                )
        self._table(
            ui.resultTable,
            [_("Target"), _("Structure"), _("cm³"), _("Change %"), _("Shift mm"), _("Confidence"), _("Review")],
            rows,
        )
        self._reviews = results.reviews(outcomes, names)
        listed = [
            [one.target.title, one.name, str(one.index), f"{one.confidence:.2f}", one.reason] for one in self._reviews
        ]
        self._table(ui.reviewTable, [_("Target"), _("Structure"), _("Slice"), _("Confidence"), _("Why")], listed)
        ui.plotButton.enabled = len(outcomes) > 1 and run is not None and run.ended is not None
        self._fill(
            ui.correctionTargetComboBox, [(one.target.title, str(number)) for number, one in enumerate(outcomes)]
        )
        self._fill(ui.correctionSegmentComboBox, [(name, segmentId) for segmentId, name in names.items()])
        self.onCorrectionSegment()

    def _table(self, table, titles, rows) -> None:
        table.clear()
        # Qt does not keep Python's items alive in every version of PythonQt.
        kept = self._items[table.objectName] = []
        table.columnCount, table.rowCount = len(titles), len(rows)
        table.setHorizontalHeaderLabels(titles)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                kept.append(qt.QTableWidgetItem(text))
                table.setItem(number, column, kept[-1])
        table.resizeColumnsToContents()

    def onPlot(self) -> None:
        charts = [one for one in self.finished.made if one.IsA("vtkMRMLPlotChartNode")]
        if charts:
            slicer.modules.plots.logic().ShowChartInLayout(charts[0])

    def onReview(self, row: int) -> None:
        review = self._reviews[row]
        self._choose(
            self.ui.correctionTargetComboBox, str([one.target for one in self._shown().outcomes].index(review.target))
        )
        self._choose(self.ui.correctionSegmentComboBox, review.segmentId)
        results.jump(review)
        self._place = review.ras

    # -- correction

    def _shown(self):
        return self.run or self.finished

    def onCorrectionTarget(self) -> None:
        self.onCorrectionSegment()

    def onCorrectionSegment(self) -> None:
        """Another structure or target: its prompts are not shown yet."""
        if self.correction is not None:
            self.correction.hidePrompts()
        self.correction = None
        ready = self.run is None and self.finished is not None and bool(self.finished.outcomes)
        self.ui.promptsButton.enabled = self.ui.followButton.enabled = self.ui.acceptButton.enabled = ready
        self.ui.rerunButton.enabled = self.ui.undoButton.enabled = False

    def onPrompts(self) -> None:
        outcome = self.finished.outcomes[int(self._chosen(self.ui.correctionTargetComboBox))]
        self.correction = self.logic.correction(self.finished, outcome, self._chosen(self.ui.correctionSegmentComboBox))
        self.correction.showPrompts()
        self.ui.rerunButton.enabled = True

    def _ensureCorrection(self) -> None:
        if self.correction is None:
            self.onPrompts()

    def currentSlice(self) -> int:
        """The slice of the target that the red view shows; without one, the last that was jumped to."""
        view = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
        if view is not None:
            matrix = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
            return self.correction.currentSlice(matrix[:3, 3])
        return self.correction.currentSlice(
            getattr(self, "_place", geometry.worldOfVoxel(self.correction.volumeNode, [0, 0, 0]))
        )

    def onRerun(self) -> None:
        self._correct(lambda: self.correction.rerun(self.currentSlice(), self.onCorrected))

    def onFollow(self) -> None:
        self._ensureCorrection()
        self._correct(
            lambda: self.correction.follow(self.currentSlice(), self._parameterNode.followReach, self.onCorrected)
        )

    def _correct(self, ask) -> None:
        try:
            ask()
            self.ui.statusLabel.text = _("Correcting")
        except InputProblem as error:
            self.ui.statusLabel.text = str(error)

    def onCorrected(self, kind: str, message: str) -> None:
        self.ui.statusLabel.text = message if kind == "error" else _("Corrected.")
        self.ui.undoButton.enabled = True

    def onUndo(self) -> None:
        self.ui.undoButton.enabled = self.correction is not None and self.correction.undo()

    def onAccept(self) -> None:
        """A corrected visit is the prior of the next."""
        outcome = self.finished.outcomes[int(self._chosen(self.ui.correctionTargetComboBox))]
        volume, segmentation = self.logic.asPrior(self.finished, outcome)
        node = self._parameterNode
        modifying = node.StartModify()
        node.priorVolume, node.priorSegmentation = volume, segmentation
        node.segments = inputs.segmentIds(segmentation)
        node.targets = patients.laterThan(volume, [one for one in self._candidates() if one is not node.priorVolume])
        node.EndModify(modifying)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))
