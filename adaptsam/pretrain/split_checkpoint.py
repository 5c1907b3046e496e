"""The state of an unfinished training, in files small enough to travel, which count together or not at all.

An index names the pieces and the hash of what they hold. It is replaced last, and what it no longer names is removed
after that: whenever a program is killed, the index and all of its pieces are there.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.sam.safe_pickle import load_pickled
from adaptsam.storage.atomic_files import replacing

PIECE_BYTES = 15 * 2**20


def keep_state(index: Path, state: dict[str, Any], piece_bytes: int = PIECE_BYTES) -> None:
    """Replace what an index file keeps."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    digest = hashlib.sha256(data).hexdigest()
    names = []
    for number, start in enumerate(range(0, len(data), piece_bytes)):
        names.append(f"{index.name}.{digest[:8]}.{number}")
        with replacing(index.with_name(names[-1])) as temporary:
            temporary.write_bytes(data[start : start + piece_bytes])
    with replacing(index) as temporary:
        temporary.write_text(json.dumps({"sha256": digest, "pieces": names}), encoding="utf-8")
    _remove_others(index, names)


def kept_state(index: Path) -> dict[str, Any] | None:
    """Read the kept state onto the CPU; None where there is none.

    Raises:
        InputError: a piece is missing or damaged.
    """
    if not index.is_file():
        return None
    try:
        described = json.loads(index.read_text(encoding="utf-8"))
        data = b"".join(index.with_name(Path(name).name).read_bytes() for name in described["pieces"])
        if hashlib.sha256(data).hexdigest() == described["sha256"]:
            state: Any = load_pickled(io.BytesIO(data))
            return dict(state)
    except Exception as error:  # whatever a damaged index or pickle raises
        raise _damaged(index) from error
    raise _damaged(index)


def _damaged(index: Path) -> InputError:
    return InputError(
        f"The unfinished training {index} is damaged; copy it again with all files whose names begin like its own, or "
        "delete it."
    )


def forget_state(index: Path) -> None:
    """Remove what was kept."""
    index.unlink(missing_ok=True)
    _remove_others(index, [])


def narrowed(state: Any, dtype: torch.dtype) -> Any:
    """The same nested dictionaries with their float32 tensors in half the bytes; single numbers stay as they are."""
    if isinstance(state, dict):
        return {key: narrowed(value, dtype) for key, value in state.items()}
    if isinstance(state, Tensor) and state.dtype == torch.float32 and state.ndim:
        return state.to(dtype)
    return state


def _remove_others(index: Path, names: list[str]) -> None:
    for piece in index.parent.glob(f"{index.name}.*"):
        if piece.name not in names:
            piece.unlink(missing_ok=True)
