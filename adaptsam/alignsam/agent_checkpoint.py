"""The file of an unfinished training: it appears whole or not at all, and reading it runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from adaptsam.errors import CheckpointError, OutputError
from adaptsam.sam.safe_pickle import load_pickled
from adaptsam.storage.atomic_files import replacing

FORMAT_VERSION = 1


def write_training(path: Path, contents: dict[str, Any]) -> None:
    """Write the state of a training, in place of an earlier one.

    Raises:
        OutputError: the file cannot be written; an earlier one is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save({"alignsam_training": FORMAT_VERSION, **contents}, temporary)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"The training cannot be written to {path}: {error}.") from error


def read_training(path: Path) -> dict[str, Any]:
    """The state of a training.

    Raises:
        CheckpointError: the file is damaged, unsafe, something else, or of another version.
    """
    try:
        contents: Any = load_pickled(path)
    except Exception as error:  # torch.load raises whatever the broken bytes lead it to
        raise CheckpointError(f"{path} is damaged or not a training; give another file, or remove it.") from error
    version = contents.pop("alignsam_training", None) if isinstance(contents, dict) else None
    if version is None:
        raise CheckpointError(f"{path} is not the training of an agent; give another file.")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by another AdaptSAM (format {version}, this reads {FORMAT_VERSION}); use that one, or "
            "remove the file to begin anew."
        )
    return contents
