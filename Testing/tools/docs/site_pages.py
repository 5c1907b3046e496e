"""MkDocs hook: pages made from the repository itself, and links that leave ``docs/``.

Made at every build: the help of every command, the settings with their defaults, one page of the API for each room of
the package, and the pages that lie elsewhere in the repository (recipes, model cards, changes). Links to such files
lead to their pages; links to any other file of the repository lead to the repository.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = Path(__file__).resolve().parents[3]
REPOSITORY = "https://github.com/OWNER/SlicerAdaptSAM/blob/main/"
#: Files of the repository that are pages of the site.
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "training/README.md": "reference/recipes.md",
    "Resources/models/README.md": "reference/models.md",
    "Resources/agents/README.md": "reference/agents.md",
}
LINK = re.compile(r"(?P<head>\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?P<tail>\))")
#: What Sphinx would read in docstrings, as the site shows it: a role before a name.
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>~?\.?([\w.]+)</code>")
SETTINGS = (
    ("Propagation", "adaptsam", "PropagationSettings", "`adaptsam propagate --set NAME=VALUE`"),
    ("Videos", "adaptsam", "VideoSettings", "`adaptsam track --set NAME=VALUE`"),
    ("Agents in use", "adaptsam", "AutoPromptSettings", "`adaptsam autoprompt`"),
)
#: The settings that people change; all others are for experts.
CHANGED = {
    "PropagationSettings": (
        *("registration", "fusion", "acceptance", "cleanup", "view", "window", "location_prior", "pairing"),
        *("prior_slices", "p2sam.positives", "p2sam.retrieval", "p2sam.distance"),
    ),
    "VideoSettings": ("acceptance", "cleanup", "reanchor", "p2sam.domain", "p2sam.positives", "p2sam.retrieval"),
    "AutoPromptSettings": ("acceptance", "least_evidence", "least_mm", "window", "slices", "cleanup"),
}


API_PAGE = "---\ntitle: adaptsam.{room}\n---\n\n::: adaptsam.{room}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {
        **{page: _elsewhere(source, page) for source, page in ELSEWHERE.items()},
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/index.md": api_index(),
        **{f"reference/api/{room}.md": API_PAGE.format(room=room) for room in rooms()},
    }
    for name, text in made.items():
        if files.get_file_from_path(name) is not None:  # written by hand, or by another program
            continue
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave ``docs/`` lead to the file's page, or to the repository; the first page is a whole one."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation", "toc"]
    return redirected(markdown, f"docs/{page.file.src_uri}")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let names in docstrings lead to what they name, where that is on the site."""
    return ROLE.sub(lambda found: _reference(found[1]), html)


def _reference(name: str) -> str:
    code = f"<code>{name}</code>"
    return f'<autoref optional identifier="{name}">{code}</autoref>' if name.startswith("adaptsam.") else code


def redirected(markdown: str, place: str) -> str:
    """The text of a page that lies at ``place`` in the repository, with such links changed."""

    def lead(found: re.Match[str]) -> str:
        target = found["target"]
        if "://" in target or target.startswith(("mailto:", "data:", "/")):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        if path.startswith("docs/"):
            return found[0]
        anchor = found["anchor"] or ""
        if path in ELSEWHERE:
            there = posixpath.relpath(ELSEWHERE[path], posixpath.dirname(place.removeprefix("docs/")) or ".")
            return f"{found['head']}{there}{anchor}{found['tail']}"
        return f"{found['head']}{REPOSITORY}{path}{anchor}{found['tail']}"

    return LINK.sub(lead, markdown)


def _elsewhere(source: str, page: str) -> str:
    """A file of the repository as a page: its links are made relative to where the page lies."""
    path = TOP / source
    if not path.is_file():
        return f"# {Path(source).stem.capitalize()}\n\nSee the repository.\n"

    def lead(found: re.Match[str]) -> str:
        target = found["target"]
        if "://" in target:
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        back = posixpath.relpath(there, posixpath.dirname(f"docs/{page}"))
        return f"{found['head']}{back}{found['anchor'] or ''}{found['tail']}"

    return LINK.sub(lead, path.read_text(encoding="utf-8"))


