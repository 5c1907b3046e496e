"""SAM's prompt encoder for prompts of unequal length: padded tokens and a mask that says which of them are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from segment_anything.modeling import PromptEncoder

from adaptsam.errors import InputError
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.preprocessing import scale_points

# What a token stands for; the values up to 1 are SAM's point labels, the box corners follow SAM's point_embeddings.
PADDING, NOT_A_POINT, _BACKGROUND, _FOREGROUND, BOX_START, BOX_END = -2, -1, 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class DecodeRequest:
    """One prompt on one embedded image. Everything but the embedding is optional.

    Attributes:
        embedding: the image.
        points: (n, 2), x then y, in pixels of the original image.
        labels: (n,), 1 for foreground and 0 for background.
        box: (4,), x0, y0, x1, y1 in pixels of the original image.
        mask_input: (4h, 4w) low-resolution logits of an earlier pass.
        attention_similarity: (h*w,) target-guided attention of PerSAM, row by row.
        target_embedding: (C,) target-semantic prompt of PerSAM.
    """

    embedding: Embedding
    points: ArrayLike | None = None
    labels: ArrayLike | None = None
    box: ArrayLike | None = None
    mask_input: torch.Tensor | NDArray[np.float32] | None = None
    attention_similarity: torch.Tensor | NDArray[np.float32] | None = None
    target_embedding: torch.Tensor | NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """The sparse prompt of one request before it is embedded.

    Attributes:
        coordinates: float32 (n, 2), x then y, in pixels of the model's input.
        kinds: int64 (n,), what each token stands for.
    """

    coordinates: NDArray[np.float32]
    kinds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kinds)


def prompt_tokens(request: DecodeRequest, image_size: int) -> PromptTokens:
    """The tokens that SAM makes of points and box: points without a box are followed by one "not a point" token.

    Raises:
        InputError: points and labels do not match, or a value is not finite, or a label is neither 0 nor 1.
    """
    coordinates, kinds = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
    original_size = request.embedding.original_size
    if request.points is not None:
        points, kinds = _checked_points(request)
        coordinates = scale_points(points, original_size, image_size)
        if request.box is None:
            # SAM places this token at the origin and then erases its position.
            coordinates = np.concatenate([coordinates, np.zeros((1, 2), np.float32)])
            kinds = np.append(kinds, NOT_A_POINT)
    elif request.labels is not None:
        raise InputError("Labels were given without points; give both or neither.")
    if request.box is not None:
        box = np.asarray(request.box, dtype=np.float64)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise InputError(f"A box must be four finite numbers x0, y0, x1, y1, not {request.box!r}.")
        coordinates = np.concatenate([coordinates, scale_points(box.reshape(2, 2), original_size, image_size)])
        kinds = np.append(kinds, [BOX_START, BOX_END])
    return PromptTokens(coordinates, kinds)


def _checked_points(request: DecodeRequest) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    points = np.asarray(request.points, dtype=np.float64)
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"Points must have the shape (n, 2), x then y, not {points.shape}.")
    if request.labels is None:
        raise InputError("Points were given without labels; give 1 for foreground or 0 for background with each.")
    labels = np.asarray(request.labels).reshape(-1)
    if len(labels) != len(points):
        raise InputError(f"{len(points)} points were given with {len(labels)} labels; give one label for each point.")
    if not np.isfinite(points).all():
        raise InputError("A point is not finite; give x and y in pixels of the image.")
    if not np.isin(labels, (_BACKGROUND, _FOREGROUND)).all():
        raise InputError(f"Labels must be 0 or 1, not {sorted(set(labels.tolist()))}.")
    return points, labels.astype(np.int64)


def embed_tokens(encoder: PromptEncoder, prompts: Sequence[PromptTokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """The sparse embeddings of several prompts, padded to the longest.

    Returns:
        float32 (B, n, C) embeddings, and bool (B, n), True where a token is real.
    """
    longest = max(len(prompt) for prompt in prompts)
    coordinates = np.zeros((len(prompts), longest, 2), np.float32)
    kinds = np.full((len(prompts), longest), PADDING, np.int64)
    for row, prompt in enumerate(prompts):
        coordinates[row, : len(prompt)], kinds[row, : len(prompt)] = prompt.coordinates, prompt.kinds
    device = encoder.no_mask_embed.weight.device
    return embed_kinds(encoder, torch.from_numpy(coordinates).to(device), torch.from_numpy(kinds).to(device))


def embed_kinds(
    encoder: PromptEncoder, coordinates: torch.Tensor, kinds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed tokens that are padded already; see :func:`embed_tokens`.

    Args:
        encoder: SAM's prompt encoder.
        coordinates: float32 (B, n, 2), x then y, in pixels of the model's input.
        kinds: int64 (B, n), what each token stands for, ``PADDING`` for nothing.
    """
    # SAM shifts points and boxes by half a pixel, to the centre of their pixel.
    position = encoder.pe_layer.forward_with_coords(coordinates + 0.5, encoder.input_image_size)
    learned = _learned(encoder, kinds)
    table = torch.cat([torch.zeros_like(learned[0]), *learned])
    embeddings = position * (kinds >= _BACKGROUND).unsqueeze(-1) + table[kinds - PADDING]
    return embeddings, kinds != PADDING


