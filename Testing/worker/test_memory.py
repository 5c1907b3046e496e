"""Memory is looked at before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptsam.errors import InputError
from adaptsam.sam import sam_model
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


@pytest.mark.parametrize("fast", [False, True])
def test_each_model_has_the_precision_that_auto_takes_on_each_device(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    known = [{"name": name, "label": name, "free": 1, "total": 2} for name in ("cuda:0", "cpu:int8", "cpu")]
    monkeypatch.setattr(memory, "devices", lambda: known)
    monkeypatch.setattr(sam_model, "bfloat16_is_fast", lambda: fast)
    wide = "bfloat16" if fast else "float32"
    assert memory.precisions("vit_b") == {"cuda:0": "bfloat16", "cpu:int8": "int8", "cpu": wide}
    assert memory.precisions("lite")["cpu"] == memory.precisions("vit_t")["cpu"] == "float32"
