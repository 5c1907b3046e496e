"""What the panels of all modules have in common: their life, lists, models, a run, its results. Work is the logic's."""

import os
import shlex
import time

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from AdaptSAMLib import images, packages, patients, results
from AdaptSAMLib.engine import Engine, elsewhere
from AdaptSAMLib.geometry import InputProblem

#: Slices to review that are listed, the least trusted ones; and seconds between two views of a growing table.
LISTED, READ = 500, 1.0


class BasePanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Base of the modules' panels, which say what is asked, when it can start, and how."""

    #: Whether results are compared with a prior.
    hasPrior = False

    #: The combo boxes that choose one result's target and structure: what is corrected, or replayed.
    resultBoxes: tuple

    #: Parameters that are chosen in a combo box, and those that are typed, with the names of their widgets.
    boxes: dict = {"model": "modelComboBox", "device": "deviceComboBox"}
    lines: dict = {}

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.run = None
        self.finished = None
        self._parameterNode = None
        self._guiTag = None
        self._updating = self._showing = False
        self._problem = None
        self._lacking = []
        self._items = {}
        self._edits = {}
        self._shown = []
        self._reviews = []
        self._models = []
        self._shownAt = 0.0
        self._farewell = None

    # -- what a module adds

    def makeLogic(self):
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill choices and connect widgets, once."""
        raise NotImplementedError

    def fillDefaults(self) -> None:
        """What can be chosen from the scene without asking."""

    def showInputs(self) -> None:
        """What only this panel has, as the parameters and the scene are now."""
        raise NotImplementedError

    def forget(self) -> None:
        """What belongs to a result that is gone."""

    def onResult(self) -> None:
        """Another target or structure was chosen in the boxes."""
        raise NotImplementedError

    def checkInputs(self) -> None:
        """Raises InputProblem where a run cannot start."""
        raise NotImplementedError

    def inputQuestion(self) -> str:
        """What the user should confirm before a run, or ""."""
        return ""

    def applyTip(self) -> str:
        """What Apply does."""
        raise NotImplementedError

    def startRun(self):
        """Start and return a run; may raise InputProblem."""
        raise NotImplementedError

    # -- what others may ask

    @property
    def parameterNode(self):
        """The choices, wrapped; None while the panel is not shown."""
        return self._parameterNode

    @property
    def models(self) -> list:
        """What the worker told of the models there are; empty until it did."""
        return self._models

    # -- life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self._fill(self.ui.deviceComboBox, [(_("Automatic"), "auto")])
        self._fill(self.ui.modelComboBox, [(_("Small model that comes with AdaptSAM"), "")])
        self.ui.modelFileButton.clicked.connect(lambda checked=False: self.onModelFile())
        self.ui.installButton.clicked.connect(lambda checked=False: self.onInstall())
        self.ui.applyButton.clicked.connect(lambda checked=False: self.onApply())
        self.ui.plotButton.clicked.connect(lambda checked=False: self.onPlot())
        self.ui.reviewTable.cellClicked.connect(lambda row, column: self.onReview(row))
        self._targetBox, self._segmentBox = (getattr(self.ui, name) for name in self.resultBoxes)
        for box in (self._targetBox, self._segmentBox):
            box.currentTextChanged.connect(lambda text: self.onResult())
        for name in self.boxes.values():
            getattr(self.ui, name).currentTextChanged.connect(lambda text: self.onChosen())
        for name in self.lines.values():
            getattr(self.ui, name).textChanged.connect(lambda text: self.onChosen())
        self.prepare()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        self.ui.progressBar.visible = False
        self.initializeParameterNode()

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
        self._farewell = None
        running = self.run
        self.logic.abandon()
        if running is not None:
            self._farewell = running.ended[1]
        self.run = self.finished = None
        self._edits.clear()
        self.forget()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        self.showResults()
        self._problem = None
        self.initializeParameterNode()
        if self._farewell is not None:
            self.ui.statusLabel.text = self._farewell

    def onSceneChanged(self, caller=None, event=None) -> None:
        """Lists follow the scene, once in a moment however much happens in it."""
        if not self._updating:
            self._updating = True
            qt.QTimer.singleShot(0, self.onSceneSettled)

    def onSceneSettled(self) -> None:
        self._updating = False
        self.update()

    def lookForPackages(self) -> None:
        """Which packages are missing, looked up when the panel is opened and after an installation."""
        self._lacking = packages.lacking()

    def initializeParameterNode(self) -> None:
        self.lookForPackages()
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

    def onParameters(self, caller=None, event=None) -> None:
        self.update()

    def update(self) -> None:
        """Lists, choices and buttons as the parameters and the scene are now."""
        # What a scene brings is shown when all of it is there, or choices would be taken for those of nodes that are gone.
        if self._parameterNode is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.showInputs()
            self.showChoices()
            self.checkCanApply()

    def showChoices(self) -> None:
        """Boxes, lines and the card of the model as the parameters are now."""
        self._showing = True  # one that was shown would bring what the others show into the parameters
        for parameter, name in self.boxes.items():
            self._choose(getattr(self.ui, name), getattr(self._parameterNode, parameter))
        for parameter, name in self.lines.items():
            line, text = getattr(self.ui, name), getattr(self._parameterNode, parameter)
            if line.text != text:
                line.text = text
        self._showing = False
        self._showCard()

    def onChosen(self) -> None:
        """What boxes and lines show, into the parameters."""
        node = self._parameterNode
        if node is None or self._showing:
            return
        modifying = node.StartModify()
        for parameter, name in self.boxes.items():
            setattr(node, parameter, self._chosen(getattr(self.ui, name)))
        for parameter, name in self.lines.items():
            setattr(node, parameter, getattr(self.ui, name).text)
        node.EndModify(modifying)

    # -- lists and tables

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

    def _listImages(self, nodes) -> None:
        """The images that can be targets, ticked as the parameters say."""
        entries = [(one.GetID(), self._titled(one)) for one in nodes]
        self._list(self.ui.targetList, entries, [one.GetID() for one in self.targets()])

    def _tickedImages(self) -> list:
        return images.listed([slicer.mrmlScene.GetNodeByID(one) for one in self._ticked(self.ui.targetList)])

    def targets(self) -> list:
        """The images that are chosen, and still there."""
        return images.listed(self._parameterNode.targets)

    def _table(self, table, titles, rows) -> None:
        table.clear()
        # Qt does not keep Python's items alive in every version of PythonQt.
        kept = self._items[table.objectName] = []
        table.columnCount, table.rowCount = len(titles), len(rows)
        table.setHorizontalHeaderLabels(titles)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                kept.append(qt.QTableWidgetItem(text))
                kept[-1].setToolTip(text)
                table.setItem(number, column, kept[-1])
        table.resizeColumnsToContents()
        # What is in the first column is a title, and may be cut short where the figures need the room.
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)

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
            text = f"{known['card']}{needs}"
        else:
            text = value
        command = elsewhere()
        if command:
            text = (
                _("The images are sent to another machine ({command}).").format(command=shlex.join(command))
                + " "
                + text
            )
        self.ui.modelCardLabel.text = text

    def onModelFile(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            None, _("Choose a checkpoint"), "", _("Checkpoints (*.pth *.pt *.safetensors)")
        )
        path = path[0] if isinstance(path, tuple) else path
        if path:
            self._parameterNode.model = path

    def onInstall(self) -> None:
        self._install()

    def _install(self, *path) -> None:
        """Install what is missing, and say so if Slicer has to be restarted for it."""
        replaced = []
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            replaced = packages.install(packages.wheelFolder(), *path)
        if not Engine.shared().busy:  # or its end brings the next worker
            Engine.shared().close()
            self._models = []
        self.lookForPackages()
        self.update()
        self.askWorker()
        if replaced:
            self.ui.statusLabel.text = _("Restart Slicer: a package that it had loaded was replaced ({names}).").format(
                names=", ".join(replaced)
            )

    # -- a run

    def checkCanApply(self) -> None:
        """Apply works, or says why not; during a run it cancels."""
        ui, lacking = self.ui, self._lacking
        ui.installButton.visible = bool(lacking)
        if self.run is not None:
            ui.applyButton.text, ui.applyButton.enabled = _("Cancel"), True
            ui.applyButton.toolTip = _("Stops within two seconds and leaves the scene as it was.")
            return
        problem = sentence(self.checkInputs)
        if lacking:
            problem = _("{count} Python packages are missing; install them first.").format(count=len(lacking))
        ui.applyButton.text, ui.applyButton.enabled = _("Apply"), not problem
        ui.applyButton.toolTip = problem or self.applyTip()
        if problem != self._problem:
            self._problem = ui.statusLabel.text = problem

    def onApply(self) -> None:
        if self.run is not None:
            self.ui.statusLabel.text = _("Stopping")
            self.run.cancel()  # may end it at once
            return
        question = self.inputQuestion()
        if question and not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            self.run = self.startRun()
        except InputProblem as error:
            self.ui.statusLabel.text = str(error)
            return
        self.ui.progressBar.visible = True
        self.onProgress(0.0, None, _("Reading the images"))
        self.checkCanApply()

    def onProgress(self, share: float, remaining, text: str) -> None:
        showProgress(self.ui.progressBar, self.ui.statusLabel, share, remaining, text)

    def onOutcome(self, outcome) -> None:
        """Into the tables; not more often than somebody can read."""
        if self.run is not None and time.monotonic() - self._shownAt > READ:
            self.showResults(self.run)
            self._shownAt = time.monotonic()

    def onEnd(self, kind: str, message: str) -> None:
        run, self.run = self.run, None
        self.ui.progressBar.visible = False
        if kind == "done":
            self.finished = run
            self._edits.clear()
        self.showResults(self.finished)
        if self._parameterNode is not None:
            self.checkCanApply()
        done = _("Done. Review the slices below before you use anything.")
        self.ui.statusLabel.text = message or done

    # -- results

    def showResults(self, run=None) -> None:
        """The tables and boxes of a run; empty without one."""
        outcomes, names = self.showTables(run)
        self.ui.plotButton.enabled = len(outcomes) > 1 and run is not None and run.ended is not None
        self._fill(self._targetBox, [(one.target.title, str(number)) for number, one in enumerate(outcomes)])
        self._fill(self._segmentBox, [(name, segmentId) for segmentId, name in names.items()])
        self.onResult()

    def showTables(self, run) -> tuple:
        """The tables of a run as its reports are now; returns its outcomes, and the names of its structures."""
        outcomes = self._shown = list(run.outcomes) if run is not None else []
        names = run.names if run is not None else {}
        unit, length = results.units(outcomes)
        fine = results.digits(outcomes)
        shift = _("Shift\n{unit}").format(unit=length)
        titles = [_("Target"), _("Structure"), unit, _("Change\n%"), shift, _("Confidence"), _("Review")]
        rows = []
        for outcome in outcomes:
            for segmentId, report in outcome.reports.items():
                rows.append([outcome.target.title, names[segmentId], *results.figures(report, fine)])
        if not self.hasPrior:
            titles, rows = titles[:3] + titles[5:], [row[:3] + row[5:] for row in rows]
        self._table(self.ui.resultTable, titles, rows)
        self._reviews = results.reviews(outcomes, names)
        listed = [
            [one.target.title, one.name, str(one.index), f"{one.confidence:.2f}", one.reason]
            for one in self._reviews[:LISTED]
        ]
        self._table(self.ui.reviewTable, [_("Target"), _("Structure"), _("Slice"), _("Confidence"), _("Why")], listed)
        return outcomes, names

    def resultReady(self) -> bool:
        """Whether there is a result that can be corrected or replayed."""
        return self.run is None and self.finished is not None and bool(self.finished.outcomes)

    def chosenOutcome(self):
        """The result of the chosen target."""
        return self.finished.outcomes[int(self._chosen(self._targetBox))]

    def edit(self, make):
        """What changes the chosen structure of the chosen target, with all that can be undone, until the next result."""
        key = (self._chosen(self._targetBox), self._chosen(self._segmentBox))
        if key not in self._edits:
            self._edits[key] = make(self.finished, self.chosenOutcome(), key[1])
        return self._edits[key]

    def ended(self, edit, told):
        """What an edit tells at its end, unless its result is gone meanwhile; the tables follow it."""

        def tell(kind: str, message: str) -> None:
            if edit in self._edits.values():
                self.showTables(self.run or self.finished)
                told(kind, message)

        return tell

    def attempt(self, work) -> bool:
        """Do something; where it cannot be done, the sentence is shown. Whether it was done."""
        problem = sentence(work)
        if problem:
            self.ui.statusLabel.text = problem
        return not problem

    def onReview(self, row: int) -> bool:
        """Show a slice that should be looked at, and choose its target and structure. Whether it is there."""
        review = self._reviews[row]
        targets = [one.target for one in self._shown]
        self._choose(self._targetBox, str(targets.index(review.target)))
        self._choose(self._segmentBox, review.segmentId)
        if not self.attempt(lambda: results.jump(review)):
            return False
        self._place = review.ras
        return True

    def onPlot(self) -> None:
        charts = images.listed([one for one in self.finished.made if one.IsA("vtkMRMLPlotChartNode")])
        if charts:
            slicer.modules.plots.logic().ShowChartInLayout(charts[0])


def sentence(check) -> str:
    """What a check that raises InputProblem says, or ""."""
    try:
        check()
    except InputProblem as error:
        return str(error)
    return ""


def showProgress(bar, label, share: float, remaining, text: str) -> None:
    """The share done (0 to 1) and seconds to go, or None, on a bar of 1000 and a label."""
    bar.value = int(1000 * share)
    left = "" if remaining is None else _(", about {time} left").format(time=duration(remaining))
    label.text = text + left


def duration(seconds: float) -> str:
    """A time to go in words."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))
