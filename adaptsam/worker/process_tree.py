"""Starting a process with pipes, and ending it with all that it started: Slicer's Python is the child of a launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

#: Bytes that a pipe should hold, so that a reader that is seldom woken finds much at a time.
PIPE = 1 << 20


def launch_here(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process of this machine at the head of a group of its own, without a console window on Windows."""
    process = subprocess.Popen(
        list(arguments),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    _widen(process)
    return process


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Let pipes hold more than 64 kB, where the system can."""
    if sys.platform == "linux":
        import fcntl

        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def end_tree(process: subprocess.Popen[bytes], inner: int | None = None) -> None:
    """End a process that :func:`launch_here` started, with its children; returns at once.

    Args:
        process: what was started, perhaps a launcher.
        inner: the process that said that it is the worker, where one did.
    """
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        with suppress(OSError):
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        if inner is not None:
            with suppress(OSError):
                os.kill(inner, signal.SIGTERM)  # on Windows this ends a process at once
        return
    with suppress(OSError):  # the group may outlive its head, and be gone
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
