"""Where agents lie on this machine, so that one can be named instead of giving its path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

from adaptsam.alignsam.package import SUFFIX
from adaptsam.errors import CheckpointError

FOLDER_VARIABLE = "ADAPTSAM_AGENTS"


def own_folder() -> Path:
    """Where the user keeps agents; it need not exist."""
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
    """What the agent in a file is called here."""
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
    raise CheckpointError(f"There is no agent {str(agent)!r}, neither a file nor a name (known by name: {names}).")


def _folders() -> Iterator[Path]:
    yield own_folder()
    package = Path(str(files("adaptsam.sam"))).parent
    yield package / "_resources" / "agents"
    yield package.parent / "Resources" / "agents"
