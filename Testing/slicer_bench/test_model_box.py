"""Weights that are not on the computer are fetched from the panel; its settings outlive the scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODELS = [
    {
        "name": None,
        "label": "Lite",
        "here": True,
        "needed": 6e8,
        "card": "For research only.",
        "licence": "CC BY-SA 4.0",
    },
    {
        "name": "vit_b",
        "label": "sam_vit_b",
        "here": False,
        "needed": None,
        "card": "SAM. https://example.org",
        "licence": "Apache-2.0",
        "bytes": 375e6,
        "fetchable": True,
    },
]


@pytest.fixture
def asked(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, Any]]]:
    """What is asked of the worker, with the handlers of its answers; nothing is asked."""
    requests: list[tuple[str, Any, dict[str, Any]]] = []

    def request(do: str, handler: Any, **content: Any) -> int:
        requests.append((do, handler, content))
        return len(requests)

    monkeypatch.setattr(engine, "request", request)
    return requests


@pytest.fixture
def panel(opened: Callable[..., Any], asked: Any) -> Any:
    from PersonalizedSAM import PersonalizedSAMWidget

    made = opened(PersonalizedSAMWidget, 460, 1200)
    made.onHello({"event": "hello", "models": MODELS, "devices": []})
    made.ui.modelCollapsibleButton.collapsed = False
    return made


def test_weights_are_fetched_in_the_panel_after_a_question(
    panel: Any, asked: list[Any], visits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    ui = panel.ui
    panel.initializeParameterNode()
    assert ui.applyButton.enabled
    assert not ui.fetchButton.visible
    assert not ui.removeButton.visible, "what comes with AdaptSAM stays"
    ui.modelComboBox.currentIndex = 1
    assert ui.modelComboBox.currentText == "sam_vit_b (not on this computer)"
    assert not ui.applyButton.enabled
    assert ui.statusLabel.text.startswith("sam_vit_b is not on this computer; press Fetch")
    assert ui.fetchButton.text == "Fetch (375 MB, Apache-2.0)"
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: bool(questions.append(text)) or True)
    asked.clear()
    ui.fetchButton.click()
    [(do, handler, content)] = asked
    assert (do, content) == ("fetch_weights", {"name": "vit_b"})
    assert "Apache-2.0" in questions[0]
    handler({"event": "progress", "share": 0.4, "done": 150e6, "total": 375e6})
    assert ui.progressBar.value == 400
    assert ui.statusLabel.text == "Fetching: 150 of 375 MB"
    assert ui.fetchButton.text == "Stop fetching"
    handler({"event": "done"})
    assert asked[-1][0] == "hello", "the worker is asked what is here now"
    panel.onHello({"event": "hello", "models": [MODELS[0], MODELS[1] | {"here": True}], "devices": []})
    assert ui.applyButton.enabled
    assert ui.removeButton.visible
    ui.removeButton.click()
    assert asked[-1][0] == "clear_weights"


def test_a_fetch_that_failed_says_why_and_can_be_tried_again(
    panel: Any, asked: list[Any], visits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: True)
    panel.initializeParameterNode()
    panel.ui.modelComboBox.currentIndex = 1
    panel.ui.fetchButton.click()
    asked[-1][1]({"event": "error", "message": "The server does not answer."})
    assert panel.ui.statusLabel.text == "The server does not answer."
    assert panel.ui.fetchButton.text == "Fetch (375 MB, Apache-2.0)"
    assert panel.ui.fetchButton.enabled


def test_the_workers_address_is_a_line_of_the_panel_and_counts_at_once(
    opened: Callable[..., Any], asked: list[Any], engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import qt

    from PersonalizedSAM import PersonalizedSAMWidget

    real = qt.QSettings
    monkeypatch.setattr(qt, "QSettings", lambda: real(str(tmp_path / "settings.ini"), real.Format.IniFormat))
    closed: list[bool] = []
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    panel = opened(PersonalizedSAMWidget, 460, 1200)
    panel.onHello({"event": "hello", "models": MODELS, "devices": []})
    panel.ui.workerLineEdit.text = "ssh gpu python -m adaptsam.worker -"
    panel.ui.workerLineEdit.editingFinished.emit()
    assert qt.QSettings().value("AdaptSAM/WorkerCommand") == "ssh gpu python -m adaptsam.worker -"
    assert closed, "the worker that was there is ended"
    panel.onHello({"event": "hello", "models": MODELS, "devices": []})
    assert panel.ui.modelCardLabel.text.startswith("The images are sent to another machine (ssh gpu python")
    panel.ui.workerLineEdit.text = ""
    panel.ui.workerLineEdit.editingFinished.emit()
    panel.onHello({"event": "hello", "models": MODELS, "devices": []})
    assert "another machine" not in panel.ui.modelCardLabel.text


def test_what_was_encoded_is_cleared_from_the_panel(panel: Any, asked: list[Any]) -> None:
    panel.ui.clearButton.click()
    do, handler, content = asked[-1]
    assert (do, content) == ("kept", {"clear": True})
    handler({"event": "kept", "bytes": 0, "files": 0, "folder": "/cache"})
    assert panel.ui.keptLabel.text == "Encoded slices: 0 MB in /cache"


def test_a_device_shows_the_precision_of_the_chosen_model_on_it(panel: Any) -> None:
    ui = panel.ui
    panel.initializeParameterNode()
    devices = [{"name": name, "label": "CPU", "free": 5e9, "total": 16e9} for name in ("cpu:int8", "cpu")]
    precisions = ({"cpu:int8": "int8", "cpu": "float32"}, {"cpu:int8": "int8", "cpu": "bfloat16"})
    models = [one | {"precisions": known} for one, known in zip(MODELS, precisions, strict=True)]
    panel.onHello({"event": "hello", "models": models, "devices": devices})
    ui.deviceComboBox.currentIndex = 2
    assert ui.deviceComboBox.currentText == "CPU (float32): 5.0 of 16.0 GB free"
    ui.modelComboBox.currentIndex = 1
    assert ui.deviceComboBox.currentText == "CPU (bfloat16): 5.0 of 16.0 GB free"
    assert ui.deviceComboBox.itemText(1) == "CPU (int8): 5.0 of 16.0 GB free"
    panel.onHello({"event": "hello", "models": MODELS, "devices": devices})
    assert ui.deviceComboBox.itemText(2) == "CPU: 5.0 of 16.0 GB free", "an older worker tells no precision"
