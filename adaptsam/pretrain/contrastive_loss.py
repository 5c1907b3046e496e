"""The encoder's loss: a structure's patches at one visit must find that structure at the other visit.

It is what P²SAM asks of an encoder (Sec. 3.2): the mean feature of a structure at the first visit is compared by
cosine similarity with every patch of the second. Here every structure of a pair, and what belongs to none, is such a
prior, and the patches of the other visit are classified by it (a prototype loss: Snell et al., 2017, Eq. 2, with
cosines).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.synthetic.visit_pairs import patch_regions

_PURE = 0.6


def visit_contrast(features: Tensor, masks: Tensor, temperature: float = 0.07) -> Tensor:
    """The mean cross-entropy of classifying the patches of each visit by the structures of the other.

    Args:
        features: float32 (B, 2, C, h, w), h = w.
        masks: bool (B, 2, K, S, S).
        temperature: cosines are divided by it.
    """
    count = masks.shape[2] + 1
    region, purity = patch_regions(masks, features.shape[-1])
    direction = functional.normalize(features.flatten(3), dim=2)
    chosen = functional.one_hot(region.flatten(2), count).float() * (purity.flatten(2) > _PURE).unsqueeze(-1)
    prototypes = functional.normalize(torch.einsum("bvcp,bvpk->bvkc", direction, chosen), dim=-1)
    known = chosen.sum(2) > 0
    # Each visit is classified by the other one.
    cosine = torch.einsum("bvcp,bvkc->bvkp", direction, prototypes.flip(1)) / temperature
    cosine = cosine.masked_fill(~known.flip(1).unsqueeze(-1), -1e4)
    loss = functional.cross_entropy(cosine.flatten(0, 1), region.flatten(2).flatten(0, 1), reduction="none")
    usable = chosen * known.flip(1).unsqueeze(2)
    # A structure counts by the square root of its patches: else the background would be all that matters.
    weight = (usable / usable.sum(2, keepdim=True).clamp(min=1).sqrt()).sum(-1)
    return (loss.view(weight.shape) * weight).sum() / weight.sum().clamp(min=1)
