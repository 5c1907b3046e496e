"""A tiny SAM for tests of training."""

import pytest
import torch
from segment_anything.modeling import Sam

from adaptsam.sam import SamConfig, SamModel, build_sam

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
