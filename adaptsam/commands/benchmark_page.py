"""The tables of ``adaptsam bench`` in a Markdown file, whose other text stays as somebody wrote it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptsam import __version__
from adaptsam.errors import InputError
from adaptsam.storage.output_staging import staged_file

HEADING = "# Benchmarks\n\nThe tables are written by `adaptsam bench --output`; all else by hand.\n"
_START, _END = "<!-- table of {} -->", "<!-- end of the table of {} -->"


def check_page(path: Path) -> None:
    """Raise InputError for a file that is there and is no page of benchmarks: nobody's text is lost."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a Markdown file.")
    if path.exists() and not _read(path).startswith(HEADING.splitlines()[0]):
        raise InputError(f"{path} is there and is no page of benchmarks; choose another name.")


def write_page(path: Path, results: Mapping[str, Mapping[str, Any]], repeats: int) -> None:
    """Put the tables of some benchmarks into a page; those of others stay, and new ones come last.

    Args:
        path: of the page, which need not exist.
        results: by the benchmarks' names, "title" and "figures" of each.
        repeats: how often each figure was taken.

    Raises:
        OutputError: the page cannot be written; it is as it was.
    """
    page = _read(path) if path.exists() else HEADING
    for name, result in results.items():
        start, end = _START.format(name), _END.format(name)
        table = f"{start}\n{_table(name, result, repeats)}{end}\n"
        if start in page and end in page:
            before, after = page.split(start, 1)[0], page.split(end, 1)[1].removeprefix("\n")
            page = before + table + after
        else:
            page = f"{page.rstrip()}\n\n{table}"
    with staged_file(path, overwrite=True) as file:
        file.write_text(page, encoding="utf-8")


def _table(name: str, result: Mapping[str, Any], repeats: int) -> str:
    lines = [f"## {result['title']}", "", f"`adaptsam bench --only {name} --repeats {repeats}` on {_machine()}:", ""]
    lines += ["| | figure | floor |", "|---|---:|---:|"]
    for figure, told in result["figures"].items():
        bounded = isinstance(told, Mapping)
        value, floor = (told["value"], told["floor"]) if bounded else (told, "")
        lines.append(f"| {_cell(figure)} | {_cell(value)} | {_cell(floor)} |")
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _machine() -> str:
    import torch

    kind = f"{platform.system()} {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{os.cpu_count()} cores ({kind}), PyTorch {torch.__version__}, AdaptSAM {__version__}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as text; choose another name.") from None
