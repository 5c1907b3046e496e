"""The layouts of P²SAM's authors and of MedSAM, made with random weights, against code that knows nothing of ours."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from adaptsam.errors import CheckpointError
from adaptsam.sam import (
    VIT_B,
    VIT_L,
    EmbeddingStore,
    SamModel,
    build_sam,
    load_sam,
    save_checkpoint,
)
from adaptsam.sam import (
    checkpoint_recognition as layouts,
)
from adaptsam.sam import (
    weights_catalogue as catalogue,
)
from adaptsam.sam.weights_catalogue import KnownWeights
from adaptsam.storage.file_hashes import Fingerprint, digests

IMAGE = np.random.default_rng(0).integers(30, 200, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def kinds(monkeypatch, config):
    """The real ones are 375 MB; here tiny ones take their places."""
    monkeypatch.setitem(layouts.KINDS, "vit_b", config)
    monkeypatch.setitem(layouts.KINDS, "medsam", replace(config, scaling="min-max"))


def _timms_encoder(config, random_sam):
    """timm's samvit with the weights of a random SAM."""
    module = pytest.importorskip("timm.models.vision_transformer_sam")
    encoder = module.VisionTransformerSAM(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.encoder_dim,
        depth=config.encoder_depth,
        num_heads=config.encoder_heads,
        global_attn_indexes=config.global_attention,
        window_size=config.window_size,
        use_rel_pos=True,
        neck_chans=config.embed_dim,
        num_classes=0,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    ).eval()
    encoder.load_state_dict(module.checkpoint_filter_fn(random_sam(config).state_dict(), encoder))
    return encoder


