"""A SAM that is built and run in milliseconds, with random weights: it draws nonsense, quickly."""

from __future__ import annotations

import torch

from adaptsam.sam import SamConfig, SamModel, build_sam

TINY = SamConfig(
    image_size=64,
    patch_size=8,
    encoder_dim=32,
    encoder_depth=2,
    encoder_heads=2,
    global_attention=(1,),
    window_size=4,
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp_dim=64,
)


def tiny_model(seed: int = 0, spread: float = 1.0) -> SamModel:
    """``spread`` above 1 makes images matter, and masks neither all foreground nor all background."""
    torch.manual_seed(seed)
    sam = build_sam(TINY)
    with torch.no_grad():
        for parameter in sam.parameters():
            if parameter.ndim > 1:
                parameter.mul_(spread)
    return SamModel.from_sam(sam, TINY, device="cpu")
