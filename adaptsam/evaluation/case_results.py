"""Results on disk while an evaluation runs: a JSON file a case, the worst pictures, and the run's identity.

A case's file appears whole or not at all, so that an evaluation that was stopped or killed goes on with the next case.
Results of another model, or of other data or choices, are never mixed with new ones: the folder is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptsam.errors import OutputError
from adaptsam.evaluation.case_worker import CaseResult, Record
from adaptsam.sam import SamModel
from adaptsam.storage.atomic_files import replacing

_FORMAT = 1
#: How many pictures are kept of each method.
WORST = 6


class Results:
    """The folder of one evaluation.

    Args:
        folder: made if missing.
        identity: what results must have in common to be one evaluation; see :func:`identity_of`.

    Raises:
        OutputError: the folder holds results of another evaluation, or cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            for part in ("cases", "worst", "models"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {folder.name} cannot be written ({error.strerror}); choose another."
            ) from None
        path = folder / "study.json"
        if path.exists():
            _check_same(_read(path) or {}, identity, folder)
        elif any((folder / "cases").iterdir()):
            raise OutputError(f"{folder.name} holds results of an unknown evaluation; choose another folder.")
        else:
            _write(path, dict(identity))

    @property
    def models(self) -> Path:
        """The folder of trained models."""
        return self.folder / "models"

    def missing(self, case: str, methods: Mapping[str, str], version: str = "") -> list[str]:
        """The methods (name → fingerprint of the settings) that a case still lacks in this version of its data.

        So is one that failed, or that a library was missing for: there may be more memory now, or the library.
        """
        known = (self.read(case) or {}).get("methods", {})
        return [name for name, settings in methods.items() if _lacks(known.get(name, {}), settings, version)]

    def add(self, result: CaseResult) -> None:
        """Keep a result beside what is known of its case, and its pictures if they are among the worst.

        What is known stays where the case cannot be read any more; it is a failure of the new methods then.
        """
        record = dict(result.record)
        before = self.read(record["case"]) or {}
        known = {} if "error" in before else before.get("methods", {})
        if any(row.get("items") for row in known.values()):
            record.pop("error", None)
        if "error" not in record:
            record["methods"] = {**known, **record["methods"]}
        # Pictures first: a run that is killed between the two evaluates the case again, and draws them.
        for method, (score, label, picture) in result.pictures.items():
            self._keep(method, record["case"], score, label, picture)
        _write(self._path(record["case"]), record)

    def read(self, case: str) -> Record | None:
        """A case's record, or None where there is none that can be read."""
        return _read(self._path(case))

    def records(self, cases: Sequence[str]) -> Iterator[Record]:
        """The records of these cases that are there, one at a time."""
        for case in cases:
            record = self.read(case)
            if record is not None:
                yield record

    def worst(self, method: str) -> list[dict[str, Any]]:
        """A method's worst cases, the worst first: "score", "case", "item" and "file"."""
        found = [_read(path) for path in (self.folder / "worst").glob(f"{method}@*.json")]
        return sorted((one for one in found if one), key=lambda one: (one["score"], one["case"]))

    def _keep(self, method: str, case: str, score: float, label: str, picture: bytes) -> None:
        stem = f"{method}@{file_name(case)}"
        write_file(self.folder / "worst" / f"{stem}.jpg", picture)
        described = {"score": score, "case": case, "item": label, "file": f"worst/{stem}.jpg"}
        _write(self.folder / "worst" / f"{stem}.json", described)
        for one in self.worst(method)[WORST:]:
            path = self.folder / one["file"]
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)

    def _path(self, case: str) -> Path:
        return self.folder / "cases" / f"{file_name(case)}.json"


def identity_of(protocol: str, options: Mapping[str, Any], model: SamModel) -> dict[str, Any]:
    """The identity of an evaluation: all that two runs must share to be the same."""
    return {
        "format": _FORMAT,
        "protocol": protocol,
        "options": json.loads(json.dumps(dict(options), default=str)),
        "checkpoint": model.sha256,
        "kind": model.kind,
        "config": str(model.config),
        "precision": str(model.precision),
    }


def file_name(case: str) -> str:
    """A file's name for a case, unlike that of any other."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", case)[:80]
    return plain if plain == case else f"{plain}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"


def _lacks(row: Mapping[str, Any], settings: str, version: str) -> bool:
    of_other_data = bool(version) and row.get("version", version) != version
    return row.get("settings") != settings or of_other_data or "failed" in row or "not_installed" in row


def _check_same(known: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    words = {
        "format": "another version of AdaptSAM",
        "protocol": "another protocol",
        "checkpoint": "another checkpoint",
        "kind": "another use of the checkpoint",
        "config": "another use of the checkpoint",
        "precision": "another precision",
        "options": "other data or choices",
    }
    for key, what in words.items():
        if known.get(key) != identity.get(key):
            raise OutputError(f"{folder.name} holds results of {what}; choose another output folder.")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, value: object) -> None:
    write_file(path, json.dumps(value, allow_nan=False))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror}); free some space.") from None
