"""Folders of agents on this machine, so that an agent can be named instead of giving its path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

from adaptsam.alignsam.agent_header import SUFFIX
from adaptsam.errors import CheckpointError, InputError

FOLDER_VARIABLE = "ADAPTSAM_AGENTS"

#: Beside an agent's file while it is trained.
UNFINISHED_SUFFIX = ".training"
_LONGEST_NAME = 60


def own_folder() -> Path:
    """The user's folder of agents; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data_path("adaptsam", appauthor=False) / "agents"


def agent_files() -> dict[str, Path]:
    """Every agent on this machine by name: the user's own, then those that come with AdaptSAM."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for path in agents_in(folder):
            found.setdefault(agent_name(path), path)
    return found


def agents_in(folder: Path) -> list[Path]:
    """The agent files of a folder, by their names' end."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file()) if folder.is_dir() else []


def agent_name(path: Path) -> str:
    """The name of an agent's file on this machine."""
    return path.name.removesuffix(SUFFIX)


def find_agent(agent: str | os.PathLike[str]) -> Path:
    """The file of an agent that is given by its path or its name; a file of that path goes first.

    Raises:
        CheckpointError: there is neither.
    """
    path = Path(agent)
    if path.is_file():
        return path
    known = agent_files()
    if str(agent) in known:
        return known[str(agent)]
    names = ", ".join(known) or "none yet"
    raise CheckpointError(
        f"There is no agent {str(agent)!r}, neither a file nor a name (known by name: {names}); "
        "make one with 'adaptsam train alignsam'."
    )


def own_agent(name: str) -> Path:
    """The file of the user's own agent of that name; it need not exist.

    Raises:
        InputError: the name cannot be that of a file on every system.
    """
    plain = name.strip()
    usable = plain.isprintable() and not plain.startswith(".") and not set(plain) & set('<>:"/\\|?*')
    if not plain or len(plain) > _LONGEST_NAME or not usable:
        raise InputError(
            f"An agent's name has 1 to {_LONGEST_NAME} letters, digits and blanks, and not {name[:_LONGEST_NAME]!r}."
        )
    return own_folder() / f"{plain}{SUFFIX}"


def unfinished_agents() -> list[str]:
    """The names of the user's own agents whose training was begun and has not ended."""
    folder, suffix = own_folder(), f"{SUFFIX}{UNFINISHED_SUFFIX}"
    return sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}")) if folder.is_dir() else []


def _folders() -> Iterator[Path]:
    yield own_folder()
    package = Path(str(files("adaptsam.storage"))).parent
    yield package / "_resources" / "agents"
    yield package.parent / "Resources" / "agents"
