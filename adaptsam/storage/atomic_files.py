"""Atomic files: they appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from uuid import uuid4


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
