"""Disk cache between runs: one file each, for several processes at once, bounded, and right or absent.

A file appears whole (it is written beside and moved) and carries a hash of its numbers; one that is damaged is as good
as none. What was used longest ago goes first when the folder grows over its bound. Nothing in it names a patient: a
file is called by a hash of what it was computed from, and holds numbers alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adaptsam.errors import InputError, OutputError
from adaptsam.storage.atomic_files import replacing

FOLDER_VARIABLE, GIGABYTES_VARIABLE = "ADAPTSAM_CACHE", "ADAPTSAM_CACHE_GB"
SUFFIX = ".safetensors"
_USUAL_GIGABYTES = 4.0
# What a bound of so many bytes is brought down to, so that not every new file requests it.
_TRIMMED = 0.9
# What a process writes, as a share of the bound, until it counts the folder again.
_COUNTED_AFTER = 0.05
# A file that is being written is younger than this; an older one was left by a process that was killed.
_LEFT_SECONDS = 3600.0

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of embeddings and registrations kept between runs; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("adaptsam", appauthor=False) / "embeddings"


def cache_bytes() -> int:
    """The bound of that folder, from the environment; 0 keeps nothing.

    Raises:
        InputError: the variable is no number from 0.
    """
    text = os.environ.get(GIGABYTES_VARIABLE, "")
    try:
        gigabytes = float(text or _USUAL_GIGABYTES)
        if not 0 <= gigabytes < 1e6:
            raise ValueError
    except ValueError:
        raise InputError(f"{GIGABYTES_VARIABLE} is {text!r}; give a number of gigabytes, 0 to keep nothing.") from None
    return int(gigabytes * 2**30)


@dataclass(frozen=True)
class Kept:
    """Contents of a cache folder: files and bytes."""

    files: int
    size: int


class KeptFolder:
    """Named arrays by key, in files.

    Args:
        folder: made when something is written; only its owner may look into it.
        most_bytes: its bound; None for none.
    """

    def __init__(self, folder: str | Path, most_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self._most = most_bytes
        self._uncounted: int | None = None
        self._writes = True

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}{SUFFIX}"

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a key, of any shapes; None where they are not there, or not as they were written."""
        path = self.path(key)
        try:
            with safe_open(path, framework="np") as file:
                arrays: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if (file.metadata() or {}).get("sha256") != _digest(arrays):
                    raise ValueError("its contents are not what was written")
        except FileNotFoundError:  # another process may have cleared the folder
            return None
        except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
            _log.warning("What was kept is damaged and is computed anew: %s (%s)", path.name, error)
            return None
        with suppress(OSError):
            os.utime(path)  # used now: others go first
        return arrays

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays of any shapes. A disk that is full or read-only costs the next run's time, not this result."""
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        size = sum(array.nbytes for array in whole.values())
        if not self._writes or (self._most is not None and size > self._most):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replacing(self.path(key), private=True) as temporary:
                save_file(whole, temporary, {"sha256": _digest(whole)})
                size = temporary.stat().st_size
        except (OSError, SafetensorError) as error:
            _log.warning("Nothing is kept on disk any more: %s", error)
            self._writes = False
            return
        self._bound(size)

    def forget(self, key: str) -> None:
        """Remove the file of a key, where there is one."""
        with suppress(OSError):
            self.path(key).unlink()

    def kept(self) -> Kept:
        """Count the files and bytes in the cache."""
        files = self._files()
        return Kept(len(files), sum(size for _, size, _ in files))

    def clear(self) -> Kept:
        """Remove all that was kept, and what killed processes left; other files stay.

        Returns:
            What was removed.

        Raises:
            OutputError: a file cannot be removed.
        """
        found = self._files()
        for path in [path for _, _, path in found] + self._leftovers(0.0):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{path} cannot be removed ({error.strerror}); check who owns it.") from None
        return Kept(len(found), sum(size for _, size, _ in found))

    def _bound(self, added: int) -> None:
        """Remove what was used longest ago, once the folder is over its bound."""
        if self._most is None:
            return
        if self._uncounted is None:
            for path in self._leftovers(_LEFT_SECONDS):
                with suppress(OSError):
                    path.unlink()
        else:
            self._uncounted += added
            # Other processes write, too: what one has added says little of the whole.
            if self._uncounted <= _COUNTED_AFTER * self._most:
                return
        self._uncounted = 0
        files = sorted(self._files())
        size = sum(one for _, one, _ in files)
        if size <= self._most:
            return
        for _, one, path in files:
            if size <= _TRIMMED * self._most:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                size -= one

    def _files(self) -> list[tuple[float, int, Path]]:
        """Files with their last use, size and path."""
        found = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and len(entry.name) == 64 + len(SUFFIX):
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        return found

    def _leftovers(self, older: float) -> list[Path]:
        """Half-written files of processes that were killed, so many seconds old."""
        found = []
        with suppress(OSError):
            for path in self.folder.glob(".*.part"):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime >= older:
                        found.append(path)
        return found


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of names, shapes and numbers, so that a damaged digit is not believed."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
