"""The tests that run in Slicer (Reload and Test, CTest) pass on the bench, or they would fail where nobody here sees it."""

from __future__ import annotations

import importlib
import types
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def agents(application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker of its own, whose user has no agent."""
    from AdaptSAMLib.engine import Engine

    monkeypatch.setenv("ADAPTSAM_AGENTS", str(tmp_path))
    Engine.shared().close()
    yield tmp_path
    Engine.shared().close()


@pytest.mark.parametrize("name", ["PersonalizedSAM", "AutoPromptSAM"])
def test_slicers_own_tests_of_a_module_pass(
    opened: Callable[..., Any], agents: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import slicer
    from AdaptSAMLib import packages

    module = importlib.import_module(name)
    panel = opened(getattr(module, f"{name}Widget"), 520, 900)
    shown = types.SimpleNamespace(self=lambda: panel)
    monkeypatch.setattr(slicer.modules, name.lower(), types.SimpleNamespace(widgetRepresentation=lambda: shown))
    monkeypatch.setattr(slicer.util, "getModuleLogic", lambda wanted: {name: panel.logic}[wanted])
    monkeypatch.setattr(packages, "missing", lambda *_: [])
    cases = getattr(module, f"{name}Test")().cases()
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(cases).run(result)
    assert [text for _, text in [*result.errors, *result.failures]] == []
    assert result.testsRun == 4
    assert not result.skipped
    assert not list(agents.glob("*.safetensors")), "what a self test trained is gone"
