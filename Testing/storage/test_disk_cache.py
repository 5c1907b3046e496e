"""What is kept on disk: bounded, shared by processes, and right or not there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import InputError
from adaptsam.storage.disk_cache import KeptFolder, cache_bytes, cache_folder

FEATURES = {"features": np.arange(1000, dtype=np.float32)}
KEYS = [f"{number:064x}" for number in range(40)]


def test_the_bound_holds_and_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    folder = KeptFolder(tmp_path, most_bytes=45_000)
    for number, key in enumerate(KEYS[:10]):
        folder.write(key, FEATURES)
        os.utime(folder.path(key), (number, number))
    assert folder.read(KEYS[0]) is not None  # used now
    folder.write(KEYS[10], FEATURES)
    assert folder.kept().size <= 45_000
    assert folder.read(KEYS[0]) is not None
    assert folder.read(KEYS[10]) is not None
    assert folder.read(KEYS[1]) is None


def test_a_bound_that_holds_not_even_one_embedding_keeps_none(tmp_path: Path) -> None:
    folder = KeptFolder(tmp_path, most_bytes=3000)
    folder.write(KEYS[0], FEATURES)
    assert folder.kept().files == 0


def test_what_a_killed_process_left_half_written_is_removed_and_a_young_file_is_not(tmp_path: Path) -> None:
    old, young = tmp_path / ".old.part", tmp_path / ".young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    KeptFolder(tmp_path, most_bytes=10**6).write(KEYS[0], FEATURES)
    assert not old.exists()
    assert young.exists()


def test_clearing_removes_embeddings_and_nothing_else(tmp_path: Path) -> None:
    folder = KeptFolder(tmp_path)
    for key in KEYS[:3]:
        folder.write(key, FEATURES)
    (tmp_path / ".x.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.safetensors").write_text("mine")
    assert folder.clear().files == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "notes.txt"]


def test_a_folder_that_is_cleared_meanwhile_costs_time_alone(tmp_path: Path) -> None:
    folder = KeptFolder(tmp_path)
    folder.write(KEYS[0], FEATURES)
    KeptFolder(tmp_path).clear()
    assert folder.read(KEYS[0]) is None
    folder.write(KEYS[0], FEATURES)
    assert folder.read(KEYS[0]) is not None


def test_others_may_not_look_into_the_folder(tmp_path: Path) -> None:
    KeptFolder(tmp_path / "new").write(KEYS[0], FEATURES)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_processes_that_write_read_and_trim_one_folder_get_right_numbers_or_none(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from adaptsam.storage.disk_cache import KeptFolder
folder = KeptFolder(sys.argv[1], most_bytes=60_000)
for turn in range(60):
    number = (turn * int(sys.argv[2])) % 40
    features = {"features": np.full(1000, number, np.float32)}
    folder.write(f"{number:064x}", features)
    there = folder.read(f"{number:064x}")
    assert there is None or np.array_equal(there["features"], features["features"])
    if turn % 25 == 24 and sys.argv[2] == "3":
        folder.clear()
"""
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(step)]) for step in (3, 7)]
    assert [process.wait(120) for process in started] == [0, 0]
    assert KeptFolder(tmp_path).kept().size <= 65_000
    assert not list(tmp_path.glob(".*"))


def test_the_folder_and_its_bound_are_set_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path))
    monkeypatch.setenv("ADAPTSAM_CACHE_GB", "0.5")
    assert (cache_folder(), cache_bytes()) == (tmp_path, 2**29)
    monkeypatch.setenv("ADAPTSAM_CACHE_GB", "much")
    with pytest.raises(InputError, match="ADAPTSAM_CACHE_GB is 'much'; give a number of gigabytes"):
        cache_bytes()
