"""Points placed with the mouse: Slicer's own place mode, begun by a button that stays down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin


class Placing(VTKObservationMixin):
    """Buttons of which one at a time lets points be placed in its list of markups.

    A button stays down until it is pressed again, or place mode is left (Escape, another tool). After each point
    ``placed`` is called, and :meth:`again` goes on when what it started is over: while points are being exchanged in a
    list, no mouse may hold a place in it.

    Args:
        buttons: names to checkable buttons.
        begin: called with a name; returns the list of markups that points go into, or None where there can be none.
        placed: called with a name after a point was placed.
    """

    def __init__(self, buttons: dict, begin: Callable[..., Any], placed: Callable[..., Any]) -> None:
        VTKObservationMixin.__init__(self)
        self._buttons, self._begin, self._placed = buttons, begin, placed
        self._name, self._waiting = None, False
        for name, button in buttons.items():
            button.toggled.connect(lambda on, name=name: self._toggled(name, on))

    @property
    def active(self) -> str | None:
        """The name of the button that is down, or None."""
        return self._name

    def again(self) -> None:
        """Go on placing where a button is still down."""
        self._waiting = False
        if self._name is not None:
            self._start()

    def stop(self) -> None:
        """All buttons up, and place mode left."""
        name, self._name = self._name, None
        self._waiting = False
        self.removeObservers()
        for one in self._buttons.values():
            blocked = one.blockSignals(True)
            one.checked = False
            one.blockSignals(blocked)
        interaction = self._interaction()
        if name is not None and interaction is not None:
            interaction.SwitchToViewTransformMode()

    @staticmethod
    def _interaction() -> slicer.vtkMRMLInteractionNode | None:
        return slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")

    def _toggled(self, name: str, on: bool) -> None:
        self.stop()
        if not on:
            return
        button = self._buttons[name]
        blocked = button.blockSignals(True)
        button.checked = True
        button.blockSignals(blocked)
        self._name = name
        self._start()

    def _start(self) -> None:
        node = self._begin(self._name)
        if node is None:
            self.stop()
            return
        self.removeObservers()
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(node)
        logic.StartPlaceMode(False)
        self.addObserver(node, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self._onPoint)
        interaction = self._interaction()
        if interaction is not None:
            self.addObserver(interaction, slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent, self._onMode)

    def _onPoint(self, caller: object = None, event: object = None) -> None:
        """Slicer is still at work on the list; what follows waits for it."""
        self._waiting = True
        self.removeObservers()
        qt.QTimer.singleShot(0, self._tell)

    def _tell(self) -> None:
        if self._name is not None and self._waiting:
            self._placed(self._name)

    def _onMode(self, caller: object = None, event: object = None) -> None:
        qt.QTimer.singleShot(0, self._left)

    def _left(self) -> None:
        """Place mode ended: with a point, which has an event of its own, or because the user left it."""
        interaction = self._interaction()
        placing = interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place
        if not self._waiting and not placing:
            self.stop()
