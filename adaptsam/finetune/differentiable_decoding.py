"""Decoding prompts with gradients, each for its own features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from adaptsam.sam.mask_decoder import run_decoder
from adaptsam.sam.prompt_encoder import PromptTokens, embed_kinds, embed_logits, embed_mask_inputs, embed_tokens


def decode_prompts(
    sam: Sam,
    features: Tensor,
    tokens: Sequence[PromptTokens],
    previous: Sequence[Tensor | None],
    multimask: bool,
    *,
    detach_no_mask: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits (B, M, 4h, 4w) and predicted IoU (B, M) of B prompts.

    Args:
        sam: its prompt encoder and mask decoder are used.
        features: float32 (B, C, h, w), one for each prompt.
        tokens: points and boxes in pixels of the model's input, as SAM wants them.
        previous: for each prompt the logits (4h, 4w) of an earlier mask, or None.
        multimask: the three masks of an ambiguous prompt instead of the single one.
        detach_no_mask: where no prompt has an earlier mask, what stands for none gets no gradient.
    """
    with _exact(features):
        sparse, real = embed_tokens(sam.prompt_encoder, tokens)
    dense = embed_mask_inputs(sam.prompt_encoder, previous)
    if detach_no_mask and all(mask is None for mask in previous):
        dense = dense.detach()
    logits, iou = _decoded(sam, features, sparse, real, dense, multimask)
    return logits + _idle_heads(sam, multimask), iou


def _idle_heads(sam: Sam, multimask: bool) -> Tensor | float:
    """Zero, with a gradient of zero for the heads whose masks are not wanted: SAM computes all four, and drops some.

    Weight decay and momentum so reach them as they do in SAM.
    """
    heads = sam.mask_decoder.output_hypernetworks_mlps
    idle = [p for head in (heads[:1] if multimask else heads[1:]) for p in head.parameters() if p.requires_grad]
    if not idle or not torch.is_grad_enabled():
        return 0.0
    return 0.0 * torch.stack([parameter.sum() for parameter in idle]).sum()


def decode_batch(
    sam: Sam, features: Tensor, coordinates: Tensor, kinds: Tensor, previous: Tensor | None, multimask: bool
) -> tuple[Tensor, Tensor]:
    """Decode prompts given as tensors on the model's device; in bfloat16 on a GPU. See :func:`decode_prompts`.

    Args:
        sam: its prompt encoder and mask decoder are used.
        features: float32 (B, C, h, w).
        coordinates, kinds: float32 (B, n, 2) and int64 (B, n), see :func:`~adaptsam.sam.prompt_encoder.embed_kinds`.
        previous: float32 (B, 4h, 4w), the logits of earlier masks; None where there is none.
        multimask: the three masks of an ambiguous prompt instead of the single one.

    Returns:
        float32 logits (B, M, 4h, 4w) and predicted IoU (B, M).
    """
    sparse, real = embed_kinds(sam.prompt_encoder, coordinates, kinds)
    with torch.autocast(features.device.type, torch.bfloat16, enabled=features.device.type == "cuda"):
        if previous is None:
            dense = embed_mask_inputs(sam.prompt_encoder, [None] * len(features))
        else:
            dense = embed_logits(sam.prompt_encoder, previous)
        logits, iou = _decoded(sam, features, sparse, real, dense, multimask)
    return logits.float(), iou.float()


def _exact(features: Tensor) -> torch.autocast:
    """Places are embedded in float32, also within mixed precision: bfloat16 has no digits for a pixel."""
    return torch.autocast(features.device.type, enabled=False)


def _decoded(
    sam: Sam, features: Tensor, sparse: Tensor, real: Tensor, dense: Tensor, multimask: bool
) -> tuple[Tensor, Tensor]:
    image = features.flatten(2).transpose(1, 2)
    with _exact(features):
        position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    return run_decoder(sam.mask_decoder, image + dense, position, sparse, real, None, multimask)
