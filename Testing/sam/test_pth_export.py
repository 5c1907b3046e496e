"""A model for segment_anything, and an adapter that says that it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_sam import TINY, tiny_model

from adaptsam.cli import main
from adaptsam.errors import CheckpointError, InputError
from adaptsam.finetune.adapter_file import save_adapter
from adaptsam.finetune.tuning import Tuning
from adaptsam.sam import build_sam, load_sam, save_checkpoint
from adaptsam.sam.pth_export import save_pth


def test_the_file_is_what_segment_anything_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    save_checkpoint(tmp_path / "best.safetensors", model.sam, TINY, dtype=torch.float32)
    output = tmp_path / "sam.pth"
    assert main(["weights", "export", str(tmp_path / "best.safetensors"), "--output", str(output)]) == 0
    assert "segment_anything" in capsys.readouterr().out
    # As segment_anything's builders do it.
    other = build_sam(TINY)
    other.load_state_dict(torch.load(output))
    assert all(torch.equal(value, model.sam.state_dict()[key]) for key, value in other.state_dict().items())
    with pytest.raises(InputError, match=r"end in \.pth"):
        save_pth(tmp_path / "sam.pt", model)


def test_an_adapter_given_as_a_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    model = tiny_model()
    Tuning("decoder").apply(model.sam)
    save_adapter(tmp_path / "best.adapter.safetensors", model.sam, Tuning("decoder"), model.sha256)
    with pytest.raises(CheckpointError, match="is an adapter: what a training changed"):
        load_sam(tmp_path / "best.adapter.safetensors", "cpu")
