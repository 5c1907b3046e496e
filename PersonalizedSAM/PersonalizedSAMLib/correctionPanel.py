"""The part of the panel in which a slice of a result is corrected: a click on it runs it again."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
import slicer.util
import vtk
from AdaptSAMLib import geometry
from AdaptSAMLib.keys import Keys
from AdaptSAMLib.panel import BasePanel
from AdaptSAMLib.run import BaseRun
from slicer.i18n import tr as _

from PersonalizedSAMLib.correction import Correction
from PersonalizedSAMLib.placing import Placing

#: Labels of prompts by the names of their buttons.
LABELS = {"structure": 1, "background": 0}

_VIEWS = ("Red", "Yellow", "Green")


class CorrectionPanel(BasePanel):
    """The half of PersonalizedSAM's panel that corrects.

    Attributes:
        correction: the PersonalizedSAMLib.correction.Correction whose prompts are shown, or None.
    """

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self.correction = None

    def prepareCorrection(self) -> None:
        """Connect widgets, once."""
        ui = self.ui
        buttons = {"structure": ui.addButton, "background": ui.excludeButton}
        self._placing = Placing(buttons, self.onPlacing, self.onPlaced)
        for button in buttons.values():
            button.clicked.connect(lambda on=False: self._tellHow(on))
        self._placeKeys = Keys(ui.correctionLabel, {"+": ui.addButton, "-": ui.excludeButton})
        ui.followButton.clicked.connect(lambda checked=False: self.onFollow())
        ui.undoButton.clicked.connect(lambda checked=False: self.onUndo())
        ui.acceptButton.clicked.connect(lambda checked=False: self.onAccept())
        self.onResult()

    def enter(self) -> None:
        super().enter()
        self._placeKeys.on()

    def exit(self) -> None:
        self._placeKeys.off()
        self._placing.stop()
        self._hide()
        super().exit()

    def cleanup(self) -> None:
        self._placeKeys.off()
        self._placing.stop()
        super().cleanup()

    def forget(self) -> None:
        self._placing.stop()
        self.correction = None
        self._watchViews(False)

    # -- which structure, and which slice

    def showResults(self, run: BaseRun | None = None) -> None:
        if run is not None and run.outcomes and not self.view.structures:
            self.ui.correctionCollapsibleButton.collapsed = False
        super().showResults(run)

    def onResult(self) -> None:
        """Another structure or target: its prompts are not shown yet."""
        ready = self.resultReady()
        if not ready or (self.correction is not None and self.edit(self.logic.correction) is not self.correction):
            self._placing.stop()
            self._hide()
        ui = self.ui
        for one in (ui.addButton, ui.excludeButton, ui.followButton, ui.acceptButton):
            one.enabled = ready
        self._showUndo()
        self._tellSlice()
        if self.correction is not None:
            self.onSliceMoved()

    def _hide(self) -> None:
        if self.correction is not None:
            self.correction.hidePrompts()
        self.correction = None
        self._watchViews(False)

    def _tellSlice(self) -> None:
        """Show which slice of which structure is corrected."""
        text = _("Nothing to correct yet.")
        if self.resultReady():
            one = self.view.structure
            correction = self.edit(self.logic.correction)
            text = _("{name} in {target}, slice {index}").format(
                name=one.name, target=one.outcome.target.title, index=self.currentSlice(correction)
            )
        self.ui.correctionLabel.text = text

    def currentSlice(self, correction: Correction | None = None) -> int:
        """The slice of the target in the view that looks at its slices; without a view, the one that is chosen."""
        correction = correction or self.correction
        views = [slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{color}") for color in _VIEWS]
        planes = [slicer.util.arrayFromVTKMatrix(one.GetSliceToRAS()) for one in views if one is not None]
        if planes:
            across = correction.normal()
            plane = max(planes, key=lambda one: round(abs(float(one[:3, 2] @ across)), 3))
            return correction.currentSlice(plane[:3, 3])
        chosen = self.view.current
        return correction.currentSlice(
            chosen.ras if chosen is not None else geometry.worldOfVoxel(correction.volumeNode, [0, 0, 0])
        )

    def _watchViews(self, on: bool) -> None:
        """While prompts are shown, they are those of the slice in the view."""
        for color in _VIEWS:
            view = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{color}")
            if view is not None and self.hasObserver(view, vtk.vtkCommand.ModifiedEvent, self.onSliceMoved) != on:
                change = self.addObserver if on else self.removeObserver
                change(view, vtk.vtkCommand.ModifiedEvent, self.onSliceMoved)

    def onSliceMoved(self, caller: object = None, event: object = None) -> None:
        if self.correction is None or not self.resultReady():
            return
        index = self.currentSlice()
        if index != self.correction.shown:
            self.correction.showPrompts(index)
            self._tellSlice()

    # -- points

    def showPrompts(self) -> bool:
        """The prompts of the slice in the view. Whether they can be shown."""
        self.correction = self.edit(self.logic.correction)
        shown = self.attempt(lambda: self.correction.check(self.correction.outcome))
        if shown:
            self.correction.showPrompts(self.currentSlice())
            self._watchViews(True)
        return shown

    def _tellHow(self, on: bool) -> None:
        if on and self._placing.active is not None:
            self.tell(_("Click in the slice; it is run again at once. Escape ends it."))

    def onPlacing(self, name: str) -> slicer.vtkMRMLMarkupsNode | None:
        """The list that the next points go into."""
        if self.correction is None and not self.showPrompts():
            return None
        return self.correction.prompts[LABELS[name]]

    def onPlaced(self, name: str) -> None:
        """A point was placed on the slice: run it again."""
        told = self.ended(self.correction, self.onCorrected)
        if not self._correct(lambda: self.correction.rerun(self.correction.shown, told)):
            self._placing.again()

    # -- corrections

    def onFollow(self) -> None:
        correction = self.edit(self.logic.correction)
        told = self.ended(correction, self.onCorrected)
        index = self.currentSlice(correction)
        self._correct(lambda: correction.follow(index, self._parameterNode.followReach, told))

    def _correct(self, ask: Callable[[], object]) -> bool:
        asked = self.attempt(ask)
        if asked:
            self.tell(_("Correcting"))
        return asked

    def onCorrected(self, kind: str, message: str) -> None:
        self.tell(message if kind == "error" else _("Corrected."))
        self._showUndo()
        self._placing.again()

    def onUndo(self) -> None:
        correction = self.edit(self.logic.correction)
        if self.attempt(correction.undo):
            self.view.show(self.finished)
            self.tell(_("Taken back."))
            if correction is self.correction:
                correction.showPrompts(self.currentSlice())
        self._showUndo()

    def _showUndo(self) -> None:
        self.ui.undoButton.enabled = self.resultReady() and self.edit(self.logic.correction).canUndo

    def onAccept(self) -> None:
        """A corrected visit is the prior of the next."""
        self.attempt(lambda: self.logic.useAsPrior(self.finished, self.chosenOutcome()))
