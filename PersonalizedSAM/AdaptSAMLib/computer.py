"""Settings of this computer that both panels share: where the worker runs, where wheels lie, what is kept, and the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib.engine import Engine

#: What is kept in Slicer's settings.
WORKER, WHEELS = "AdaptSAM/WorkerCommand", "AdaptSAM/WheelFolder"


class Computer:
    """The part of a panel called "This computer".

    Args:
        ui: the panel's widgets.
        ask: called with a request of the worker, a handler and its content, where a worker can be asked.
        changed: called when the worker's address was changed.
        reinstall: installs all packages anew.
    """

    def __init__(
        self, ui: Any, ask: Callable[..., Any], changed: Callable[[], None], reinstall: Callable[[], None]
    ) -> None:
        self._ui, self._ask, self._changed = ui, ask, changed
        for line, key in ((ui.workerLineEdit, WORKER), (ui.wheelLineEdit, WHEELS)):
            line.text = str(qt.QSettings().value(key, "") or "")
            line.editingFinished.connect(lambda line=line, key=key: self._keep(line, key))
        ui.wheelFolderButton.clicked.connect(lambda checked=False: self.onWheelFolder())
        ui.clearButton.clicked.connect(lambda checked=False: self.onClear())
        ui.reinstallButton.clicked.connect(lambda checked=False: reinstall())
        ui.logButton.clicked.connect(lambda checked=False: self.onLog())
        ui.keptLabel.text = ""

    def _keep(self, line: qt.QLineEdit, key: str) -> None:
        """A line into Slicer's settings, which outlive the scene."""
        text = line.text.strip()
        if text == str(qt.QSettings().value(key, "") or ""):
            return
        qt.QSettings().setValue(key, text)
        if key == WORKER:
            self._changed()

    def onWheelFolder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Choose the folder of wheels"), "")
        if path:
            self._ui.wheelLineEdit.text = path
            self._keep(self._ui.wheelLineEdit, WHEELS)

    def onClear(self) -> None:
        self._ask("kept", self._onKept, clear=True)

    def _onKept(self, event: dict) -> None:
        if event["event"] == "kept":
            self._ui.keptLabel.text = _("Encoded slices: {size:.0f} MB in {folder}").format(
                size=event["bytes"] / 1e6, folder=event["folder"]
            )
        elif event["event"] in ("error", "lost"):
            self._ui.keptLabel.text = event["message"]

    def onLog(self) -> None:
        Engine.shared().keepLog()
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(slicer.app.errorLogModel().filePath))
