"""Write docs/settings.md: every setting of a propagation, of a video and of agents, with its default.

python Testing/tools/settings_page.py
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from adaptsam import AutoPromptSettings, PropagationSettings, VideoSettings  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"
OPENING = """\
# Settings

Written by `python Testing/tools/settings_page.py` from the settings themselves; change those, not this page.

In a command: `--set NAME=VALUE`, any number of times, and the options of `adaptsam COMMAND --help` for the first table
of each part. In Python: `dataclasses.replace(settings, NAME=…)`; the last column has the field where it differs from
the word. A thing that can be switched has one word for its choice and its numbers: `acceptance=off`, `acceptance.factor=3`.
"""
PARTS = (
    (
        "Contours carried to other visits",
        "`adaptsam propagate`, `adaptsam.PropagationSettings`",
        PropagationSettings(),
        (
            *("registration", "fusion", "acceptance", "cleanup", "view", "window", "location_prior", "pairing"),
            *("prior_slices", "p2sam.positives", "p2sam.retrieval", "p2sam.distance"),
        ),
    ),
    (
        "Contours carried through a video",
        "`adaptsam track`, `adaptsam.VideoSettings`",
        VideoSettings(),
        ("acceptance", "cleanup", "reanchor", "p2sam.domain", "p2sam.positives", "p2sam.retrieval", "p2sam.distance"),
    ),
    (
        "Agents",
        "`adaptsam autoprompt`, `adaptsam.AutoPromptSettings`",
        AutoPromptSettings(),
        ("acceptance", "least_evidence", "least_mm", "window", "slices", "cleanup"),
    ),
)


def rows(settings: Any, words: str = "", path: str = "") -> Iterator[tuple[str, str, object, str]]:
    """Word, field, default and meaning of every setting, groups in depth."""
    told = meanings(type(settings))
    known = getattr(settings, "WORDS", {})
    for field in fields(settings):
        word = next((word for word, pair in known.items() if field.name in pair), field.name)
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from rows(value, f"{words}{word}.", f"{path}{field.name}.")
        else:
            yield f"{words}{word}", f"{path}{field.name}", value, told.get(field.name, "")


def meanings(settings: type) -> dict[str, str]:
    """Field → its text in the ``Args`` of a class's docstring, or the sentence of it that names the field."""
    text = inspect.cleandoc(settings.__doc__ or "")
    for base in settings.__mro__[1:-1]:
        text += "\n\n" + inspect.cleandoc(base.__doc__ or "")
    args = {}
    for name, told in re.findall(r"^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)", text, re.S | re.M):
        args.setdefault(name, _joined(told))
    prose = re.sub(r"^(?:Args|Attributes):\n(?:(?:    .*)?\n?)*", "", text, flags=re.M)
    sentences = re.split(r"(?<=[.:])\s+(?=[A-Z`])", _joined(prose))
    for field in fields(settings):  # type: ignore[arg-type]
        for sentence in sentences:
            if field.name not in args and f"``{field.name}``" in sentence:
                args[field.name] = sentence
        for name, told in list(args.items()):
            if field.name not in args and f"``{field.name}``" in told:
                args[field.name] = f"see {name}"
    return args


def _joined(text: str) -> str:
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`").replace("`", "``").replace("|", "\\|").rstrip(".")


def page() -> str:
    """The whole page."""
    lines = [OPENING]
    for title, where, settings, chosen in PARTS:
        every = list(rows(settings))
        first = [row for name in chosen for row in every if row[0] == name]
        lines += [f"## {title}", "", f"{where}. What people change:", "", *_table(first)]
        lines += ["", "For experts:", "", *_table([row for row in every if row not in first]), ""]
    return "\n".join(lines)


def _table(every: list[tuple[str, str, object, str]]) -> list[str]:
    lines = ["| setting | default | meaning | field |", "|---|---|---|---|"]
    for word, field, value, meaning in every:
        other = "" if field == word else f"`{field}`"
        lines.append(f"| `{word}` | {_plain(value)} | {meaning.replace('``', '`')} | {other} |")
    return lines


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
