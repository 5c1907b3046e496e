"""A SAM decoder and pairs of features that NumPy draws, the same on every machine: inputs of values made elsewhere."""

from __future__ import annotations

import numpy as np
import torch

from adaptsam.p2sam import Job, Prior
from adaptsam.sam import Embedding, SamConfig, SamModel, build_sam
from adaptsam.sam.preprocessing import resized_shape

CONFIG = SamConfig(
    image_size=128,
    patch_size=8,
    encoder_dim=16,
    encoder_depth=1,
    encoder_heads=1,
    global_attention=(),
    window_size=4,
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp_dim=64,
)
SIZES = ((96, 120), (128, 128), (70, 50), (128, 90), (64, 64), (150, 200))


def drawn_model() -> SamModel:
    sam = build_sam(CONFIG)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for part in (sam.prompt_encoder, sam.mask_decoder):
            for name, tensor in sorted(part.state_dict().items()):
                spread = 1.5 / np.sqrt(tensor[0].numel()) if tensor.ndim > 1 else 0.1
                middle = 1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0
                tensor.copy_(torch.from_numpy(rng.normal(middle, spread, tensor.shape)))
    return SamModel.from_sam(sam, CONFIG, device="cpu")


def drawn_features(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features float32 (32, 16, 16) of a reference and of a target that is like it, and the reference's mask (H, W)."""
    rng = np.random.default_rng([seed, 1])
    coarse = rng.normal(size=(32, 4, 4)).repeat(4, 1).repeat(4, 2)
    reference = coarse + 0.6 * rng.normal(size=coarse.shape)
    target = np.roll(coarse, (1, 2), (1, 2)) + 0.6 * rng.normal(size=coarse.shape)
    height, width = SIZES[seed % len(SIZES)]
    rows, columns = np.mgrid[:height, :width]
    centre = rng.uniform(0.4, 0.6, 2) * (height, width)
    radii = rng.uniform(0.2, 0.4, 2) * (height, width)
    mask = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1
    return reference.astype(np.float32), target.astype(np.float32), mask


def drawn_job(model: SamModel, seed: int) -> Job:
    reference, target, mask = drawn_features(seed)
    size = (mask.shape[0], mask.shape[1])
    before, after = (
        Embedding(torch.from_numpy(features), resized_shape(size, CONFIG.image_size), size)
        for features in (reference, target)
    )
    return Job(Prior.from_mask(model, before, mask), after)