class _Lora(torch.nn.Module):
    """A linear layer with rank-r adapters beside it, one for each of ``parts`` equal shares of its output."""

    def __init__(self, linear: torch.nn.Linear, rank: int, parts: int) -> None:
        super().__init__()
        self.weight, self.bias, self.parts = linear.weight, linear.bias, parts
        self.lora_A = torch.nn.Parameter(torch.randn(rank * parts, linear.in_features) * 0.2)
        self.lora_B = torch.nn.Parameter(torch.randn(linear.out_features, rank) * 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = (x @ self.lora_A.T).chunk(self.parts, -1)
        rank = self.lora_B.shape[1]
        added = [a @ b.T / rank for a, b in zip(inner, self.lora_B.chunk(self.parts), strict=True)]
        return functional.linear(x, self.weight, self.bias) + torch.cat(added, -1)


def _add_lora(encoder, rank: int) -> None:
    torch.manual_seed(3)
    for block in encoder.blocks:
        block.attn.qkv = _Lora(block.attn.qkv, rank, 3)
        block.attn.proj = _Lora(block.attn.proj, rank, 1)


def _save_as_the_authors_do(path, encoder, sam) -> None:
    weights = {name: tensor for name, tensor in sam.state_dict().items() if not name.startswith("image_encoder.")}
    weights |= {f"image_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    optimizer = torch.optim.AdamW(encoder.parameters(), 1e-4).state_dict()
    args = Namespace(sam_type="vit_b", lora=True, lr=1e-4, output_dir="out")
    torch.save(
        {"model": weights, "optimizer": optimizer, "epoch": 35, "scaler": {}, "args": args, "result": 0.65}, path
    )


def _features(encoder, config, pixels: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    with torch.no_grad():
        return encoder.forward_features(((torch.from_numpy(pixels).permute(2, 0, 1) - mean) / std)[None])[0]


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() < 1e-4 * other.abs().max())


def test_a_fully_tuned_file_of_the_authors_gives_timms_features(kinds, config, random_sam, tmp_path):
    encoder = _timms_encoder(config, random_sam)
    _save_as_the_authors_do(tmp_path / "checkpoint.pth", encoder, random_sam(config))
    model = load_sam(tmp_path / "checkpoint.pth", "cpu")
    assert model.kind == "vit_b"
    assert _close(model.embed([IMAGE])[0].features, _features(encoder, config, IMAGE))


@pytest.mark.parametrize("rank", [1, 2])
def test_merged_adapters_are_not_applied_again_unless_asked_for(kinds, config, random_sam, tmp_path, rank):
    encoder = _timms_encoder(config, random_sam)
    merged = _features(encoder, config, IMAGE)
    _add_lora(encoder, rank)
    path = tmp_path / "checkpoint.pth"
    _save_as_the_authors_do(path, encoder, random_sam(config))
    plain, published = load_sam(path, "cpu"), load_sam(path, "cpu", reapply_lora=True)
    assert _close(plain.embed([IMAGE])[0].features, merged)
    assert _close(published.embed([IMAGE])[0].features, _features(encoder, config, IMAGE))
    assert not _close(plain.embed([IMAGE])[0].features, _features(encoder, config, IMAGE))
    assert (plain.kind, published.kind) == ("vit_b", "vit_b with LoRA reapplied")
    assert EmbeddingStore(plain).key(IMAGE) != EmbeddingStore(published).key(IMAGE)


def test_a_file_without_adapters_cannot_reapply_them(kinds, config, random_sam, tmp_path):
    torch.save(random_sam(config).state_dict(), tmp_path / "m")
    with pytest.raises(CheckpointError, match="no LoRA adapters"):
        load_sam(tmp_path / "m", reapply_lora=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop("image_encoder.blocks.1.attn.qkv.lora_B"),
        lambda w: w.pop("image_encoder.blocks.1.attn.qkv.weight"),
        lambda w: w.update({"image_encoder.blocks.1.attn.qkv.lora_B": torch.zeros(7, 1)}),
        lambda w: w.update({"image_encoder.blocks.1.attn.qkv.lora_B": torch.zeros(72, 0)}),
    ],
)
def test_an_adapter_that_does_not_fit_is_named(config, tmp_path, change):
    name = "image_encoder.blocks.1.attn.qkv."
    weights = {
        f"{name}weight": torch.zeros(72, 24),
        f"{name}lora_A": torch.zeros(3, 24),
        f"{name}lora_B": torch.zeros(72, 1),
    }
    change(weights)
    with pytest.raises(CheckpointError, match=r"adapter image_encoder\.blocks\.1\.attn\.qkv does not fit"):
        layouts.fold_lora(weights, tmp_path, reapply=True)


@pytest.mark.parametrize(("name", "config", "kind"), [("base", VIT_B, "vit_b"), ("large", VIT_L, "vit_l")])
def test_timms_names_of_the_published_sizes_are_all_known(tmp_path, name, config, kind):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        encoder = timm.create_model(f"samvit_{name}_patch16")
        expected = build_sam(config).state_dict()
    weights = {f"image_encoder.{key}": tensor for key, tensor in encoder.state_dict().items()}
    weights |= {key: tensor for key, tensor in expected.items() if not key.startswith("image_encoder.")}
    plain = layouts.plain_names(weights)
    assert {key: tensor.shape for key, tensor in plain.items()} == {
        key: tensor.shape for key, tensor in expected.items()
    }
    assert layouts.recognise(plain, tmp_path) == (config, kind)


def _medsam_features(sam, image: np.ndarray) -> torch.Tensor:
    """Each image by its own range, then padded: what MedSAM's encoder was trained on."""
    scaled = (image - image.min()) / max(float(image.max()) - float(image.min()), 1e-8)
    padded = np.zeros((64, 64, 3))
    padded[: image.shape[0], : image.shape[1]] = scaled
    with torch.no_grad():
        return sam.image_encoder(torch.from_numpy(padded).permute(2, 0, 1)[None].float())[0]


@pytest.mark.parametrize(
    "image", [IMAGE, IMAGE[:40], np.full((64, 64, 3), 9, np.uint8)], ids=["range", "padded", "flat"]
)
def test_medsam_sees_each_image_scaled_by_its_own_range(kinds, config, random_sam, tmp_path, image):
    sam = random_sam(config)
    torch.save(sam.state_dict(), tmp_path / "m")
    model = load_sam(tmp_path / "m", "cpu", kind="medsam")
    assert (model.kind, model.config.scaling) == ("medsam", "min-max")
    assert _close(model.embed([image])[0].features, _medsam_features(sam, image))


def test_in_a_batch_each_image_has_a_range_of_its_own(config):
    medsam = build_sam(replace(config, scaling="min-max"))
    dark, bright = torch.rand(3, 64, 40) * 50, torch.rand(3, 64, 40) * 50 + 200
    batch = medsam.preprocess(torch.stack([dark, bright]))
    assert batch.shape == (2, 3, 64, 64)
    assert torch.equal(batch, torch.stack([medsam.preprocess(dark), medsam.preprocess(bright)]))
    assert batch.amin() == 0
    assert batch[:, ..., :40].amax((1, 2, 3)).tolist() == [1, 1]


def test_the_same_weights_as_medsam_and_as_sam_have_embeddings_of_their_own(kinds, config, random_sam, tmp_path):
    torch.save(random_sam(config).state_dict(), tmp_path / "m")
    medsam, sam = load_sam(tmp_path / "m", "cpu", kind="medsam"), load_sam(tmp_path / "m", "cpu")
    assert medsam.sha256 == sam.sha256
    assert EmbeddingStore(medsam).key(IMAGE) != EmbeddingStore(sam).key(IMAGE)
    assert not _close(medsam.embed([IMAGE])[0].features, sam.embed([IMAGE])[0].features)


def test_medsams_published_file_is_recognised_by_its_hash_wherever_it_lies(
    kinds, config, random_sam, tmp_path, monkeypatch
):
    path = tmp_path / "renamed.bin"
    torch.save(random_sam(config).state_dict(), path)
    mark = Fingerprint(path.stat().st_size, digests(path, ["sha256"])["sha256"])
    known = KnownWeights("medsam", "medsam_vit_b.pth", "medsam", "", "", "", None, "", mark)
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"medsam": known})
    assert load_sam(path, "cpu").kind == "medsam"
    assert load_sam(path, "cpu", kind="vit_b").kind == "vit_b"


