"""The part of the panel in which an agent's steps on a slice are watched and changed."""

from __future__ import annotations

import qt
import slicer.util
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.panel import BasePanel
from slicer.i18n import tr as _


class ReplayPanel(BasePanel):
    """The part of AutoPromptSAM's panel that replays.

    Attributes:
        replay: the AutoPromptSAMLib.replay.Replay that is shown, or None.
    """

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self.replay = None

    def prepareReplay(self) -> None:
        """Connect widgets, once."""
        ui = self.ui
        ui.replaySliceSpinBox.valueChanged.connect(lambda value: self.onReplaySlice(int(value)))
        ui.stepSlider.valueChanged.connect(lambda value: self.onStep(value))
        ui.replayButton.clicked.connect(lambda checked=False: self.onReplay())
        ui.flipButton.clicked.connect(lambda checked=False: self.replay.flip())
        ui.pointRemoveButton.clicked.connect(lambda checked=False: self.replay.remove())
        ui.goOnButton.clicked.connect(lambda checked=False: self.onGoOn(True))
        ui.decodeButton.clicked.connect(lambda checked=False: self.onGoOn(False))
        ui.useMaskButton.clicked.connect(lambda checked=False: self.onUseMask())
        ui.undoButton.clicked.connect(lambda checked=False: self.onUndo())
        ui.priorButton.clicked.connect(lambda checked=False: self.onPrior())
        self.onResult()

    # -- results

    def onChosenResult(self) -> None:
        """Show what an agent did on the slice that was chosen."""
        super().onChosenResult()
        if self.resultReady() and self.view.current is not self.view.structure.whole:
            if self.replay is None:
                self.onReplay()
            if self.replay is not None and self.view.current.index in self.replay.slices:
                self.ui.replaySliceSpinBox.value = self.view.current.index

    # -- replay

    def onResult(self) -> None:
        """Another structure or target: it is not replayed yet."""
        ready = self.resultReady()
        self.ui.replayButton.enabled = self.ui.priorButton.enabled = ready
        if self.replay is not None and ready and self.edit(self.logic.replay) is self.replay:
            return
        if self.replay is not None:
            self.replay.hide()
        self.replay = None
        self._enableReplay(False)
        self.ui.stepLabel.text = ""

    def _enableReplay(self, on: bool) -> None:
        ui = self.ui
        for widget in (
            ui.replaySliceSpinBox,
            ui.stepSlider,
            ui.flipButton,
            ui.pointRemoveButton,
            ui.goOnButton,
            ui.decodeButton,
            ui.useMaskButton,
            ui.undoButton,
        ):
            widget.enabled = on

    def onReplay(self) -> None:
        """Replay the slice on which the agent was surest."""
        if self.replay is not None:
            self.replay.hide()
        self.ui.replayCollapsibleButton.collapsed = False
        self.replay = self.edit(self.logic.replay)
        if not self.replay.slices:
            self.ui.statusLabel.text = _("The agent was asked on no slice: there is nothing on them.")
            self.replay = None
            return
        self._enableReplay(True)
        spin, best = self.ui.replaySliceSpinBox, self.replay.best()
        blocked = spin.blockSignals(True)
        spin.minimum, spin.maximum = self.replay.slices[0], self.replay.slices[-1]
        spin.value = best
        spin.blockSignals(blocked)
        self.onReplaySlice(best)

    def onReplaySlice(self, index: int) -> None:
        if self.replay is None:
            return
        try:
            self.replay.show(index)
        except InputProblem as error:
            self.ui.statusLabel.text = str(error)
            return
        slider = self.ui.stepSlider
        blocked = slider.blockSignals(True)
        slider.minimum, slider.maximum = 0, self.replay.steps - 1
        slider.value = self.replay.step
        slider.blockSignals(blocked)
        self._showStep()

    def onStep(self, step: int) -> None:
        if self.replay is not None:
            self.replay.show(self.replay.index, step)
            self._showStep()

    def _showStep(self) -> None:
        self.ui.stepLabel.text = _("step {step} of {last}, {count} pixels").format(
            step=self.replay.step, last=self.replay.steps - 1, count=int(self.replay.mask().sum())
        )

    def onGoOn(self, play: bool) -> None:
        if self.attempt(lambda: self.replay.goOn(play, self.ended(self.replay, self.onWentOn))):
            self.ui.statusLabel.text = _("The agent goes on") if play else _("Decoding")

    def onWentOn(self, kind: str, message: str) -> None:
        self.ui.statusLabel.text = message if kind == "error" else _("The slice was changed.")
        if kind == "done" and self.replay is not None:
            self.onReplaySlice(self.replay.index)

    def onUseMask(self) -> None:
        if self.attempt(self.replay.accept):
            self.view.show(self.finished)
            self.ui.statusLabel.text = _("The slice was changed.")

    def onUndo(self) -> None:
        text = _("Taken back.") if self.replay.canUndo else _("There is nothing to take back.")
        if self.attempt(self.replay.undo):
            self.view.show(self.finished)
            self.ui.statusLabel.text = text

    def onPrior(self) -> None:
        """Open PersonalizedSAM with what was found as its prior."""
        if self.attempt(lambda: self.logic.useAsPrior(self.finished, self.chosenOutcome())):
            slicer.util.selectModule("PersonalizedSAM")
