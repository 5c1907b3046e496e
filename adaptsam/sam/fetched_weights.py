"""Files of the catalogue on this machine: fetched, checked, removed."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

from adaptsam.errors import CheckpointError, OutputError
from adaptsam.progress import Progress, silent
from adaptsam.sam.checkpoint import read_checkpoint
from adaptsam.sam.weights_catalogue import KnownWeights, entry, how_to_get
from adaptsam.storage.atomic_files import replacing
from adaptsam.storage.download import download, leftovers, partial_path
from adaptsam.storage.file_hashes import Fingerprint, digests


def fetch(name: str, source: str | None = None, *, progress: Progress = silent, stall_seconds: float = 30.0) -> Path:
    """Bring a file of the catalogue to this machine, checked as far as its hashes are known.

    What is here already is checked and kept. A download that broke off is gone on with.

    Args:
        name: of the catalogue.
        source: another file or address (http, https) to take it from; None for the official address.
        progress: receives bytes.
        stall_seconds: how long a server may be silent.

    Returns:
        Where the file is now.

    Raises:
        CheckpointError: the name is unknown; there is no address; the file is not what the catalogue says.
        DownloadError: the server does not answer, or not as it should.
        OutputError: the folder cannot be written to.
    """
    known = entry(name)
    target = known.path
    if target.is_file() and (source is None or known.fingerprint.is_exact) and difference(known, progress) is None:
        return target
    source = source or known.url
    if source is None:
        raise CheckpointError(f"There is no address for the weights {name}: {how_to_get(known)}.")
    if source.startswith(("https://", "http://")):
        download(
            source,
            target,
            known.fingerprint,
            accept=None if known.fingerprint.is_exact else partial(_check_kind, known),
            progress=progress,
            stage=f"fetch {name}",
            stall_seconds=stall_seconds,
        )
    else:
        _take(Path(source), known, progress)
    _write_record(known, source if source == known.url else "elsewhere")
    return target


def difference(known: KnownWeights, progress: Progress = silent) -> str | None:
    """Describe how the file differs from the catalogue, or from itself when it came; None if it does not.

    Raises:
        OSError: it cannot be read.
    """
    expected = known.fingerprint
    if not expected.is_exact:
        # Nobody published a hash: the one that was written down when the file came shows later damage at least.
        expected = Fingerprint(expected.size, _record(known).get("sha256"))
    return expected.difference(known.path, progress)


def is_checked(known: KnownWeights) -> str:
    """Describe the check of this entry's file, in words."""
    if known.fingerprint.is_exact:
        return "hash"
    return "hash from its arrival; none is published" if "sha256" in _record(known) else "nothing"


def clear(name: str) -> int:
    """Remove a file from this machine, whole or partial.

    Returns:
        The bytes that are free now.

    Raises:
        CheckpointError: the name is unknown.
        OutputError: it cannot be removed.
    """
    known = entry(name)
    freed = 0
    for path in (known.path, _record_path(known), *leftovers(known.path)):
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {error}.") from error
        freed += size
    return freed


def partial_bytes(known: KnownWeights) -> int:
    """Bytes on this machine of a download that broke off."""
    with suppress(OSError):
        return partial_path(known.path).stat().st_size
    return 0


def _take(source: Path, known: KnownWeights, progress: Progress) -> None:
    """A copy of a local file, once it is known to be the right one."""
    if not source.is_file():
        raise CheckpointError(f"There is no file {source}; give the file that you downloaded from {known.page}.")
    try:
        wrong = known.fingerprint.difference(source, progress)
        if wrong:
            raise CheckpointError(f"{source} is not {known.original}: {wrong}; download it again from {known.page}.")
        if not known.fingerprint.is_exact:
            _check_kind(known, source)
        if source.resolve() == known.path.resolve():
            return
        known.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(known.path) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise OutputError(f"The weights cannot be copied to {known.path}: {error}.") from error


def _check_kind(known: KnownWeights, path: Path) -> None:
    """Check that a file without a published hash is a model of the right kind."""
    read_checkpoint(path, kind=known.kind)


def _record_path(known: KnownWeights) -> Path:
    return known.path.with_name(f"{known.path.name}.json")


def _write_record(known: KnownWeights, source: str) -> None:
    record = {"name": known.name, "source": source, **digests(known.path, ["sha256"])}
    try:
        with replacing(_record_path(known)) as temporary:
            temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{_record_path(known)} cannot be written: {error}.") from error


def _record(known: KnownWeights) -> dict[str, str]:
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads(_record_path(known).read_text(encoding="utf-8"))
        if isinstance(record, dict) and re.fullmatch(r"[0-9a-f]{64}", str(record.get("sha256", ""))):
            return record
    return {}
