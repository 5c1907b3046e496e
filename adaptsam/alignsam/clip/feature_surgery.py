"""Feature surgery: what all texts have in common is taken out of the similarity, and the rest becomes a map in [0, 1].

Li et al., "CLIP Surgery", 2023. The reference multiplies image and text features element by element, subtracts the
mean over the texts and sums over the channels; as sums, that is the weighted cosine similarity less its own mean.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def feature_surgery(images: Tensor, texts: Tensor, temperature: float = 2.0) -> Tensor:
    """Similarity of every image token to every text, less what the texts have in common.

    An image's classes that are seen at a glance are weighted by w = p / mean(p), where p is the softmax over the texts
    of ``temperature`` times the class token's similarity.

    Args:
        images: float (n, 1 + patches, channels) of length 1, the class token first.
        texts: float (texts, channels) of length 1, at least two.
        temperature: 2 in the reference.

    Returns:
        float (n, 1 + patches, texts); its mean over the texts is 0.
    """
    similarity = images @ texts.T
    share = (temperature * similarity[:, :1]).softmax(dim=-1)
    weighted = similarity * share / share.mean(dim=-1, keepdim=True)
    return weighted - weighted.mean(dim=-1, keepdim=True)


def feature_surgery_against(images: Tensor, texts: Tensor, redundant: Tensor) -> Tensor:
    """Similarity of every image token to every text, less that to a text that says nothing (the empty string).

    Args:
        images: float (n, 1 + patches, channels) of length 1.
        texts: float (texts, channels) of length 1.
        redundant: float (channels,) of length 1, the feature of the empty string.

    Returns:
        float (n, 1 + patches, texts).
    """
    return images @ (texts - redundant).T


def similarity_maps(similarity: Tensor, size: tuple[int, int]) -> Tensor:
    """Patch similarities as maps: each scaled to [0, 1] on the patches, then resized bilinearly.

    Args:
        similarity: float (n, texts, rows, columns), on the grid of patches.
        size: rows and columns of the maps.

    Returns:
        float32 (n, texts, *size) in [0, 1]; a map without any contrast is 0 everywhere.
    """
    low, high = similarity.amin((-2, -1), keepdim=True), similarity.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(low))
    scaled = ((similarity - low) / span).float()
    return functional.interpolate(scaled, size, mode="bilinear", align_corners=False).clamp(0, 1)
