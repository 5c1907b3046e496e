"""Gradients of prompts: which parameters have one, zero or none, is held to segment_anything's own forward pass."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import Sam

from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.sam import DecodeRequest, Embedding
from adaptsam.sam.prompt_encoder import prompt_tokens

PROMPTS = {
    "points": ([[8.0, 9.0], [20.0, 5.0]], [1, 0], None),
    "box": (None, None, [4.0, 5.0, 22.0, 20.0]),
    "points in a box": ([[8.0, 9.0]], [1], [4.0, 5.0, 22.0, 20.0]),
    "nothing": (None, None, None),
}


def theirs(sam: Sam, features: torch.Tensor, points, labels, box, multimask: bool) -> torch.Tensor:
    given = None if points is None else (torch.tensor([points]), torch.tensor([labels]))
    sparse, dense = sam.prompt_encoder(given, None if box is None else torch.tensor([box]), None)
    position = sam.prompt_encoder.get_dense_pe()
    return sam.mask_decoder(features, position, sparse, dense, multimask_output=multimask)[0]


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
def test_gradients_are_there_zero_or_none_as_in_segment_anything(tiny: Sam, name: str, multimask: bool) -> None:
    points, labels, box = PROMPTS[name]
    ours, reference = copy.deepcopy(tiny), copy.deepcopy(tiny)
    grid, channels = ours.prompt_encoder.image_embedding_size, ours.prompt_encoder.embed_dim
    features = torch.randn(1, channels, *grid, generator=torch.Generator().manual_seed(0))
    size = (ours.image_encoder.img_size,) * 2
    request = DecodeRequest(Embedding(features[0], size, size), points, labels, box)
    logits, _ = decode_prompts(ours, features, [prompt_tokens(request, ours.image_encoder.img_size)], [None], multimask)
    logits.square().sum().backward()
    theirs(reference, features, points, labels, box, multimask).square().sum().backward()
    largest = max(float(other.grad.abs().max()) for other in reference.parameters() if other.grad is not None)
    for (part, one), other in zip(ours.named_parameters(), reference.parameters(), strict=True):
        if part.startswith(("image_encoder", "mask_decoder.iou")):
            continue
        if part.endswith("k_proj.bias"):  # which softmax does not see: rounding there, or nothing here
            assert other.grad is not None
            assert float(other.grad.abs().max()) < 1e-5 * largest
            continue
        assert (one.grad is None) == (other.grad is None), part
        assert one.grad is None or torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5 * largest), part
