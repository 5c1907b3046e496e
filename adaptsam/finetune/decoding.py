"""Decoding prompts with gradients, each for its own features."""

from __future__ import annotations

from collections.abc import Sequence

from segment_anything.modeling import Sam
from torch import Tensor

from adaptsam.sam.prompts import PromptTokens, embed_mask_inputs, embed_tokens
from adaptsam.sam.two_way import run_decoder


def decode_prompts(
    sam: Sam, features: Tensor, tokens: Sequence[PromptTokens], previous: Sequence[Tensor | None], multimask: bool
) -> tuple[Tensor, Tensor]:
    """Logits (B, M, 4h, 4w) and predicted IoU (B, M) of B prompts.

    Args:
        sam: its prompt encoder and mask decoder are used.
        features: float32 (B, C, h, w), one for each prompt.
        tokens: points and boxes in pixels of the model's input, as SAM wants them.
        previous: for each prompt the logits (4h, 4w) of an earlier mask, or None.
        multimask: the three masks of an ambiguous prompt instead of the single one.
    """
    sparse, real = embed_tokens(sam.prompt_encoder, tokens)
    dense = embed_mask_inputs(sam.prompt_encoder, previous)
    image = features.flatten(2).transpose(1, 2)
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    return run_decoder(sam.mask_decoder, image + dense, position, sparse, real, None, multimask)
