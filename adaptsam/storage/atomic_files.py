"""Files that appear whole or not at all, and the names of weights by their contents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from stat import S_IMODE
from uuid import uuid4

from torch import nn


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Gives a name beside the target to write to; on success it takes the target's place, on failure it is removed.

    Others may read the file as the user's umask says, or not at all where it is ``private``, whatever the library that
    writes it thinks of that.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; the target is as it was.
    """
    temporary = path.with_name(f".{uuid4().hex}.part")
    try:
        mode = 0o600
        if not private:
            temporary.touch()
            mode = S_IMODE(temporary.stat().st_mode)
        yield temporary
        with suppress(OSError):  # a disk that knows no modes
            temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def hash_weights(model: nn.Module) -> str:
    """SHA-256, as hex digits, of a model's names, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def bundled_folders() -> tuple[Path, Path]:
    """Folders of the models that come with AdaptSAM: in an installed wheel, in a source checkout."""
    package = Path(str(files("adaptsam.sam"))).parent
    return package / "_resources" / "models", package.parent / "Resources" / "models"
