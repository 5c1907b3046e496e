"""docs/settings.md is what Testing/tools/settings_page.py writes, and every setting in it can be set by its word."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from adaptsam.nested_settings import change

TOOL = Path(__file__).parent / "tools" / "settings_page.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_up_to_date(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), f"run python {TOOL}"


def test_every_setting_is_reached_by_its_word(tool: ModuleType) -> None:
    for _, _, settings, chosen in tool.PARTS:
        every = list(tool.rows(settings))
        assert set(chosen) <= {word for word, *_ in every}
        for word, _, value, _ in every:
            assert change(settings, word, value) == settings
