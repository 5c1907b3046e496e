"""Hashes and size of a file, as far as they were published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from adaptsam.progress import Progress, silent

_BLOCK = 8 * 2**20


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a file; None where no value was published.

    Attributes:
        size: bytes.
        sha256: hexadecimal, whole.
        md5: hexadecimal; may be the first digits only, as in the names of Meta's files.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether a file that agrees can be no other one (by accident)."""
        return self.sha256 is not None or (self.md5 is not None and len(self.md5) == 32)

    def difference(self, path: Path, progress: Progress = silent) -> str | None:
        """Describe how the file differs, None where it agrees in all that is known.

        Raises:
            OSError: it cannot be read.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        names = [name for name in ("sha256", "md5") if getattr(self, name) is not None]
        found = digests(path, names, progress)
        for name in names:
            expected: str = getattr(self, name)
            if not found[name].startswith(expected):
                return f"its {name.upper()} is {found[name][: len(expected)]} instead of {expected}"
        return None


def digests(path: Path, names: list[str], progress: Progress = silent) -> dict[str, str]:
    """Hashes of a file, each of the named kinds, in one pass.

    Raises:
        OSError: it cannot be read.
    """
    hashes = [hashlib.new(name, usedforsecurity=False) for name in names]
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while hashes and (block := file.read(_BLOCK)):
            for digest in hashes:
                digest.update(block)
            done += len(block)
            progress("check", done, total)
    return {name: digest.hexdigest() for name, digest in zip(names, hashes, strict=True)}
