"""Libraries in C and C++ print what they think of a damaged file; the user gets one sentence, which is ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_users = 0
_kept: int | None = None


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Nothing reaches the process's stderr meanwhile. May be entered by several threads, and inside itself."""
    global _users, _kept
    with _lock:
        _users += 1
        if _users == 1:
            _kept = _silence()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _kept is not None:
                os.dup2(_kept, 2)
                os.close(_kept)
                _kept = None


def _silence() -> int | None:
    """Silence stderr; returns a copy of its descriptor, None where there is none, as without a console."""
    try:
        kept = os.dup(2)
    except OSError:
        return None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return kept
