"""Memory is looked at before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptsam.errors import InputError
from adaptsam.worker import memory


def test_a_model_that_needs_more_than_there_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        memory, "devices", lambda: [{"name": "cpu", "label": "CPU", "free": 2_000_000_000, "total": 8_000_000_000}]
    )
    memory.check_memory("auto", 1_500_000_000)
    with pytest.raises(InputError, match=r"about 9.0 GB and CPU has 2.0 GB free"):
        memory.check_memory("cpu", 9_000_000_000)


def test_the_need_grows_with_the_file_and_the_images(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 1000)
    with large.open("wb") as file:
        file.truncate(400_000_000)
    assert memory.needed_bytes(small) < memory.needed_bytes(small, 10**9) < memory.needed_bytes(large, 10**9)


def test_the_cpu_is_always_there() -> None:
    assert memory.devices()[-1]["name"] == "cpu"
