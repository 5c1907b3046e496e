"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a name beside the target to write to; on success it takes the target's place, on failure it is removed.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; the target is as it was.
    """
    temporary = path.with_name(f".{uuid4().hex}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
