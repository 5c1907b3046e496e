"""Outputs appear whole or not at all, and a file that was there is never lost."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptsam.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _REPLACED = ".adaptsam-", ".replaced"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


@contextmanager
def staged_output(folder: str | Path, names: Iterable[str] = (), *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, whose files move to ``folder`` together when the block ends well.

    When the block raises, also by Ctrl-C, nothing of it remains, and ``folder`` is as it was before. What a process
    that was killed left there is put right by the next one: a move that had begun is ended, anything else is removed.

    Args:
        folder: where the outputs shall be; it is made where it does not exist.
        names: the outputs that are known beforehand, relative to ``folder``: if one exists, the error comes before the
            work and not after it.
        overwrite: replace existing files of the same names, each in one step. Other files are left alone.

    Yields:
        The folder to write into. It lies inside ``folder`` where that exists, so that moving never crosses a disk.

    Raises:
        OutputError: an output exists and ``overwrite`` is false, or the folder cannot be written.

    Examples:
        >>> with staged_output("results", ["tumour.nrrd"]) as staging:  # doctest: +SKIP
        ...     write_volume(staging / "tumour.nrrd", volume)
    """
    folder = Path(folder).absolute()
    made: list[Path] = []
    try:
        _refuse_existing(folder, names, overwrite)
        made = _make_folders(folder)
        _settle_leftovers(folder)
        staging = folder / f"{_PREFIX}{uuid.uuid4().hex}"
        staging.mkdir()
        alive = _lock(staging, wait=False)
    except OSError as error:
        _remove_empty(made)
        raise _cannot_write(folder, error) from None
    try:
        yield staging
        # Two processes with one output: the second finds the first one's files. A staging folder is this process's own,
        # and locked by it already.
        lock = None if folder.name.startswith(_PREFIX) else _lock(folder, wait=True)
        try:
            _refuse_existing(folder, _files_in(staging), overwrite)
            _move_into_place(staging, folder, made)
        finally:
            _unlock(lock)
    except OSError as error:
        first = _first(error)
        if first.errno in _NO_ROOM or str(staging) in str(first.filename):
            raise _cannot_write(folder, first) from None
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _unlock(alive)
        _remove_empty(made)


@contextmanager
def staged_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Stage one file: yields the path to write to, which has the same name. See :func:`staged_output`."""
    path = Path(path)
    with staged_output(path.parent, [path.name], overwrite=overwrite) as staging:
        yield staging / path.name


def _settle_leftovers(folder: Path) -> None:
    """End or undo what processes that are no more had begun in this folder."""
    for staging in folder.glob(f"{_PREFIX}*"):
        lock = _lock(staging, wait=False)
        if lock is None:  # its process lives, or nobody can tell here
            continue
        try:
            if (staging / _REPLACED).is_dir():  # everything was written, and some of it had moved
                for name in (name for name in _files_in(staging) if not name.startswith(_REPLACED)):
                    _make_folders((folder / name).parent)
                    os.replace(staging / name, folder / name)
            shutil.rmtree(staging, ignore_errors=True)
        finally:
            _unlock(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A lock on a folder that ends with the process; None where another one has it, or the disk knows no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def _refuse_existing(folder: Path, names: Iterable[str], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder.name} is a file, not a folder; choose another place for the output.")
    for name in names:
        target = folder / name
        if target.is_dir():
            raise OutputError(f"{name} exists in {folder.name} as a folder; choose another name for the output.")
        if target.exists() and not overwrite:
            raise OutputError(
                f"{name} exists already in {folder.name}; choose another place, or add --overwrite (overwrite=True)."
            )


def _make_folders(folder: Path) -> list[Path]:
    """Make the folder with its parents; returns those that did not exist, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.insert(0, path)
    except OSError:
        _remove_empty(made)
        raise
    return made


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _move_into_place(staging: Path, folder: Path, made: list[Path]) -> None:
    """Move every file; when one cannot be moved, put everything back as it was."""
    kept = staging / _REPLACED
    moved: list[str] = []
    names = _files_in(staging)
    try:
        kept.mkdir()
        for name in names:
            made[:0] = _make_folders((folder / name).parent)
            if (folder / name).exists():
                _keep(folder / name, kept / name)
            moved.append(name)
            os.replace(staging / name, folder / name)
    except BaseException:
        for name in moved:
            _put_back(folder / name, kept / name, arrived=not (staging / name).exists())
        raise


def _keep(path: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)


def _put_back(path: Path, kept: Path, arrived: bool) -> None:
    if kept.exists():
        os.replace(kept, path)
    elif arrived:
        path.unlink(missing_ok=True)


def _first(error: OSError) -> OSError:
    """The system's own reason: pydicom raises an error of the same kind anew, without its number."""
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return error


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    shown = folder.parent if folder.name.startswith(_PREFIX) else folder
    return OutputError(f"The output folder {shown.name} cannot be written ({reason}); choose another place.")
