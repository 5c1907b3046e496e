"""Checkpoints: what was saved is what is read, and every way a file can be wrong is said in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptsam.errors import CheckpointError, OutputError
from adaptsam.sam import (
    VIT_B,
    VIT_H,
    VIT_L,
    build_sam,
    bundled_checkpoint,
    checkpoint,
    load_sam,
    save_checkpoint,
)
from adaptsam.sam import (
    checkpoint_recognition as layouts,
)


@pytest.fixture
def sam(config, random_sam):
    return random_sam(config)


@pytest.fixture
def meta_kind(monkeypatch, config):
    """Meta's smallest model is 375 MB; here its place is taken by a tiny one."""
    monkeypatch.setitem(layouts.KINDS, "vit_b", config)


def _same_weights(one, other, tolerance: float = 0.0) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.float32, 0.0)])
def test_a_saved_model_is_read_back(sam, config, tmp_path, dtype, tolerance):
    path = tmp_path / "below" / "model.safetensors"
    save_checkpoint(path, sam, config, dtype=dtype, kind="knee", metadata={"trained_on": "synthetic"})
    read = checkpoint.read_checkpoint(path)
    assert (read.config, read.kind, read.metadata) == (config, "knee", {"trained_on": "synthetic"})
    assert _same_weights(read.sam, sam, tolerance)
    assert {parameter.dtype for parameter in read.sam.parameters()} == {torch.float32}
    assert {tensor.dtype for tensor in load_file(path).values()} == {dtype}
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert os.listdir(path.parent) == ["model.safetensors"]


def test_a_loaded_model_says_what_it_is(sam, config, tmp_path):
    save_checkpoint(tmp_path / "m", sam, config)
    model = load_sam(tmp_path / "m", device="cpu")
    assert (model.kind, model.image_size, model.grid_size, model.embed_dim) == ("custom", 64, 8, 32)
    assert not model.sam.training


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda weights: weights, id="bare"),
        pytest.param(lambda weights: {"model": weights, "epoch": 3}, id="under model"),
        pytest.param(lambda weights: {"state_dict": weights}, id="under state_dict"),
        pytest.param(lambda weights: {"model": {f"module.{k}": v for k, v in weights.items()}}, id="from DataParallel"),
        pytest.param(
            lambda weights: {
                k.replace(".mlp.lin", ".mlp.fc") if "encoder.b" in k else k: v for k, v in weights.items()
            },
            id="with timm's names",
        ),
        pytest.param(lambda weights: {k: v.half() for k, v in weights.items()}, id="in half precision"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_metas_files_are_recognised_by_their_contents(sam, meta_kind, tmp_path, wrap, zipped):
    path = tmp_path / "a name that says nothing"
    torch.save(wrap(sam.state_dict()), path, _use_new_zipfile_serialization=zipped)
    read = checkpoint.read_checkpoint(path)
    assert read.kind == "vit_b"
    assert _same_weights(read.sam, sam, 1e-3)


def test_weights_of_meta_in_a_safetensors_file_are_recognised_too(sam, meta_kind, tmp_path):
    save_file(sam.state_dict(), tmp_path / "m")
    assert checkpoint.read_checkpoint(tmp_path / "m").kind == "vit_b"


@pytest.mark.parametrize(("kind", "config"), [("vit_b", VIT_B), ("vit_l", VIT_L), ("vit_h", VIT_H)])
def test_metas_three_sizes_are_told_apart_by_their_shapes(kind, config, tmp_path):
    with torch.device("meta"):
        weights = build_sam(config).state_dict()
    assert layouts.recognise(weights, tmp_path) == (config, kind)


class _Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda attack, path: path.write_bytes(pickle.dumps({"model": attack}, protocol=2)), r"mkdir.*state_dict"),
        (lambda attack, path: path.write_bytes(pickle.dumps({"model": attack}, protocol=5)), "not a model file"),
        (lambda attack, path: torch.save({"weight": torch.zeros(2), "args": attack}, path), r"mkdir.*state_dict"),
    ],
    ids=["an old pickle", "a new pickle", "a zip"],
)
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path, write, words):
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    write(_Attack(marker), path)
    with pytest.raises(CheckpointError, match=words):
        load_sam(path)
    assert not marker.exists()


def test_training_leftovers_beside_the_weights_are_refused_by_name(sam, tmp_path):
    torch.save({"model": sam.state_dict(), "args": Fraction(1, 3)}, tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"fractions\.Fraction"):
        load_sam(tmp_path / "m")


