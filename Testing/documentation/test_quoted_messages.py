"""Troubleshooting quotes messages word for word: each must still be one that the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs" / "troubleshooting.md"


def quoted_messages() -> list[str]:
    rows = re.findall(r"^\| (`.+?`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.fixture(scope="module")
def said() -> str:
    """All of the package's sources, with adjacent pieces of one string put together and blanks made one."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((TOP / "adaptsam").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_there_are_messages_to_look_up():
    assert len(quoted_messages()) > 20


@pytest.mark.parametrize("message", quoted_messages())
def test_a_quoted_message_is_said_somewhere(message, said):
    pieces = [piece.strip(" ;,.:()[]") for piece in message.split("…")]
    for piece in (piece for piece in pieces if len(piece) > 3):
        assert piece in said, f"docs/troubleshooting.md quotes {piece!r}, which no message has any more"