def test_a_file_that_is_called_medsam_and_is_not_the_published_one_raises_a_doubt(
    kinds, config, random_sam, tmp_path, caplog
):
    torch.save(random_sam(config).state_dict(), tmp_path / "MedSAM_mine.pth")
    assert load_sam(tmp_path / "MedSAM_mine.pth", "cpu").kind == "vit_b"
    assert "--checkpoint-kind medsam" in caplog.text


def test_a_tuned_medsam_keeps_its_scaling_when_it_is_saved(config, random_sam, tmp_path):
    medsam = replace(config, scaling="min-max")
    tuned = build_sam(medsam)
    tuned.load_state_dict(random_sam(config).state_dict())
    save_checkpoint(tmp_path / "m", tuned, medsam, kind="tuned", dtype=torch.float32)
    read = load_sam(tmp_path / "m", "cpu")
    assert (read.kind, read.config) == ("tuned", medsam)
    own = SamModel.from_sam(tuned, medsam, device="cpu")
    assert _close(read.embed([IMAGE])[0].features, own.embed([IMAGE])[0].features)


def test_a_kind_that_the_file_is_not_is_refused(kinds, config, random_sam, tmp_path):
    torch.save(random_sam(config).state_dict(), tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"not a vit_l: its encoder has 3 blocks of 24"):
        load_sam(tmp_path / "m", kind="vit_l")
    with pytest.raises(CheckpointError, match=r"no kind of model 'vit_x'; known are vit_b"):
        load_sam(tmp_path / "m", kind="vit_x")
    save_checkpoint(tmp_path / "own", random_sam(config), config, kind="knee")
    with pytest.raises(CheckpointError, match="says that it is a knee, not a medsam"):
        load_sam(tmp_path / "own", kind="medsam")