def _cut(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_damaged(sam, config, tmp_path, kind):
    path = tmp_path / "m"
    if kind == "safetensors":
        save_checkpoint(path, sam, config)
    else:
        torch.save(sam.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    _cut(path)
    with pytest.raises(CheckpointError, match=r"damaged.*again"):
        load_sam(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>404</html>" * 50, bytes(range(256)) * 9])
def test_a_file_of_something_else_is_not_a_model(tmp_path, content):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a model file"):
        load_sam(tmp_path / "m.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no model file at .*nothing\.pth"):
        load_sam(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="no model file"):
        load_sam(tmp_path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, 5])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "m")
    with pytest.raises(CheckpointError, match="no weights"):
        load_sam(tmp_path / "m")


def test_another_network_is_told_what_was_looked_for_and_what_was_found(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(3)}, tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"image_encoder.*conv1\.weight, fc\.bias.*vit_b.*MobileSAM.*P²SAM"):
        load_sam(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "words"), [("image_encoder.trunk.pos_embed", "a SAM 2"), ("vision_encoder.pos_embed", "transformers")]
)
def test_a_relative_of_sam_is_called_by_its_name(tmp_path, name, words):
    torch.save({name: torch.zeros(1)}, tmp_path / "m")
    with pytest.raises(CheckpointError, match=words):
        load_sam(tmp_path / "m")


def test_a_sam_of_another_shape_is_described(sam, tmp_path):
    torch.save(sam.state_dict(), tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"3 blocks of 24 channels.*12 of 768"):
        load_sam(tmp_path / "m")


def _saved_with(tmp_path, sam, config, change):
    weights = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    change(weights)
    described = {"format_version": 1, "kind": "custom", "config": config.to_dict()}
    save_file(weights, tmp_path / "m", {"adaptsam": json.dumps(described)})
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("mask_decoder.iou_token.weight"), r"lacks 1 tensors, first mask_decoder\.iou_token\.weight"),
        (lambda w: w.update({"lora": torch.zeros(1)}), "1 tensors that SAM does not have, first lora"),
        (lambda w: w.update({"mask_decoder.iou_token.weight": torch.zeros(1, 3)}), r"\(1, 3\) instead of \(1, 32\)"),
        (lambda w: w["image_encoder.pos_embed"].fill_(float("nan")), r"image_encoder\.pos_embed is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(sam, config, tmp_path, change, words):
    with pytest.raises(CheckpointError, match=words):
        load_sam(_saved_with(tmp_path, sam, config, change))


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"format_version": 2, "kind": "x", "config": {}}, "newer AdaptSAM"),
        ({"format_version": 1, "kind": "x"}, "config"),
        ({"format_version": 1, "kind": "x", "config": {"legs": 4}}, "legs"),
        ({"format_version": 1, "kind": "x", "config": {"encoder_heads": 0}}, "cannot be built"),
        ([], "does not describe"),
    ],
)
def test_a_wrong_description_is_refused(sam, tmp_path, described, words):
    save_file(sam.state_dict(), tmp_path / "m", {"adaptsam": json.dumps(described)})
    with pytest.raises(CheckpointError, match=words):
        load_sam(tmp_path / "m")


def test_broken_weights_are_not_saved_and_the_old_file_stays(sam, config, tmp_path):
    path = tmp_path / "m"
    save_checkpoint(path, sam, config)
    before = path.read_bytes()
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight.fill_(1e6)
    with pytest.raises(CheckpointError, match="iou_token"):
        save_checkpoint(path, sam, config)
    assert path.read_bytes() == before


def test_a_model_that_cannot_be_written_is_reported(sam, config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "m", sam, config)


@pytest.mark.parametrize("place", ["adaptsam/_resources/models", "Resources/models"])
def test_the_bundled_model_is_found_in_a_wheel_and_in_a_checkout(monkeypatch, tmp_path, place):
    (tmp_path / "adaptsam" / "sam").mkdir(parents=True)
    monkeypatch.setattr("adaptsam.storage.bundled_models.files", lambda package: tmp_path / "adaptsam" / "storage")
    with pytest.raises(CheckpointError, match=r"adaptsam_lite\.safetensors is not installed.*give the path"):
        bundled_checkpoint()
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "adaptsam_lite.safetensors").touch()
    assert bundled_checkpoint() == tmp_path / place / "adaptsam_lite.safetensors"


def test_another_input_size_of_a_known_kind_keeps_its_name(sam, meta_kind, config, random_sam, tmp_path):
    larger = replace(config, image_size=96)
    torch.save(random_sam(larger).state_dict(), tmp_path / "m")
    model = load_sam(tmp_path / "m", device="cpu")
    assert (model.kind, model.config) == ("vit_b", larger)
    assert model.embed([np.zeros((30, 20), np.uint8)])[0].features.shape == (32, 12, 12)
