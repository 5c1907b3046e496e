"""Known weights: the catalogue, and the folder on this machine where fetched files are kept.

The folder is the platform's for caches, or the one that the environment variable ``ADAPTSAM_WEIGHTS`` names: a shared
one on a cluster, or one that was filled for a machine without internet.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from platformdirs import user_cache_path

from adaptsam.errors import CheckpointError
from adaptsam.storage.file_hashes import Fingerprint

FOLDER_VARIABLE = "ADAPTSAM_WEIGHTS"
_DATA = "weights.toml"


@dataclass(frozen=True)
class KnownWeights:
    """One entry of the catalogue.

    Attributes:
        name: the name to give, such as "vit_b".
        file: what the file is called in the folder.
        kind: what the loader takes it for.
        purpose: what it is good for, in a few words.
        licence: as its authors state it.
        page: where people find it.
        url: where programs get it; None where there is no such address.
        original: what its authors call the file, where that differs.
        fingerprint: what is known of size and hashes.
    """

    name: str
    file: str
    kind: str
    purpose: str
    licence: str
    page: str
    url: str | None
    original: str
    fingerprint: Fingerprint

    @property
    def path(self) -> Path:
        """The path of the file on this machine."""
        return weights_folder() / self.file


@cache
def catalogue() -> Mapping[str, KnownWeights]:
    """All entries by name."""
    entries = tomllib.loads(files("adaptsam.sam").joinpath(_DATA).read_text(encoding="utf-8"))
    return {name: _entry(name, values) for name, values in entries.items()}


def _entry(name: str, values: dict[str, str]) -> KnownWeights:
    return KnownWeights(
        name=name,
        file=values["file"],
        kind=values["kind"],
        purpose=values["purpose"],
        licence=values["licence"],
        page=values["page"],
        url=values.get("url"),
        original=values.get("original", values["file"]),
        fingerprint=Fingerprint(
            int(values["bytes"]) if "bytes" in values else None, values.get("sha256"), values.get("md5")
        ),
    )


def entry(name: str) -> KnownWeights:
    """The entry of that name.

    Raises:
        CheckpointError: there is none.
    """
    try:
        return catalogue()[name]
    except KeyError:
        raise CheckpointError(f"No weights are called {name!r}; known are {', '.join(catalogue())}.") from None


def weights_folder() -> Path:
    """The folder of fetched weights; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("adaptsam", appauthor=False) / "weights"


def known_file(size: int, sha256: str) -> KnownWeights | None:
    """The entry that a file of that size and hash is, wherever it lies and whatever it is called."""
    for known in catalogue().values():
        if known.fingerprint.sha256 == sha256 and known.fingerprint.size in (None, size):
            return known
    return None


def fetched(name: str) -> Path:
    """The file of that name on this machine.

    Raises:
        CheckpointError: the name is unknown, or the file is not here yet; says how to get it.
    """
    known = entry(name)
    if not known.path.is_file():
        raise CheckpointError(f"The weights {name} are not on this machine yet: {how_to_get(known)}.")
    return known.path


def how_to_get(known: KnownWeights) -> str:
    """Instructions to get a file here, in words."""
    if known.url:
        return f"run 'adaptsam weights fetch {known.name}' (or give a file: --from FILE)"
    return (
        f"its authors give it to people only, so download {known.original} from {known.page} in a browser and run "
        f"'adaptsam weights fetch {known.name} --from FILE'"
    )
