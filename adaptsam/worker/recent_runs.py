"""Recent runs, and what requests about runs share: their settings, and the message about the model."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeVar

from adaptsam.nested_settings import change
from adaptsam.sam import EmbeddingStore
from adaptsam.worker import wire_format as wire
from adaptsam.worker.result_messages import Emit

#: Runs of a kind whose slices can still be changed.
KEPT_RUNS = 3

_Run = TypeVar("_Run")
_Settings = TypeVar("_Settings")


class LastRuns(OrderedDict[str, _Run]):
    """The last runs of a kind, by the keys that the client gave them."""

    def __setitem__(self, key: str, run: _Run) -> None:
        super().__setitem__(key, run)
        while len(self) > KEPT_RUNS:
            self.popitem(last=False)


def asked_settings(request: wire.Message, settings: _Settings) -> _Settings:
    """Settings with what the request changes, by dotted names; lists stand for tuples, as JSON has none."""
    changed: Any = settings
    for name, value in request.get("settings", {}).items():
        changed = change(changed, name, tuple(value) if isinstance(value, list) else value)
    return changed


def tell_model(emit: Emit, store: EmbeddingStore) -> None:
    """Send the model that answers, and its device."""
    emit("model", kind=store.model.kind, device=str(store.model.device), sha256=store.model.sha256)
