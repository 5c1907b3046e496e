"""What passes between client and worker: lines of JSON, masks packed within them, images as files beside them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from adaptsam.errors import InputError, OutputError

#: Both ends say it; they come from one package, unless somebody mixed two versions.
PROTOCOL = 1

Message = dict[str, Any]


def to_line(message: Mapping[str, Any]) -> str:
    """One line of ASCII, whatever the console's encoding."""
    return json.dumps(message, separators=(",", ":"), default=_plain) + "\n"


def _plain(value: object) -> object:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent to another process")


def from_line(line: str) -> Message:
    """Raises InputError for anything but one JSON object."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise InputError("A line between AdaptSAM's window and its worker is damaged; start the worker anew.")
    return message


def pack_mask(mask: np.ndarray) -> Message:
    """A bool mask of any dimensions as its bounding box, compressed bits and text; some kB for an organ of a CT."""
    mask = np.asarray(mask, bool)
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        there = np.flatnonzero(mask.any(axis=others))
        box.append([int(there[0]), int(there[-1]) + 1] if len(there) else [0, 0])
    inner = mask[tuple(slice(low, high) for low, high in box)]
    bits = zlib.compress(np.packbits(inner).tobytes(), 1)
    return {"shape": list(mask.shape), "box": box, "bits": base64.b64encode(bits).decode("ascii")}


def unpack_box(packed: Message) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The bool array within the bounding box, and where that lies in the whole."""
    try:
        box = [(int(low), int(high)) for low, high in packed["box"]]
        shape = tuple(high - low for low, high in box)
        count = int(np.prod(shape))
        bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), np.uint8)
        inner = np.unpackbits(bits, count=count).astype(bool).reshape(shape)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError("A mask arrived damaged from the worker; run it again.") from error
    return inner, tuple(slice(low, high) for low, high in box)


def unpack_mask(packed: Message) -> np.ndarray:
    """The inverse of :func:`pack_mask`."""
    inner, where = unpack_box(packed)
    mask = np.zeros(packed["shape"], bool)
    mask[where] = inner
    return mask


def write_array(folder: Path, array: np.ndarray) -> str:
    """An array as a file of the exchange folder; returns its name.

    Raises:
        OutputError: the disk is full or the folder gone; nothing half-written is left.
    """
    path = folder / f"{uuid4().hex}.npy"
    try:
        np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    except OSError as error:
        path.unlink(missing_ok=True)
        megabytes = array.nbytes / 1e6
        raise OutputError(
            f"An image of {megabytes:.0f} MB cannot be handed to the worker through {folder.parent}: "
            f"{error.strerror or error}; make room there and run it again."
        ) from error
    return path.name


def read_array(folder: Path, name: str) -> np.ndarray:
    """The array of that file, mapped, so that only what is looked at is in memory."""
    path = folder / name
    if path.parent != folder:
        raise InputError("A file outside of the exchange folder was named; that is refused.")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise InputError("An image that was handed to the worker is not there any more; run it again.") from error
