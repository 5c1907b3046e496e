"""Tiny models with random weights. SAM's positional parameters start at zero, where every mistake in them is invisible:
here they are random too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from adaptsam.sam import SamConfig, SamModel, build_sam

TINY = SamConfig(
    image_size=64,
    patch_size=8,
    encoder_dim=24,
    encoder_depth=3,
    encoder_heads=2,
    global_attention=(1,),
    window_size=3,
    embed_dim=32,
    decoder_mlp_dim=48,
    mask_channels=8,
)


def _random_sam(config: SamConfig, seed: int = 0) -> Sam:
    torch.manual_seed(seed)
    sam = build_sam(config)
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if "pos_embed" in name or "rel_pos" in name or name.endswith("bias"):
                parameter.normal_(std=0.5)
    return sam


@pytest.fixture(scope="session")
def random_sam() -> Callable[..., Sam]:
    return _random_sam


@pytest.fixture(scope="session")
def config() -> SamConfig:
    return TINY


@pytest.fixture(scope="session")
def model() -> SamModel:
    return SamModel.from_sam(_random_sam(TINY), TINY, device="cpu")


@pytest.fixture
def images() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((40, 90), (77, 33), (64, 64))]
