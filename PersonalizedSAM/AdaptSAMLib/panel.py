"""Base of the modules' panels: their life, their worker, and a run from Apply to its end. Work is the logic's."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib import packages
from AdaptSAMLib.computer import Computer
from AdaptSAMLib.edit import Edit
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.logic import BaseLogic
from AdaptSAMLib.modelbox import ModelBox
from AdaptSAMLib.parameterpanel import ParameterPanel
from AdaptSAMLib.results import Outcome
from AdaptSAMLib.resultview import ResultView
from AdaptSAMLib.run import BaseRun

#: Seconds between two views of growing results.
READ = 1.0

#: Parts of the panels that are the same in all modules, by where a module wants them.
SHARED = {"runPlace": "AdaptSAMRun", "resultsPlace": "AdaptSAMResults", "computerPlace": "AdaptSAMComputer"}
_UI = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Resources", "UI")


class BasePanel(ParameterPanel):
    """Panel without inputs; a module's own adds them, says when a run can start, and starts it."""

    #: Whether results are compared with a prior.
    hasPrior = False

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self.logic = None
        self.run = None
        self.finished = None
        self._problem = None
        self._lacking = []
        self._edits = {}
        self._shownAt = 0.0
        self._farewell = None

    # -- what a module adds

    def makeLogic(self) -> BaseLogic:
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill choices and connect widgets, once."""
        raise NotImplementedError

    def fillDefaults(self) -> None:
        """Choose inputs from the scene where the choice is plain."""

    def forget(self) -> None:
        """Forget the result, which is gone from the scene."""

    def onResult(self) -> None:
        """Another structure or slice was chosen among the results, or they are others."""
        raise NotImplementedError

    def checkInputs(self) -> None:
        """Raises InputProblem where a run cannot start."""
        raise NotImplementedError

    def inputQuestion(self) -> str:
        """Question for the user before a run, or ""."""
        return ""

    def applyTip(self) -> str:
        """Tooltip of Apply: what it does."""
        raise NotImplementedError

    def startRun(self) -> BaseRun:
        """Start and return a run; may raise InputProblem."""
        raise NotImplementedError

    # -- read by others

    @property
    def models(self) -> list:
        """Descriptions of the models, from the worker's first answer; empty before it."""
        return self.modelBox.models

    # -- life of the panel

    def setup(self) -> None:
        super().setup()
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(widget)
        self.ui = _withShared(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self.modelBox = ModelBox(self.ui, Engine.shared, self.onFetching, self.onFetched)
        self.view = ResultView(self.ui, self.hasPrior, self.onChosenResult, self.tell)
        self.computer = Computer(self.ui, self.ask, self.onWorkerMoved, self.onReinstall)
        self.ui.modelFileButton.clicked.connect(lambda checked=False: self.onModelFile())
        self.ui.modelCollapsibleButton.contentsCollapsed.connect(self.onModelSection)
        self.ui.installButton.clicked.connect(lambda checked=False: self.onInstall())
        self.ui.applyButton.clicked.connect(lambda checked=False: self.onApply())
        self.prepare()
        self.connectChoices()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.progressBar.visible = False
        self.initializeParameterNode()

    def cleanup(self) -> None:
        self.view.close()
        self.logic.abandon()
        self.setParameterNode(None)
        self.removeObservers()

    def onReload(self) -> None:
        """This module's files and those that modules share are read anew; the worker of the old ones ends."""
        Engine.shared().close()
        ours = ("AdaptSAMLib", f"{self.moduleName}Lib", "adaptsam")
        for name in [one for one in sys.modules if one.partition(".")[0] in ours]:
            del sys.modules[name]
        super().onReload()

    def enter(self) -> None:
        self.initializeParameterNode()
        if self.needsWorker():
            self.askWorker()
        self.view.open()

    def exit(self) -> None:
        self.view.close()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: object = None, event: object = None) -> None:
        self._farewell = None
        running = self.run
        self.logic.abandon()
        if running is not None:
            self._farewell = running.ended[1]
        self.run = self.finished = None
        self._edits.clear()
        self.view.forget()
        self.forget()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: object = None, event: object = None) -> None:
        self.showResults()
        self._problem = None
        self.initializeParameterNode()
        if self._farewell is not None:
            self.ui.statusLabel.text = self._farewell

    def lookAround(self) -> None:
        """Look for what is on this computer, when the panel is opened and after an installation: packages."""
        self._lacking = packages.lacking()

    def initializeParameterNode(self) -> None:
        self.lookAround()
        self.setParameterNode(self.logic.getParameterNode())
        self.fillDefaults()

    # -- the worker's models and devices

    def needsWorker(self) -> bool:
        """Whether the panel shows what only the worker knows; until then none is started."""
        return bool(self._parameterNode.model) or not self.ui.modelCollapsibleButton.collapsed

    def onModelSection(self, folded: bool) -> None:
        if not folded and self._parameterNode is not None:
            self.askWorker()

    def askWorker(self) -> None:
        """Request the list of models and devices; starts the worker."""
        if not self._lacking and not self.modelBox.models:
            Engine.shared().request("hello", self.onHello)

    def onHello(self, event: dict) -> None:
        if event["event"] in ("error", "lost"):
            self.tell(event["message"])
        if event["event"] != "hello":
            return
        self.modelBox.tell(event["models"], event["devices"])
        self.update()

    def showState(self) -> None:
        """The card of the model, and whether Apply works."""
        self.modelBox.show(self._parameterNode.model)
        self.checkCanApply()

    def onFetching(self, share: float, remaining: float | None, text: str) -> None:
        self.ui.progressBar.visible = True
        self.onProgress(share, remaining, text)

    def onFetched(self, message: str) -> None:
        """Weights came or went; the worker says what is here now."""
        self.ui.progressBar.visible = self.run is not None
        self._problem = None
        self.tell(message)
        self.ask("hello", self.onHello)

    def onWorkerMoved(self) -> None:
        """Another machine has other models, devices and packages."""
        if Engine.shared().busy:
            self.tell(_("The worker is busy; the new address counts when Slicer is started again."))
            return
        Engine.shared().close()
        self.modelBox.models = []
        self.initializeParameterNode()
        self.askWorker()

    def ask(self, do: str, handler: Callable[[dict], Any], **content: Any) -> None:
        """Send the worker a request beside runs, if its packages are installed."""
        if self._lacking:
            self.tell(_("{count} Python packages are missing; install them first.").format(count=len(self._lacking)))
        else:
            Engine.shared().request(do, handler, **content)

    def tell(self, message: str) -> None:
        self.ui.statusLabel.text = message

    def onModelFile(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            None, _("Choose a checkpoint"), "", _("Checkpoints (*.pth *.pt *.safetensors)")
        )
        path = path[0] if isinstance(path, tuple) else path
        if path:
            self._parameterNode.model = path

    def onInstall(self) -> None:
        self._install()

    def onReinstall(self) -> None:
        """All packages anew, where an installation broke."""
        question = _("All Python packages of AdaptSAM but PyTorch are installed again, which takes minutes. Go on?")
        if slicer.util.confirmYesNoDisplay(question):
            self._try(lambda: packages.reinstall(packages.wheelFolder()))
            self._install()

    def _install(self, *path: str) -> None:
        """Install what is missing, and say so if Slicer has to be restarted for it."""
        replaced, problem = self._try(lambda: packages.install(packages.wheelFolder(), *path))
        if not Engine.shared().busy:  # or its end brings the next worker
            Engine.shared().close()
            self.modelBox.models = []
        self._problem = None
        self.lookAround()  # something may be there now, even where the rest was declined or failed
        self.update()
        if self.needsWorker():
            self.askWorker()
        if replaced:
            names = ", ".join(replaced)
            problem = _("Restart Slicer: a package that it had loaded was replaced ({names}).").format(names=names)
        if problem:
            self.tell(problem)

    def _try(self, work: Callable[[], Any]) -> tuple[Any, str]:
        """Result of an installation, and the reason why it was not begun, or ""; a failure is shown."""
        done, problem = None, ""
        try:
            with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
                try:
                    done = work()
                except InputProblem as declined:
                    problem = str(declined)
        except Exception:
            logging.exception("AdaptSAM: the packages could not be installed.")
        return done, problem

    # -- a run

    def checkCanApply(self) -> None:
        """Apply works, or says why not; during a run it cancels."""
        ui, lacking = self.ui, self._lacking
        ui.installButton.visible = bool(lacking)
        if self.run is not None:
            ui.applyButton.text, ui.applyButton.enabled = _("Cancel"), True
            ui.applyButton.toolTip = _("Stops within two seconds and leaves the scene as it was.")
            return
        problem = sentence(self.checkInputs) or self.modelBox.lack()
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

    def onProgress(self, share: float, remaining: float | None, text: str) -> None:
        showProgress(self.ui.progressBar, self.ui.statusLabel, share, remaining, text)

    def onOutcome(self, outcome: Outcome) -> None:
        """Show a growing result, not more often than it can be read."""
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
        self.tell(message or _("Done. Look at the slices below before you use anything."))
        slicer.util.showStatusMessage(f"{self.moduleName}: {self.ui.statusLabel.text}", 5000)

    # -- results

    def showResults(self, run: BaseRun | None = None) -> None:
        """The results of a run; none without one."""
        self.view.show(run)
        self.onResult()

    def onChosenResult(self) -> None:
        """A structure or slice was chosen in the tree, or the next one by its key; the views are there."""
        self.onResult()

    def resultReady(self) -> bool:
        """Whether there is a result that can be corrected or replayed."""
        return self.run is None and self.finished is not None and self.view.structure is not None

    def chosenOutcome(self) -> Outcome:
        """The result of the chosen target."""
        return self.view.structure.outcome

    def edit(self, make: Callable[[BaseRun, Outcome, str], Edit]) -> Edit:
        """Edit of the chosen structure of the chosen target, with its undo steps, until the next result."""
        one = self.view.structure
        key = (one.outcome.target.key, one.segmentId)
        if key not in self._edits:
            self._edits[key] = make(self.finished, one.outcome, one.segmentId)
        return self._edits[key]

    def ended(self, edit: Edit, told: Callable[[str, str], None]) -> Callable[[str, str], None]:
        """Callback for an edit's end: updates the results and calls ``told``, unless the result is gone meanwhile."""

        def tell(kind: str, message: str) -> None:
            if edit in self._edits.values():
                self.view.show(self.run or self.finished)
                told(kind, message)

        return tell

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do something; where it cannot be done, the sentence is shown. Whether it was done."""
        problem = sentence(work)
        if problem:
            self.tell(problem)
        return not problem


def _withShared(widget: qt.QWidget) -> Any:
    """The widgets of a panel by their names, after the parts that all modules share were put into their places."""
    own = slicer.util.childWidgetVariables(widget)
    for place, name in SHARED.items():
        part = slicer.util.loadUI(os.path.join(_UI, f"{name}.ui"))
        getattr(own, place).layout().addWidget(part)
    return slicer.util.childWidgetVariables(widget)


def sentence(check: Callable[[], object]) -> str:
    """Sentence of a check that raises InputProblem, or ""."""
    try:
        check()
    except InputProblem as error:
        return str(error)
    return ""


def showProgress(bar: qt.QProgressBar, label: qt.QLabel, share: float, remaining: float | None, text: str) -> None:
    """The share done (0 to 1) and seconds to go, or None, on a bar of 1000 and a label."""
    bar.value = int(1000 * share)
    left = "" if remaining is None else _(", about {time} left").format(time=duration(remaining))
    label.text = text + left


def duration(seconds: float) -> str:
    """A time to go in words."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))
