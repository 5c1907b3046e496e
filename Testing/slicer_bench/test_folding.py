"""The bench's ctkCollapsibleButton shows and hides as CTK's: what the bench pictures is what Slicer would show."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def box(application: Any) -> Any:
    from PySide6 import QtWidgets
    from slicer_bench import widgets

    made = widgets.CollapsibleButton()
    layout = QtWidgets.QVBoxLayout(made)
    made.children_by_name = {}
    for name in ("kept", "hidden"):
        made.children_by_name[name] = QtWidgets.QPushButton(name)
        layout.addWidget(made.children_by_name[name])
    made.show()
    yield made
    made.deleteLater()


def seen(box: Any) -> list[str]:
    return [name for name, one in box.children_by_name.items() if one.property("visible")]


@pytest.mark.parametrize("folded", [False, True])
def test_what_was_hidden_before_or_while_folded_stays_hidden(box: Any, folded: bool) -> None:
    box.setCollapsed(folded)
    box.children_by_name["hidden"].setProperty("visible", False)
    box.setCollapsed(True)
    assert seen(box) == []
    box.setCollapsed(False)
    assert seen(box) == ["kept"]


def test_what_is_shown_while_folded_appears_when_it_unfolds(box: Any) -> None:
    box.children_by_name["hidden"].setProperty("visible", False)
    box.setCollapsed(True)
    box.children_by_name["hidden"].setProperty("visible", True)
    assert seen(box) == []
    box.setCollapsed(False)
    assert seen(box) == ["kept", "hidden"]
