"""SAM's prompt encoder and mask decoder for many prompts at once: slices, structures and candidates in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.modeling import Sam

from adaptsam.errors import InputError
from adaptsam.progress import Tick, ticked, unasked
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.mask_decoder import Guidance, run_decoder
from adaptsam.sam.prompt_encoder import (
    DecodeRequest,
    PromptTokens,
    embed_mask_inputs,
    embed_masks,
    embed_tokens,
    prompt_tokens,
)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The masks of one request.

    Attributes:
        logits: float32 (M, 4h, 4w), M = 3 with multimask and 1 without; above 0 is foreground.
        iou: float32 (M,), the model's own estimate of each mask's intersection over union.
    """

    logits: torch.Tensor
    iou: torch.Tensor


def decode(
    sam: Sam,
    requests: Sequence[DecodeRequest],
    multimask: bool = False,
    memory_bytes: int | None = None,
    tick: Tick = unasked,
) -> list[Decoded]:
    """Decode many requests together, each as ``SamPredictor.predict`` would alone.

    Args:
        sam: the model.
        requests: prompts, in any mixture of images, kinds and lengths.
        multimask: return SAM's three masks for an ambiguous prompt instead of one.
        memory_bytes: working memory, about; None for 48 MiB on the CPU, where more is slower, and 4 GiB elsewhere.
        tick: called before each of the passes that fit into it.

    Returns:
        One entry for each request, in their order, on the model's device.

    Raises:
        InputError: a prompt is malformed, or an embedding, mask or hint does not have the model's shape.
    """
    image_size = sam.image_encoder.img_size
    tokens = [prompt_tokens(request, image_size) for request in requests]
    for request in requests:
        _check_shapes(sam, request)
    # Prompts of like length go together, so that little is computed for padding.
    order = sorted(range(len(requests)), key=lambda index: len(tokens[index]))
    size = requests_at_once(sam, memory_bytes)
    results: dict[int, Decoded] = {}
    with torch.no_grad():
        position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2).contiguous()
        for start in ticked(range(0, len(order), size), tick):
            chunk = order[start : start + size]
            decoded = _decode_chunk(sam, [requests[i] for i in chunk], [tokens[i] for i in chunk], position, multimask)
            results.update(zip(chunk, decoded, strict=True))
    return [results[index] for index in range(len(requests))]


def _decode_chunk(
    sam: Sam,
    requests: Sequence[DecodeRequest],
    tokens: Sequence[PromptTokens],
    position: torch.Tensor,
    multimask: bool,
) -> list[Decoded]:
    sparse, real = embed_tokens(sam.prompt_encoder, tokens)
    image = _with_dense_prompts(sam, requests)
    guidance = _guidance(requests, sam)
    logits, iou = run_decoder(sam.mask_decoder, image, position, sparse, real, guidance, multimask)
    return [Decoded(one, quality) for one, quality in zip(logits, iou, strict=True)]


def _with_dense_prompts(sam: Sam, requests: Sequence[DecodeRequest]) -> torch.Tensor:
    """The images with their dense prompts, as the decoder reads them: float32 (B, h*w, C)."""
    masks = [request.mask_input for request in requests if request.mask_input is not None]
    if len(masks) < len(requests):
        dense = embed_mask_inputs(sam.prompt_encoder, [request.mask_input for request in requests])
        return stack_features([request.embedding for request in requests], sam.device) + dense
    # Added channels first, as both come, and turned once: an image that comes twice is not copied for it.
    image = embed_masks(sam.prompt_encoder, masks)
    for row, request in zip(image, requests, strict=True):
        row.add_(request.embedding.features.to(sam.device))
    return image.flatten(2).transpose(1, 2).contiguous()


def stack_features(embeddings: Sequence[Embedding], device: torch.device) -> torch.Tensor:
    """The images as the decoder reads them, float32 (B, h*w, C). An image that comes twice is rearranged once."""
    features = {id(embedding): embedding.features for embedding in embeddings}
    place = {key: row for row, key in enumerate(features)}
    stacked = torch.stack([x.to(device).flatten(1).T for x in features.values()])
    if len(features) == len(embeddings):
        return stacked
    return stacked[[place[id(embedding)] for embedding in embeddings]]


def _guidance(requests: Sequence[DecodeRequest], sam: Sam) -> Guidance | None:
    guided = [row for row, request in enumerate(requests) if request.attention_similarity is not None]
    targeted = [row for row, request in enumerate(requests) if request.target_embedding is not None]
    if not guided and not targeted:
        return None
    options = {"dtype": torch.float32, "device": sam.device}
    target = torch.zeros(len(requests), 1, sam.prompt_encoder.embed_dim, **options)
    for row in targeted:
        target[row, 0] = torch.as_tensor(requests[row].target_embedding, **options).flatten()
    rows = [torch.as_tensor(requests[row].attention_similarity, **options).flatten() for row in guided]
    similarity = torch.stack(rows) if rows else torch.zeros(0, 1, **options)
    return Guidance(torch.tensor(guided, dtype=torch.int64, device=sam.device), similarity, target)


def requests_at_once(sam: Sam, memory_bytes: int | None = None) -> int:
    """Number of requests that go through the decoder together; see :func:`decode` for ``memory_bytes``."""
    if memory_bytes is None:
        memory_bytes = (48 if sam.device.type == "cpu" else 4096) * 2**20
    height, width = sam.prompt_encoder.image_embedding_size
    features = 4 * height * width * sam.prompt_encoder.embed_dim
    # Some copies of the image's features, and of the upscaled ones.
    return max(1, memory_bytes // (6 * features + 5 * features))


def check_features(sam: Sam, embedding: Embedding) -> None:
    """Raise :class:`InputError` if an embedding is not one of this model's."""
    expected = (sam.prompt_encoder.embed_dim, *sam.prompt_encoder.image_embedding_size)
    if embedding.features.shape != expected:
        raise InputError(
            f"An embedding has the shape {tuple(embedding.features.shape)}, but this model makes {expected}; "
            "encode the image with the model that decodes it."
        )


def _check_shapes(sam: Sam, request: DecodeRequest) -> None:
    height, width = sam.prompt_encoder.image_embedding_size
    channels = sam.prompt_encoder.embed_dim
    check_features(sam, request.embedding)
    expected = {
        "mask_input": (request.mask_input, 16 * height * width, (4 * height, 4 * width)),
        "attention_similarity": (request.attention_similarity, height * width, (height * width,)),
        "target_embedding": (request.target_embedding, channels, (channels,)),
    }
    for name, (value, size, shape) in expected.items():
        if value is not None and int(np.prod(np.shape(value))) != size:
            raise InputError(f"{name} must have the shape {shape} for this model, not {tuple(np.shape(value))}.")
