"""Images of patients leave the exchange folder on Windows, too, where no file goes that a process maps or has open.

Windows' rule is imitated from Linux's own account of what this process maps and has open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from thorax import thorax
from tiny_sam import tiny_model

from adaptsam.sam import EmbeddingStore
from adaptsam.worker import exchange
from adaptsam.worker import wire_format as wire
from adaptsam.worker.worker_session import Session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="imitated with Linux's /proc")

QUICK = {"register": "off", "fusion": "off", "acceptance": "off", "p2sam.positives": [1, 1]}


def in_use(path: Path) -> bool:
    """Whether this process maps a file, or has it open."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    opened = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            opened.append(os.readlink(one))
        except OSError:
            continue  # the one that listed this folder
    return f" {path}\n" in maps or str(path) in opened


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule, for all ways in which Python removes files, and the worker's word for the system."""
    remove: Callable[..., None] = os.unlink

    def refusing(path: Any, *, dir_fd: int | None = None) -> None:
        folder = Path.cwd() if dir_fd is None else Path(os.readlink(f"/proc/self/fd/{dir_fd}"))
        if in_use(folder / path):
            raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
        remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refusing)
    monkeypatch.setattr(os, "remove", refusing)
    monkeypatch.setattr(wire, "sys", SimpleNamespace(platform="win32"))


def test_the_rule_is_windows_own(windows: None, tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    np.save(path, np.arange(6))
    mapped = np.load(path, mmap_mode="r")
    with pytest.raises(PermissionError):
        path.unlink()
    del mapped
    with path.open("rb"), pytest.raises(PermissionError):
        path.unlink()
    path.unlink()
    assert not path.exists()


def test_an_image_that_was_read_is_gone_though_a_run_goes_on_with_it(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = thorax()
    grid = case.volume.geometry
    place = {"shape": (2, *grid.shape[1:]), "spacing": grid.spacing, "origin": grid.origin, "direction": grid.direction}

    def image() -> dict[str, Any]:
        name = wire.write_array(tmp_path, case.volume.array[5:7])
        return {"array": name, "geometry": place, "modality": "CT"}

    session, store, left = Session(tmp_path), EmbeddingStore(tiny_model()), []
    monkeypatch.setattr(session, "store", lambda *values: store)

    def emit(event: str, **content: Any) -> None:
        left.append((event, sorted(one.name for one in tmp_path.glob("*.npy"))))

    heart = {"name": "heart", "mask": wire.pack_mask(case.mask("heart")[5:7])}
    content = {"prior": image(), "structures": [heart], "targets": [{**image(), "key": "t"}], "settings": QUICK}
    session.answer({"do": "propagate", "run": "r", **content}, emit, lambda: None)
    correction = {"do": "correct", "run": "r", "target": "t", "structure": "heart", "index": 1}
    session.answer({**correction, "points": [[30, 30]], "labels": [1]}, emit, lambda: None)
    assert {"result", "slice"} <= {event for event, _ in left}
    assert all(not names for event, names in left if event in ("result", "slice")), left


def test_a_folder_goes_with_its_last_open_file_or_at_the_next_start(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.tempfile, "tempdir", str(tmp_path))
    folder = exchange.ExchangeFolder()
    name = wire.write_array(folder.path, np.arange(6))
    held = np.load(folder.path / name, mmap_mode="r")
    assert not folder.remove(patience=0.1), "what is left is told"
    assert name in {one.name for one in folder.path.iterdir()}
    assert exchange.remove_leftovers(older=-1.0) == 0
    del held
    assert exchange.remove_leftovers(older=-1.0) == 1
    assert not folder.path.exists()
