"""Keys that press a panel's buttons while it is open."""

from __future__ import annotations

import qt
import slicer.util


class Keys:
    """Shortcuts of the main window.

    Args:
        parent: the panel's widget, where there is no main window.
        buttons: keys, such as "N", to buttons.
    """

    def __init__(self, parent: qt.QWidget, buttons: dict) -> None:
        self._parent, self._buttons = parent, buttons
        self._shortcuts: list = []

    def on(self) -> None:
        self.off()
        for key, button in self._buttons.items():
            shortcut = qt.QShortcut(slicer.util.mainWindow() or self._parent)
            shortcut.key = qt.QKeySequence(key)
            shortcut.activated.connect(lambda button=button: button.click())
            self._shortcuts.append(shortcut)

    def off(self) -> None:
        for one in self._shortcuts:
            one.setParent(None)
            one.deleteLater()
        self._shortcuts.clear()
