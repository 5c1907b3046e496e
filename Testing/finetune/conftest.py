"""A tiny SAM for tests of training, and a folder to train with."""

from typing import Any

import numpy as np
import pytest
import tiny_sam
import torch
from PIL import Image
from segment_anything.modeling import Sam

from adaptsam.sam import SamConfig, SamModel, build_sam, save_checkpoint

TINY = SamConfig(
    image_size=64,
    patch_size=8,
    encoder_dim=16,
    encoder_depth=2,
    encoder_heads=2,
    global_attention=(1,),
    window_size=4,
    embed_dim=16,
    decoder_heads=2,
    decoder_mlp_dim=16,
)


@pytest.fixture
def tiny() -> Sam:
    torch.manual_seed(0)
    sam = build_sam(TINY)
    for parameter in sam.image_encoder.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.02)
    return sam


@pytest.fixture
def base(tiny: Sam) -> SamModel:
    return SamModel.from_sam(tiny, TINY, device="cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dozen pictures of discs of several sizes, and a tiny SAM."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "pairs" / name).mkdir(parents=True)
    for number in range(12):
        y, x = np.mgrid[:48, :64]
        disc = (y - rng.uniform(15, 33)) ** 2 + (x - rng.uniform(20, 44)) ** 2 < rng.uniform(7, 13) ** 2
        picture = rng.normal(90, 10, (48, 64, 3)) + disc[..., None] * np.array([80, 20, 0])
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "pairs" / "images" / f"p{number:02d}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(folder / "pairs" / "masks" / f"p{number:02d}.png")
    save_checkpoint(folder / "tiny.safetensors", tiny_sam.tiny_model().sam, tiny_sam.TINY, dtype=torch.float32)
    return {
        "dataset_dir": str(folder / "pairs"),
        "dataset_kind": "folder",
        "checkpoint": str(folder / "tiny.safetensors"),
    }