def commands_page() -> str:
    """The help of every command, as the terminal shows it at a width that the page has."""
    from adaptsam.cli import build_parser

    os.environ["COLUMNS"] = "80"
    parts = ["# Commands\n\n`adaptsam COMMAND --help` prints the same.\n"]
    for names, parser in _parsers(build_parser(), ()):
        title = " ".join(("adaptsam", *names))
        parts.append(f"{'##' if len(names) < 2 else '###'} {title}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def _parsers(
    parser: argparse.ArgumentParser, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield names, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _parsers(child, (*names, name))


def settings_page() -> str:
    """Every setting with its default and what it does, under the name that ``--set`` takes."""
    from adaptsam.nested_settings import word_of

    head = (
        "# Settings\n\nA dot leads into a group: `--set p2sam.positives=1,3`; in Python, nested dataclasses. What can "
        "be switched has one word for its choice and its numbers: `acceptance=off`, `acceptance.factor=3`.\n"
    )
    parts = [head]
    for title, module, name, use in SETTINGS:
        kind = getattr(importlib.import_module(module), name)
        parts.append(f"## {title}\n\n{use}; in Python `adaptsam.{name}`.\n")
        often = ", ".join(f"`{one}`" for one in CHANGED[name])
        parts.append(f"What people change: {often}. The rest is for experts.\n")
        for prefix, group in _groups(kind(), ""):
            prose, said = _documented(type(group))
            rows = "\n".join(
                f"| `{prefix}{word_of(group, field.name)}` | `{_plain(getattr(group, field.name))}` "
                f"| {said.get(field.name) or _said_with(field.name, said)} |"
                for field in fields(group)
                if not is_dataclass(getattr(group, field.name))
            )
            parts.append(
                f"### {prefix.rstrip('.') or name} {{ #{name.lower()}-{prefix.rstrip('.').replace('.', '-')} }}\n"
            )
            parts.append(f"{prose}\n")
            parts.append(f"| name | default | what it does |\n|---|---|---|\n{rows}\n" if said else _two_columns(rows))
    return "\n".join(parts)


def _groups(settings: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    from adaptsam.nested_settings import word_of

    yield prefix, settings
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from _groups(value, f"{prefix}{word_of(settings, field.name)}.")


def _said_with(name: str, said: dict[str, str]) -> str:
    """Where a setting is spoken of that has no entry of its own."""
    return next((f"see `{other}`" for other, words in said.items() if f"`{name}`" in words), "")


def _two_columns(rows: str) -> str:
    return "| name | default |\n|---|---|\n" + re.sub(r"\|\s*\|$", "|", rows, flags=re.MULTILINE) + "\n"


def _documented(kind: type) -> tuple[str, dict[str, str]]:
    """What the docstrings of a class of settings and of those that it extends say: of all, and of each by its name."""
    prose: list[str] = []
    said: dict[str, str] = {}
    for parent in kind.__mro__:
        text = inspect.cleandoc(parent.__dict__.get("__doc__") or "")
        if not is_dataclass(parent) or not text or text.startswith(f"{parent.__name__}("):
            continue
        plain = re.sub(r":(?:attr|class|data|func|meth|mod):`~?\.?([^`]+)`", r"`\1`", text.replace("``", "`"))
        before, _, entries = plain.partition("Args:\n")
        prose.append(before.strip())
        for entry in re.split(r"\n(?=    ?(?:  )?\S)", f"\n{entries}"):
            names, colon, words = entry.strip().partition(": ")
            if colon:
                said.update(dict.fromkeys((name.strip() for name in names.split(",")), " ".join(words.split())))
    return "\n\n".join(prose), said


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) < 80 else f"{text[:76]} …"


def rooms() -> list[str]:
    """The packages and public modules right under ``adaptsam``."""
    package = TOP / "adaptsam"
    folders = [path.parent.name for path in package.glob("*/__init__.py") if not path.parent.name.startswith("_")]
    files = [path.stem for path in package.glob("*.py") if not path.stem.startswith("_") and path.stem != "cli"]
    return sorted({*folders, *files} - {"commands"})


def _public_row(name: str) -> str:
    """A row of the table of public names: the name, which leads to its documentation, and its first sentence."""
    import adaptsam

    thing = getattr(adaptsam, name)
    first = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].replace("``", "`").split())
    link = f'<autoref identifier="{thing.__module__}.{thing.__qualname__}"><code>adaptsam.{name}</code></autoref>'
    return f"| {link} | {first} |"


def api_index() -> str:
    """What is public, by name, and the rooms."""
    import adaptsam

    names = "\n".join(_public_row(name) for name in adaptsam.__all__ if not name.startswith("__"))
    lines = []
    for room in rooms():
        path = TOP / "adaptsam" / room / "__init__.py"
        path = path if path.is_file() else TOP / "adaptsam" / f"{room}.py"
        found = re.search(r'"""(.+?)(?:\n\n|""")', path.read_text(encoding="utf-8"), re.DOTALL)
        lines.append(
            f"| [adaptsam.{room}](api/{room}.md) | {' '.join(found[1].split()) if found else ''} |".replace("``", "`")
        )
    return (
        "# Reference\n\n- [Commands](commands.md), each with its help\n"
        "- [Settings](settings.md), each with its default\n"
        "- [Recipes](recipes.md) of training\n- [Bundled models](models.md) and [agents](agents.md)\n\n"
        "## What `import adaptsam` gives\n\nThese names stay; the rooms below may move between versions.\n\n"
        f"| name | what it is |\n|---|---|\n{names}\n\n## Rooms\n\n| room | what is in it |\n|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )
