"""What belongs to the model that lite replaced: refused in one sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adaptsam.cli import main
from adaptsam.errors import CheckpointError
from adaptsam.finetune.adapter_file import load_adapter
from adaptsam.sam import LITE, SamModel, build_sam, load_sam, save_checkpoint
from adaptsam.sam.former_model import FORMER_KIND, FORMER_SHA256

SENTENCE = "the model small, which lite, trained on real images, has replaced; "


def test_its_checkpoint_is_refused(random_sam, config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fine-tuned.safetensors"
    save_checkpoint(file, random_sam(config), config, kind=FORMER_KIND)
    with pytest.raises(CheckpointError, match=f"fine-tuned.safetensors holds {SENTENCE}give no checkpoint"):
        load_sam(file, "cpu")
    command = ["track", "--video", "none.mp4", "--prior-frame", "0", "--prior-mask", "none.png", "--output", "out"]
    assert main([*command, "--checkpoint", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_its_name_is_refused_where_no_file_has_it(monkeypatch, random_sam, config, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"The name small stands for {SENTENCE}give lite, or no checkpoint"):
        load_sam("small", "cpu")
    save_checkpoint(tmp_path / "small", random_sam(config), config)
    assert load_sam("small", "cpu").kind == "custom"


def test_an_adapter_of_it_is_refused(tmp_path: Path) -> None:
    described = {"format_version": 1, "tuning": {"method": "lora"}, "base_sha256": FORMER_SHA256, "metadata": {}}
    save_file({"a": torch.zeros(1)}, tmp_path / "best.adapter", {"adaptsam_adapter": json.dumps(described)})
    with pytest.raises(CheckpointError, match=f"best.adapter was trained on {SENTENCE}train it again on lite"):
        load_adapter(tmp_path / "best.adapter", SamModel.from_sam(build_sam(LITE), LITE, device="cpu"))