def _learned(encoder: PromptEncoder, kinds: torch.Tensor) -> list[torch.Tensor]:
    """Embeddings of "not a point", points and corners of boxes.

    As in SAM, points or boxes that no prompt has get no gradient, rather than one of zero: an optimiser with weight
    decay or momentum leaves them alone then.
    """
    points = [encoder.not_a_point_embed.weight, *(one.weight for one in encoder.point_embeddings[:2])]
    boxes = [one.weight for one in encoder.point_embeddings[2:]]
    if torch.is_grad_enabled():
        if not ((kinds != PADDING) & (kinds < BOX_START)).any():
            points = [one.detach() for one in points]
        if not (kinds >= BOX_START).any():
            boxes = [one.detach() for one in boxes]
    return [*points, *boxes]


def embed_mask_inputs(
    encoder: PromptEncoder, masks: Sequence[torch.Tensor | NDArray[np.float32] | None]
) -> torch.Tensor:
    """The dense embeddings of several requests: SAM's own for a mask input, "no mask" for the others.

    Args:
        encoder: SAM's prompt encoder.
        masks: for each request float32 (4h, 4w) logits, or None.

    Returns:
        float32 (B, h*w, C), or (B, 1, C) to broadcast where no request has a mask input.
    """
    channels = encoder.embed_dim
    height, width = encoder.image_embedding_size
    nothing = encoder.no_mask_embed.weight.reshape(1, 1, channels).expand(len(masks), 1, channels)
    given = [row for row, mask in enumerate(masks) if mask is not None]
    if not given:
        return nothing
    embedded = embed_masks(encoder, [masks[row] for row in given]).flatten(2).transpose(1, 2)
    if len(given) == len(masks):
        return embedded
    dense = nothing.expand(len(masks), height * width, channels).clone()
    dense[given] = embedded
    return dense


def embed_masks(encoder: PromptEncoder, masks: Sequence[torch.Tensor | NDArray[np.float32] | None]) -> torch.Tensor:
    """The dense embeddings (B, C, h, w), in memory of their own, of mask inputs float32 (4h, 4w), none of them None."""
    device = encoder.no_mask_embed.weight.device
    height, width = encoder.image_embedding_size
    stacked = torch.stack([torch.as_tensor(mask, dtype=torch.float32, device=device) for mask in masks])
    return encoder.mask_downscaling(stacked.view(-1, 1, 4 * height, 4 * width))


def embed_logits(encoder: PromptEncoder, logits: torch.Tensor) -> torch.Tensor:
    """The dense embeddings (B, h*w, C) of mask inputs float32 (B, 4h, 4w)."""
    return encoder.mask_downscaling(logits[:, None]).flatten(2).transpose(1, 2)
