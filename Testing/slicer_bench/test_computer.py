"""The part of a panel called "This computer": reinstalling, the folder of wheels, the log."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def panel(opened: Callable[..., Any], engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import qt

    from PersonalizedSAM import PersonalizedSAMWidget

    real = qt.QSettings
    monkeypatch.setattr(qt, "QSettings", lambda: real(str(tmp_path / "settings.ini"), real.Format.IniFormat))
    return opened(PersonalizedSAMWidget, 460, 1200)


@pytest.mark.parametrize("agreed", [True, False])
def test_reinstalling_asks_and_takes_all_packages_but_torch_each_alone(
    panel: Any, agreed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import qt
    import slicer.util
    from AdaptSAMLib import packages

    installed: list[list[str]] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda *_, **__: agreed)
    monkeypatch.setattr(slicer.util, "pip_install", lambda wanted, **_: installed.append(list(wanted)))
    chosen = type("Dialog", (), {"getExistingDirectory": lambda *_: str(tmp_path)})
    monkeypatch.setattr(qt, "QFileDialog", chosen)
    panel.ui.wheelFolderButton.click()
    assert packages.wheelFolder() == panel.ui.wheelLineEdit.text == str(tmp_path)
    panel.ui.reinstallButton.click()
    if not agreed:
        assert installed == []
        return
    [call] = installed
    assert call[:5] == ["--force-reinstall", "--no-deps", "--no-index", "--find-links", str(tmp_path)]
    assert {packages.named(one) for one in call[5:]} >= {"safetensors", "pot"}
    assert not {packages.named(one) for one in call[5:]} & {"torch", "torchvision", "numpy", "simpleitk"}


def test_the_log_is_opened_where_slicer_keeps_it(panel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import qt
    import slicer

    log, opened = tmp_path / "slicer.log", []
    model = types.SimpleNamespace(filePath=str(log))
    monkeypatch.setattr(slicer.app, "errorLogModel", lambda: model, raising=False)
    monkeypatch.setattr(qt, "QDesktopServices", types.SimpleNamespace(openUrl=lambda url: opened.append(url)))
    panel.ui.logButton.click()
    assert [url.toLocalFile() for url in opened] == [str(log)]
