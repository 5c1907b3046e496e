"""MobileSAM's encoder against timm's TinyViT, which is another implementation of the same network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from adaptsam.errors import CheckpointError
from adaptsam.sam import VIT_T, SamModel, build_sam, load_sam, save_checkpoint
from adaptsam.sam import checkpoint_recognition as layouts
from adaptsam.sam.tiny_vit import TinyVitConfig

TINY = replace(
    VIT_T,
    image_size=128,
    tiny_vit=TinyVitConfig(dims=(16, 24, 32, 40), depths=(1, 2, 2, 1), heads=(2, 2, 4, 5), windows=(7, 3, 5, 3)),
    embed_dim=32,
    decoder_mlp_dim=48,
    mask_channels=8,
)


def _timms_encoder(stages: TinyVitConfig):
    """timm's classifier with random weights and statistics, and the last merging at MobileSAM's resolution."""
    models = pytest.importorskip("timm.models.tiny_vit")
    torch.manual_seed(1)
    encoder = models.TinyVit(
        embed_dims=stages.dims, depths=stages.depths, num_heads=stages.heads, window_sizes=stages.windows, num_classes=9
    ).eval()
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            if name.endswith(("bias", "biases", "running_mean")):
                tensor.normal_(std=0.3)
            elif name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
    encoder.stages[-1].downsample.conv2.conv.stride = (1, 1)
    return encoder


def _published_names(encoder) -> dict[str, torch.Tensor]:
    """timm's names as they are in mobile_sam.pt, with the classifier's head, which that file has too."""
    renamed = {}
    for name, tensor in encoder.state_dict().items():
        name = name.replace("patch_embed.conv1.", "patch_embed.seq.0.").replace(
            "patch_embed.conv2.", "patch_embed.seq.2."
        )
        name = name.replace(".conv.weight", ".c.weight")
        if name.startswith("stages."):
            _, stage, rest = name.split(".", 2)
            # timm merges patches at the start of a stage, MobileSAM at the end of the one before.
            name = f"layers.{int(stage) - rest.startswith('downsample')}.{rest}"
        if name.startswith("head."):
            name = name.replace("head.norm.", "norm_head.").replace("head.fc.", "head.")
        renamed[f"image_encoder.{name}"] = tensor
    return renamed


def _published_file(path, encoder, config) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    weights = {name: t for name, t in build_sam(config).state_dict().items() if not name.startswith("image_encoder.")}
    width = config.tiny_vit.dims[-1]
    for name, shape in {"0": (config.embed_dim, width, 1, 1), "2": (config.embed_dim, config.embed_dim, 3, 3)}.items():
        weights[f"image_encoder.neck.{name}.weight"] = torch.randn(shape) * 0.1
    for name in ("1", "3"):
        weights[f"image_encoder.neck.{name}.weight"] = torch.rand(config.embed_dim) + 0.5
        weights[f"image_encoder.neck.{name}.bias"] = torch.randn(config.embed_dim)
    weights |= _published_names(encoder)
    torch.save(weights, path)
    return weights


def _neck(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for convolution, norm, padding in (("0", "1", 0), ("2", "3", 1)):
        x = functional.conv2d(x, weights[f"image_encoder.neck.{convolution}.weight"], padding=padding)
        scale, shift = (weights[f"image_encoder.neck.{norm}.{part}"] for part in ("weight", "bias"))
        x = functional.layer_norm(x.permute(0, 2, 3, 1), (len(scale),), scale, shift, eps=1e-6).permute(0, 3, 1, 2)
    return x


def _agree(path, encoder, config, weights) -> SamModel:
    model = load_sam(path, "cpu")
    size = config.image_size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    pixels = (torch.from_numpy(image).permute(2, 0, 1) - mean) / std
    with torch.no_grad():
        expected = _neck(weights, encoder.stages(encoder.patch_embed(pixels[None])))[0]
    features = model.embed([image])[0].features
    assert features.shape == (config.embed_dim, size // 16, size // 16)
    assert (features - expected).abs().max() < 1e-4 * expected.abs().max()
    return model


def test_a_tiny_mobile_sam_in_its_published_layout_gives_timms_features(tmp_path, monkeypatch):
    monkeypatch.setitem(layouts.KINDS, "vit_t", TINY)
    encoder = _timms_encoder(TINY.tiny_vit)
    weights = _published_file(tmp_path / "m", encoder, TINY)
    model = _agree(tmp_path / "m", encoder, TINY, weights)
    assert (model.kind, model.config) == ("vit_t", TINY)


@pytest.mark.slow  # 1024 pixels, as published: some seconds
def test_a_mobile_sam_of_the_published_size_gives_timms_features(tmp_path):
    encoder = _timms_encoder(VIT_T.tiny_vit)
    weights = _published_file(tmp_path / "mobile_sam.pt", encoder, VIT_T)
    model = _agree(tmp_path / "mobile_sam.pt", encoder, VIT_T, weights)
    assert (model.kind, model.grid_size, model.embed_dim) == ("vit_t", 64, 256)


def test_a_mobile_sam_is_saved_and_read_back(tmp_path):
    sam = build_sam(TINY)
    sam.state_dict()["image_encoder.patch_embed.seq.0.bn.num_batches_tracked"].fill_(125_000)  # too much for float16
    save_checkpoint(tmp_path / "m", sam, TINY, kind="tuned")
    model = load_sam(tmp_path / "m", "cpu")
    assert (model.kind, model.config) == ("tuned", TINY)
    image = np.random.default_rng(0).integers(0, 256, (80, 128), dtype=np.uint8)
    before = SamModel.from_sam(sam, TINY, device="cpu").embed([image])[0].features
    assert (model.embed([image])[0].features - before).abs().max() < 1e-2 * before.abs().max()


def test_a_mobile_sam_of_other_stages_is_described(tmp_path):
    torch.save(build_sam(TINY).state_dict(), tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"TinyViT of \(16, 24, 32, 40\) channels.*MobileSAM \(64, 128"):
        load_sam(tmp_path / "m")


def test_an_input_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        build_sam(replace(TINY, image_size=100))
