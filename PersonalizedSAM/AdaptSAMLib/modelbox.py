"""The models that a panel offers: what each is, whether it is here, and how it comes here and goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib import choices
from AdaptSAMLib.engine import ENDS, Engine, elsewhere


class ModelBox:
    """The boxes of model and device, the card, and the buttons that fetch and remove weights.

    Args:
        ui: the panel's widgets.
        engine: a function that returns the AdaptSAMLib.engine.Engine.
        progress: called with a share (0 to 1), None, and a text, while weights are fetched.
        ended: called with a sentence when they are, or were removed.

    Attributes:
        models: what the worker told of the models there are; empty until it did.
        fetching: the number of the request that fetches, or None.
    """

    def __init__(
        self,
        ui: Any,
        engine: Callable[[], Engine],
        progress: Callable[[float, float | None, str], None],
        ended: Callable[[str], None],
    ) -> None:
        self.models: list = []
        self.fetching = None
        self._ui, self._engine, self._progress, self._ended = ui, engine, progress, ended
        self._value, self._cancelled = "", False
        self._devices: list = []
        choices.fill(ui.deviceComboBox, [(_("Automatic"), "auto")])
        choices.fill(ui.modelComboBox, [(_("Lite, the model that comes with AdaptSAM"), "")])
        ui.fetchButton.clicked.connect(lambda checked=False: self.onFetch())
        ui.removeButton.clicked.connect(lambda checked=False: self.onRemove())
        self._showButtons(None)

    def tell(self, models: list, devices: list) -> None:
        """Show the models and devices that the worker found."""
        self.models = models
        choices.fill(self._ui.modelComboBox, [(self._title(one), one["name"] or "") for one in models])
        self._devices = devices
        entries = [(_("Automatic"), "auto"), *((self._device(one, None), one["name"]) for one in devices)]
        choices.fill(self._ui.deviceComboBox, entries)

    @staticmethod
    def _device(one: dict, known: dict | None) -> str:
        """A device with its memory, and what a model computes in there, if the worker told."""
        precision = (known or {}).get("precisions", {}).get(one["name"])
        amount = {"label": one["label"], "free": one["free"] / 1e9, "total": one["total"] / 1e9}
        if precision is None:
            return _("{label}: {free:.1f} of {total:.1f} GB free").format(**amount)
        return _("{label} ({precision}): {free:.1f} of {total:.1f} GB free").format(precision=precision, **amount)

    @staticmethod
    def _title(one: dict) -> str:
        return one["label"] if one["here"] else _("{label} (not on this computer)").format(label=one["label"])

    def show(self, value: str) -> None:
        """The card, the precisions and the buttons of a model: its name, "" for the bundled one, or a file."""
        self._value = value
        known = self._known(value)
        for row, one in enumerate(self._devices, start=1):
            self._ui.deviceComboBox.setItemText(row, self._device(one, known))
        text = self._card(known) if known is not None else value
        command = elsewhere()
        if command:
            there = _("The images are sent to another machine ({command}).").format(command=shlex.join(command))
            text = f"{there} {text}"
        self._ui.modelCardLabel.text = text
        self._showButtons(known)

    def lack(self) -> str:
        """Reason why the model that is shown cannot be used yet, or ""."""
        known = self._known(self._value)
        if known is None or known["here"]:
            return ""
        return _("{label} is not on this computer; press Fetch, or choose another model.").format(label=known["label"])

    def _known(self, value: str) -> dict | None:
        return next((one for one in self.models if (one["name"] or "") == value), None)

    @staticmethod
    def _card(known: dict) -> str:
        needs = (
            _(" It needs about {gigabytes:.1f} GB.").format(gigabytes=known["needed"] / 1e9) if known["needed"] else ""
        )
        return known["card"] + needs + _(" Licence: {licence}.").format(licence=known["licence"])

    def _showButtons(self, known: dict | None) -> None:
        ui = self._ui
        ui.fetchButton.visible = known is not None and not known["here"]
        ui.removeButton.visible = known is not None and known["here"] and bool(known["name"])
        if self.fetching is not None:
            ui.fetchButton.text, ui.fetchButton.enabled = _("Stop fetching"), True
        elif known is not None:
            size = f"{known['bytes'] / 1e6:.0f} MB" if known.get("bytes") else _("size unknown")
            ui.fetchButton.text = _("Fetch ({size}, {licence})").format(size=size, licence=known["licence"])
            ui.fetchButton.enabled = bool(known.get("fetchable"))

    # -- weights come and go

    def onFetch(self) -> None:
        if self.fetching is not None:
            self._cancelled = True
            self._engine().cancel(self.fetching)
            return
        known = self._known(self._value)
        question = _("{label} is licensed under {licence}. Download it from its authors ({card})?")
        if not slicer.util.confirmYesNoDisplay(question.format(**known)):
            return
        self._cancelled = False
        self.fetching = self._engine().request("fetch_weights", self._onFetching, name=known["name"])
        self._showButtons(known)

    def _onFetching(self, event: dict) -> None:
        kind = event["event"]
        if kind == "progress":
            text = _("Fetching: {done:.0f} of {total:.0f} MB").format(
                done=event["done"] / 1e6, total=event["total"] / 1e6
            )
            self._progress(event["share"], None, text)
        elif kind in ENDS:
            self.fetching = None
            self._showButtons(self._known(self._value))
            if kind == "done":
                self._ended(_("The weights are on this computer, and what they should be."))
            elif kind == "cancelled" or self._cancelled:
                self._ended(_("Stopped. What has arrived is kept; Fetch goes on from there."))
            else:
                self._ended(event["message"])

    def onRemove(self) -> None:
        known = self._known(self._value)
        question = _("Remove the weights {label} from this computer? They can be fetched again.")
        if slicer.util.confirmYesNoDisplay(question.format(**known)):
            self._engine().request("clear_weights", self._onRemoved, name=known["name"])

    def _onRemoved(self, event: dict) -> None:
        if event["event"] == "freed":
            self._ended(_("{size:.0f} MB are free.").format(size=event["bytes"] / 1e6))
        elif event["event"] in ("error", "lost"):
            self._ended(event["message"])
