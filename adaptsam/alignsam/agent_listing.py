"""The agents of this machine as lists show them, from the heads of their files alone. Needs no PyTorch."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.alignsam.agent_folders import agent_files, agent_name
from adaptsam.alignsam.agent_header import read_header
from adaptsam.alignsam.agent_target import is_number, structure_of
from adaptsam.errors import CheckpointError
from adaptsam.image.terminology import slicer_entry, term_of


def list_agents(files: Iterable[str | Path] = ()) -> list[dict[str, Any]]:
    """Describe the agents of this machine, and those in ``files``.

    Weights are not read: whether they are an agent's shows when it is used.
    """
    known = [*agent_files().items(), *((agent_name(Path(one)), Path(one)) for one in files)]
    return [described(name, path, number) for number, (name, path) in enumerate(known)]


def described(name: str, path: Path, number: int = 0) -> dict[str, Any]:
    """Describe an agent for a list, its scores the single numbers alone; ``problem`` where its file cannot be used."""
    try:
        one = read_header(path).description
    except CheckpointError as error:
        return {"name": name, "path": str(path), "problem": str(error)}
    structure = structure_of(one.target, np.zeros((0, 0, 0), bool), number)
    scores = {key: value for key, value in one.scores.items() if is_number(value)}
    own = {
        "color": structure.color,
        "terminology": slicer_entry(term_of(structure)),
        "picture": base64.b64encode(one.picture).decode("ascii"),
        "scores": scores | {"comparators": one.comparators},
    }
    return {"name": name, "path": str(path), "problem": "", **one.to_dict(), **own}
