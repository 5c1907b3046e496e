"""Agents of other people, brought to this machine: from a file, an address, or a catalogue of addresses and hashes.

A catalogue is a TOML text, one table an agent; an institution can write its own:

    [heart]
    url = "https://example.org/heart.agent.safetensors"
    sha256 = "…"
    purpose = "Hearts in CT, for the bundled SAM"
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urljoin, urlsplit

from adaptsam.alignsam.agent_file import load_agent
from adaptsam.alignsam.agent_folders import own_folder
from adaptsam.alignsam.agent_header import SUFFIX
from adaptsam.errors import CheckpointError, InputError, OutputError
from adaptsam.progress import Progress, silent
from adaptsam.storage.atomic_files import replacing
from adaptsam.storage.download import download
from adaptsam.storage.file_hashes import Fingerprint

CATALOGUE_VARIABLE = "ADAPTSAM_AGENT_CATALOGUE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """An agent that can be fetched.

    Attributes:
        name: by which it is known here afterwards.
        source: an address (http, https) or a file.
        fingerprint: what is known of the file.
        purpose: what it is good for, in a few words.
    """

    name: str
    source: str
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    purpose: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"{self.name!a} cannot be the name of an agent; use letters, digits, blanks and dashes.")


def offered(source: str, sha256: str | None = None) -> Offer:
    """The agent at an address or in a file, under its file's name.

    Raises:
        InputError: the hash is none, or the file's name cannot be an agent's.
    """
    if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
        raise InputError("A SHA-256 has 64 hexadecimal digits; copy it again.")
    place = unquote(urlsplit(source).path) if is_address(source) else source
    name = Path(place).name.removesuffix(SUFFIX).removesuffix(".safetensors")
    return Offer(name, source, Fingerprint(sha256=sha256.lower() if sha256 else None))


def read_catalogue(source: str | None = None) -> dict[str, Offer]:
    """The agents of a catalogue by name; of the one that ``ADAPTSAM_AGENT_CATALOGUE`` names where none is given.

    Every agent in it needs a SHA-256. Addresses and files may be relative to the catalogue.

    Raises:
        CheckpointError: no catalogue is given or named, or it is not one.
        DownloadError: it cannot be fetched.
    """
    source = source or os.environ.get(CATALOGUE_VARIABLE)
    if not source:
        raise CheckpointError(
            f"No catalogue of agents is known; give --catalogue FILE or set {CATALOGUE_VARIABLE}, or fetch an agent by "
            "its address or from a file."
        )
    try:
        entries = tomllib.loads(_text(source))
        return {name: _entry(name, values, source) for name, values in entries.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{source} is not a catalogue of agents: it needs a table with url and sha256 for each."
        ) from error


def fetch_agent(
    offer: Offer, *, overwrite: bool = False, progress: Progress = silent, stall_seconds: float = 30.0
) -> Path:
    """Bring an agent into the user's folder, checked against its hash and read as an agent before it is kept.

    Args:
        offer: of :func:`offered` or :func:`read_catalogue`.
        overwrite: whether another agent of that name may be replaced.
        progress: receives bytes; may cancel, what has arrived of a download stays.
        stall_seconds: how long a server may be silent.

    Returns:
        Where the file is now. One that is there already and has the right hash is kept.

    Raises:
        CheckpointError: the file is missing, not the right one, or no agent.
        DownloadError: the server does not answer, or not as it should.
        OutputError: there is another agent of that name, or the folder cannot be written to.
    """
    target, expected = own_folder() / f"{offer.name}{SUFFIX}", offer.fingerprint
    if target.is_file():
        if expected.is_exact and expected.difference(target) is None:
            return target
        if not overwrite:
            raise OutputError(f"There is another agent called {offer.name} in {target.parent}; add --overwrite.")
    if is_address(offer.source):
        download(
            offer.source,
            target,
            expected,
            accept=_check_agent,
            progress=progress,
            stage=f"fetch {offer.name}",
            stall_seconds=stall_seconds,
        )
    else:
        _take(Path(offer.source), target, expected)
    return target


def is_address(source: str) -> bool:
    """Whether it is fetched over the network."""
    return source.startswith(("https://", "http://"))


def _check_agent(path: Path) -> None:
    load_agent(path)


def _take(source: Path, target: Path, expected: Fingerprint) -> None:
    if not source.is_file():
        raise CheckpointError(f"There is no agent file at {source}; check the path.")
    try:
        wrong = expected.difference(source)
        if wrong:
            raise CheckpointError(f"{source.name} is not the agent that was expected: {wrong}; get it again.")
        _check_agent(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise OutputError(f"The agent cannot be copied to {target}: {error}.") from error


def _text(source: str) -> str:
    if not is_address(source):
        path = Path(source).expanduser()
        if not path.is_file():
            raise CheckpointError(f"There is no catalogue at {source}; check the path.")
        return path.read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "agents.toml"
        download(source, path, Fingerprint(), stage="fetch the catalogue")
        return path.read_text(encoding="utf-8")


def _entry(name: str, values: Mapping[str, object], catalogue: str) -> Offer:
    url, sha256 = str(values["url"]), str(values["sha256"]).lower()
    if not _SHA256.fullmatch(sha256):
        raise CheckpointError(f"The catalogue's SHA-256 of {name!a} is none; ask whoever wrote it.")
    if is_address(catalogue):
        url = urljoin(catalogue, url)
        if not is_address(url):
            raise CheckpointError(f"The catalogue's address of {name!a} is none; ask whoever wrote it.")
    elif not is_address(url):
        url = str(Path(catalogue).expanduser().parent / url)
    size = values.get("bytes")
    return Offer(
        name, url, Fingerprint(size if isinstance(size, int) else None, sha256), str(values.get("purpose", ""))
    )
