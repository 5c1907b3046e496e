"""Wire format between client and worker: lines of JSON, masks packed within them, images as files beside them.

Where the two share no folder, as on two machines, the files travel in lines too, a piece in each.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from adaptsam.errors import InputError, OutputError

#: Both ends say it; they come from one package, unless somebody mixed two versions.
PROTOCOL = 1

Message = dict[str, Any]

#: Bytes of a file in one line, and what a file may be called.
PIECE, FILE_NAME = 1 << 20, re.compile(r"[0-9a-f]{32}\.npy")


def to_line(message: Mapping[str, Any]) -> str:
    """One line of ASCII, whatever the console's encoding."""
    return json.dumps(message, separators=(",", ":"), default=_plain) + "\n"


def _plain(value: object) -> object:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent to another process")


def from_line(line: str | bytes) -> Message:
    """Raises InputError for anything but one JSON object."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise InputError("A line between AdaptSAM's window and its worker is damaged; start the worker anew.")
    return message


def pack_mask(mask: np.ndarray) -> Message:
    """A bool mask of any shape as its bounding box, compressed bits and text; some kB for an organ of a CT."""
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
    """The bool array, of any shape, within the bounding box, and where that lies in the whole."""
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
    """The inverse of :func:`pack_mask`: bool, of any shape."""
    inner, where = unpack_box(packed)
    mask = np.zeros(packed["shape"], bool)
    mask[where] = inner
    return mask


def write_array(folder: Path, array: np.ndarray) -> str:
    """An array of any shape as a file of the exchange folder; returns its name.

    Raises:
        OutputError: the disk is full or the folder gone; nothing half-written is left.
    """
    path = folder / f"{uuid4().hex}.npy"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)  # something that tidies up may have taken it away
        np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        megabytes = array.nbytes / 1e6
        raise OutputError(
            f"An image of {megabytes:.0f} MB cannot be handed to the worker through {folder.parent}: "
            f"{error.strerror or error}; make room there and run it again."
        ) from error
    return path.name


def take_array(folder: Path, name: str) -> np.ndarray:
    """The array, of any shape, of that file, which is removed: an image lies there only until it is read.

    Elsewhere than on Windows the file stays mapped, so that only what is looked at is in memory.

    Raises:
        InputError: the file is not there, or not in that folder.
    """
    path = folder / name
    if path.parent != folder:
        raise InputError("A file outside of the exchange folder was named; that is refused.")
    try:
        array = np.load(path, mmap_mode=None if sys.platform == "win32" else "r", allow_pickle=False)
        path.unlink()
    except (OSError, ValueError) as error:
        raise not_there() from error
    return np.asarray(array)


def not_there() -> InputError:
    """The error for an image that was handed over and is gone."""
    return InputError("An image that was handed to the worker is not there any more; run it again.")


def remove_files(folder: Path, message: Message) -> None:
    """Remove what a message names and nobody took."""
    for name in file_names(message):
        with suppress(OSError):
            (folder / name).unlink()


def file_names(message: object) -> Iterator[str]:
    """The files that a message names, however deep in it."""
    if isinstance(message, str):
        if FILE_NAME.fullmatch(message):
            yield message
    elif isinstance(message, Mapping):
        for one in message.values():
            yield from file_names(one)
    elif isinstance(message, list):
        for one in message:
            yield from file_names(one)


def array_lines(array: np.ndarray) -> Iterator[Message]:
    """An array of any shape as messages that :class:`ArrivingFiles` makes a file of; all have its ``name``."""
    name = f"{uuid4().hex}.npy"
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, np.lib.format.header_data_from_array_1_0(array))
    content = array.reshape(-1).view(np.uint8)
    starts = range(0, len(content), PIECE)
    yield _piece(name, header.getvalue(), more=bool(starts))
    for start in starts:
        yield _piece(name, content[start : start + PIECE].tobytes(), more=start + PIECE < len(content))


def file_lines(folder: Path, name: str) -> Iterator[Message]:
    """A file of the folder as such messages."""
    with (folder / name).open("rb") as file:
        left = file.seek(0, io.SEEK_END)
        file.seek(0)
        while left > 0:
            piece = file.read(PIECE)
            left -= len(piece)
            yield _piece(name, piece, more=left > 0)


def _piece(name: str, content: bytes, more: bool) -> Message:
    return {"name": name, "bits": base64.b64encode(zlib.compress(content, 1)).decode("ascii"), "more": more}


class ArrivingFiles:
    """Puts files together from their pieces; one appears when its last piece is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, message: Message) -> None:
        """The next piece of a file.

        Raises:
            InputError: it is damaged, or its name is none that :func:`array_lines` gives.
            OutputError: the disk is full or the folder gone; nothing half-written is left.
        """
        name = str(message.get("name"))
        if not FILE_NAME.fullmatch(name):
            raise InputError("A file of another name than AdaptSAM gives was sent; that is refused.")
        try:
            opened = zlib.decompressobj()
            content = opened.decompress(base64.b64decode(message["bits"], validate=True), 2 * PIECE)
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise InputError("A piece of an image arrived damaged; run it again.") from error
        part = self._folder / f"{name}.part"
        try:
            with part.open("ab") as file:
                file.write(content)
            if not message["more"]:
                part.replace(self._folder / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"An image cannot be written to {self._folder.parent} of the worker's machine: "
                f"{error.strerror or error}; make room there and run it again."
            ) from error
