"""Folders of data sets: what was given, and names in messages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from adaptsam.errors import InputError

_PACKED = (".zip", ".rar", ".7z", ".tar", ".tgz", ".tcia")


def existing_folder(path: str | Path) -> Path:
    """The folder, absolute.

    Raises:
        InputError: it does not exist or is no folder.
    """
    path = Path(path).absolute()
    if path.is_file() and path.name.lower().endswith((*_PACKED, ".tar.gz")):
        raise InputError(f"{path.name} is an archive or a manifest; unpack or download it, and give the folder.")
    if not path.is_dir():
        raise InputError(f"{path.name} is not a folder; check the path.")
    return path


def subfolders(folder: Path) -> list[Path]:
    """The folders that lie directly in a folder, without hidden ones.

    Raises:
        InputError: it may not be read.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder.name} cannot be read ({error.strerror}); check who may read it.") from None
    return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in a row, the first ones where they are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
