"""What the texts tell a user of Slicer to click is in the modules' panels, under that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/slicer/README.md", "docs/slicer/tutorial.md", "docs/slicer/autoprompt.md")
LABEL = re.compile(r"\*\*([^*]+?)\*\*")
#: Bold words of these pages that name nothing in a panel: sentences, and places where README's paragraphs begin.
LEADS = (
    *("In 3D Slicer", "With pip", "One line", "Command line", "From one visit to the next", "Without a first contour"),
    "The images are sent to that machine",
)


@pytest.fixture(scope="module")
def panels() -> str:
    files = [path for module in ("PersonalizedSAM", "AutoPromptSAM") for path in (TOP / module).rglob("*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in (".ui", ".py")]
    return "\n".join(texts).replace("&amp;", "")


def labels(text: str) -> list[str]:
    """The bold words of a page that are names, each step of a path by itself."""
    bold = [" ".join(found[1].split()).rstrip(":,") for found in LABEL.finditer(text)]
    names = [one for one in bold if one not in LEADS and not one.endswith(".") and not re.fullmatch(r"[\d.]+", one)]
    return [part for one in names for part in one.split(" > ")]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_to_be_clicked_is_in_the_panel(page, panels):
    named = labels((TOP / page).read_text(encoding="utf-8"))
    assert [one for one in named if one not in panels] == []


def test_a_wrong_name_is_seen(panels):
    assert [one for one in labels("Press **Apply**, then **Do it at once**.") if one not in panels] == ["Do it at once"]
