"""The average of two states of a model: weights on the way from one to the other, and nothing of unlike models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny_sam import tiny_model

from adaptsam.errors import InputError
from adaptsam.pretrain import weight_average
from adaptsam.pretrain.weight_average import average_weights
from adaptsam.sam import load_sam


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_on_the_way_to_the_later_one(share: float) -> None:
    former, later = tiny_model(), tiny_model()
    with torch.no_grad():
        for parameter in later.sam.parameters():
            parameter.add_(1.0)
    before = {name: one.clone() for name, one in former.sam.named_parameters()}
    average_weights(former, later, share)
    for name, one in former.sam.named_parameters():
        assert torch.allclose(one, before[name] + share, atol=1e-6)


def test_a_share_beyond_the_way_and_unlike_models_are_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        average_weights(tiny_model(), tiny_model(), 1.5)
    with pytest.raises(InputError, match="have no average"):
        average_weights(tiny_model(), load_sam(device="cpu"), 0.5)


def test_the_command_writes_a_model_that_can_be_loaded(tmp_path: Path, monkeypatch, capsys) -> None:
    bundled = str(next(Path(weight_average.__file__).parents[2].glob("Resources/models/adaptsam_lite.safetensors")))
    out = tmp_path / "out.safetensors"
    monkeypatch.setattr(sys, "argv", ["x", bundled, bundled, "--images", "12", "--output", str(out)])
    weight_average.main()
    assert load_sam(out, "cpu").kind == "lite"
    monkeypatch.setattr(sys, "argv", ["x", bundled, bundled, "--share", "2", "--images", "12", "--output", str(out)])
    with pytest.raises(SystemExit):
        weight_average.main()
    assert "between 0 and 1" in capsys.readouterr().err
