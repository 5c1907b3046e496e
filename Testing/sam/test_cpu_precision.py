"""The precision of "auto" on a CPU: what a probe says once, for wide encoders alone, in the key of the embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.sam import EmbeddingStore, SamModel, build_sam, cpu_precision, load_sam
from adaptsam.sam.architecture import SamConfig

WIDE = SamConfig(image_size=128, encoder_depth=2, global_attention=(1,))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of answers, in a folder of the test, and nothing remembered in the process."""
    file = tmp_path / "cache/bfloat16_speed.json"
    monkeypatch.setattr(cpu_precision, "_kept_answers", lambda: file)
    cpu_precision.bfloat16_is_fast.cache_clear()
    yield file
    cpu_precision.bfloat16_is_fast.cache_clear()


@pytest.fixture(scope="module")
def wide():
    torch.manual_seed(0)
    return build_sam(WIDE)


def times(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[torch.dtype]:
    """Put times in the place of measured ones; the precisions that were timed."""
    asked: list[torch.dtype] = []

    def answer(dtype: torch.dtype) -> float:
        asked.append(dtype)
        return seconds[str(dtype).removeprefix("torch.")]

    monkeypatch.setattr(cpu_precision, "_seconds", answer)
    return asked


def test_the_probe_times_both_and_keeps_the_ratio(kept: Path) -> None:
    fast = cpu_precision.bfloat16_is_fast()
    [ratio] = json.loads(kept.read_text()).values()
    assert fast == (ratio >= 1.4)
    assert 0.01 < ratio < 30


def test_an_answer_is_kept_for_the_next_process(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = times(monkeypatch, float32=2.0, bfloat16=1.0)
    assert cpu_precision.bfloat16_is_fast()
    cpu_precision.bfloat16_is_fast.cache_clear()
    assert cpu_precision.bfloat16_is_fast()
    assert len(asked) == 2
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    times(monkeypatch, float32=1.0, bfloat16=3.0)
    cpu_precision.bfloat16_is_fast.cache_clear()
    assert not cpu_precision.bfloat16_is_fast(), "another set of instructions is another processor"


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"a": "b"}'])
def test_a_damaged_file_is_written_anew(kept: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    kept.parent.mkdir()
    kept.write_text(damage)
    times(monkeypatch, float32=3.0, bfloat16=1.0)
    assert cpu_precision.bfloat16_is_fast()
    assert 3.0 in json.loads(kept.read_text()).values()


def test_a_folder_that_cannot_be_written_costs_a_probe_and_no_more(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cpu_precision, "_kept_answers", lambda: tmp_path / "file/below.json")
    times(monkeypatch, float32=3.0, bfloat16=1.0)
    assert cpu_precision.bfloat16_is_fast()


@pytest.mark.parametrize(("seconds", "precision"), [(0.5, torch.bfloat16), (0.9, torch.float32), (5.0, torch.float32)])
def test_auto_is_bfloat16_where_it_is_fast(kept, monkeypatch, wide, seconds: float, precision: torch.dtype) -> None:
    times(monkeypatch, float32=1.0, bfloat16=seconds)
    assert SamModel.from_sam(wide, WIDE, device="cpu").precision == precision
    assert SamModel.from_sam(wide, WIDE, device="cpu", precision="float32").precision == torch.float32
    assert load_sam(device="cpu").precision == torch.float32, "a narrow encoder gains nothing"


def test_embeddings_in_bfloat16_point_the_same_way_and_are_kept_apart(tmp_path: Path, wide) -> None:
    models = [SamModel.from_sam(wide, WIDE, device="cpu", precision=name) for name in ("float32", "bfloat16")]
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    exact, fast = (EmbeddingStore(model, folder=tmp_path).get([image])[0].features for model in models)
    assert exact.dtype == fast.dtype == torch.float32
    assert not torch.equal(exact, fast), "one store, two keys"
    assert torch.cosine_similarity(exact, fast, dim=0).min() > 0.999
