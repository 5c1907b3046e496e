"""Slicer 5.10 has pydicom 2.4: the worker starts and propagates with it; reading and writing DICOM needs version 3."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.append(str(ROOT / "Testing" / "tools" / "slicer"))

#: What of pydicom the worker's files import when they are imported; all of it is in pydicom 2.4.4.
IN_BOTH = {
    *("pydicom", "pydicom.multival.MultiValue", "pydicom.errors.InvalidDicomError", "pydicom.sr.coding.Code"),
    "pydicom.sr.codedict.codes",
    *(f"pydicom.dataset.{name}" for name in ("Dataset", "FileDataset", "FileMetaDataset")),
    *("pydicom.datadict.tag_for_keyword", "pydicom.encaps.encapsulate", "pydicom.filereader.read_file_meta_info"),
    *("pydicom.valuerep.format_number_as_ds", "pydicom.uid.UID", "pydicom.uid.generate_uid"),
}

#: UIDs are constants of pydicom.uid; those whose name is in both versions, and means the same.
SAME_UIDS = {"JPEGBaseline8Bit", "JPEGExtended12Bit", "JPEGLosslessSV1", "JPEGLSLossless", "JPEGLSNearLossless"}


PROGRAM = """
import pathlib, pydicom, adaptsam.worker.server
from adaptsam.worker.worker_session import Session
print(pydicom.__version__)
try:
    Session(pathlib.Path(".")).answer({"do": "write_structures"}, None, None)
except Exception as error:
    print(error)
"""


def at_import(tree: ast.Module) -> Iterator[str]:
    """What of pydicom a file imports outside of its functions."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] == "pydicom")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pydicom":
            yield from (f"{node.module}.{one.name}" for one in node.names)


def needed() -> set[str]:
    from collect_sentences import files

    trees = [ast.parse(one.read_text(encoding="utf-8")) for one in files()]
    return {name for tree in trees for name in at_import(tree)}


def plain_uid(name: str) -> bool:
    """A storage class or an uncompressed transfer syntax, which both versions have, or one of :data:`SAME_UIDS`."""
    last = name.rpartition(".")[2]
    return name.startswith("pydicom.uid.") and (last.endswith(("Storage", "VRLittleEndian")) or last in SAME_UIDS)


def test_the_worker_imports_of_pydicom_what_both_versions_have() -> None:
    assert {name for name in needed() - IN_BOTH if not plain_uid(name)} == set()


def test_all_of_it_is_in_this_pydicom() -> None:
    for name in needed():
        module, _, attribute = name.rpartition(".")
        assert module == "" or hasattr(importlib.import_module(module), attribute), name


@pytest.mark.skipif("PYDICOM_2" not in os.environ, reason="PYDICOM_2 names no folder with pydicom 2.4 (pip --target)")
def test_the_worker_starts_with_pydicom_2() -> None:
    path = os.pathsep.join((os.environ["PYDICOM_2"], str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:pydicom", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    version, said = done.stdout.splitlines()
    assert version.startswith("2.")
    assert said.startswith("Writing an RTSTRUCT here needs pydicom 3")


def test_without_pydicom_3_writing_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from adaptsam.errors import InputError
    from adaptsam.worker.worker_session import Session

    monkeypatch.setitem(sys.modules, "pydicom.pixels", None)
    with pytest.raises(InputError, match="needs pydicom 3"):
        Session(tmp_path).answer({"do": "write_structures"}, lambda event, **content: None, lambda: None)
