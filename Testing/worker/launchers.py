"""What stands between Slicer and its Python: a launcher whose child it is, and an event loop that keeps the lock."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

#: As PythonSlicer: pipes are passed on, a crash is exit code 1 and a message, a kill is not forwarded.
_TEXT = """#!/bin/sh
"{python}" "$@"
code=$?
if [ $code -gt 128 ]; then echo "error: [python-real] exit abnormally - Report the problem." >&2; exit 1; fi
exit $code
"""

_held = ctypes.PyDLL(None)


def write_launcher(folder: Path) -> Path:
    """A program "PythonSlicer" in the folder that starts this interpreter."""
    path = folder / "PythonSlicer"
    path.write_text(_TEXT.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


def hold(seconds: float) -> None:
    """Let time go by with the interpreter's lock kept, as Slicer's event loop does between two ticks of a timer."""
    _held.usleep(int(1e6 * seconds))
