"""The folder through which a window and one worker process exchange images, and the worker's last words.

Every process has a folder of its own, so that one that is slow to end cannot take away what its successor uses.
Whoever made a folder keeps a file of it locked; the lock goes with the process, so that the next start finds what the
dead left.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

PREFIX = "adaptsam-"
_LOCK, _WORDS, _CRASH = "in_use", "last_words.json", "crash.txt"

#: Seconds after which a folder that nobody keeps locked is a dead one's, and not one that is just being made.
_YOUNG = 60.0


class ExchangeFolder:
    """A new folder in the system's temporary folder, for this user alone.

    Attributes:
        path: where it is.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock: IO[bytes] | None = _locked(self.path / _LOCK)

    def remove(self, patience: float = 2.0) -> bool:
        """Remove it with all that is in it; whether it is gone.

        On Windows a file that a process has open stays until the process is gone, which is waited for.

        Args:
            patience: seconds to go on trying.
        """
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        end = time.monotonic() + patience
        while not remove_folder(self.path):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def remove_folder(path: Path) -> bool:
    """Remove an exchange folder as far as the system lets it; whether it is gone.

    The file that is locked goes last: by it the next start finds what could not go now.
    """
    with suppress(OSError):
        for one in list(path.iterdir()):
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one, ignore_errors=True)
            elif one.name != _LOCK:
                with suppress(OSError):
                    one.unlink()
        if all(one.name == _LOCK for one in path.iterdir()):
            shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _locked(path: Path) -> IO[bytes] | None:
    """The file, made where it is not there and locked; None where another process holds the lock."""
    try:
        file = path.open("a+b")
    except OSError:
        return None
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def remove_leftovers(older: float = _YOUNG) -> int:
    """Remove the folders of processes that ended without doing so; how many there were.

    Args:
        older: seconds since a folder was locked last; younger ones stay.
    """
    count = 0
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_LOCK}"):
        try:
            young = time.time() - lock.stat().st_mtime < older
        except OSError:
            continue  # another user's, or gone meanwhile
        file = None if young else _locked(lock)
        if file is not None:
            file.close()
            count += remove_folder(lock.parent)
    return count


class LastWords:
    """The reason why a worker ended, in its own words: behind a launcher nothing else reaches the window.

    Args:
        folder: the exchange folder.
    """

    def __init__(self, folder: Path) -> None:
        self._words, self._crash = folder / _WORDS, folder / _CRASH
        self._file: IO[str] | None = None

    def begin(self) -> None:
        """Say that the worker runs, and let a crash of native code leave a trace."""
        self.say({})
        self._file = self._crash.open("w", encoding="ascii", errors="replace")
        faulthandler.enable(self._file)

    def say(self, message: Mapping[str, Any]) -> None:
        """Say why the worker ends now."""
        with suppress(OSError):
            part = self._words.with_suffix(".part")
            part.write_text(json.dumps(message), encoding="ascii")
            os.replace(part, self._words)

    def heard(self) -> dict[str, Any] | None:
        """The words that were said; {} of a worker that began and was silent at its end, None of one that never began.

        ``crash`` is what native code died of, ``message`` what Python code did, ``lacks`` the package that it could not
        import.
        """
        try:
            said = json.loads(self._words.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            first = next(iter(self._crash.read_text(encoding="ascii", errors="replace").splitlines()), "")
            if first:
                said["crash"] = first.partition(":")[2].strip() or first
        return said if isinstance(said, dict) else None
