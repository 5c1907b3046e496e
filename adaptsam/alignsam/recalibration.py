"""The semantic recalibration module: which places belong to the target (Eq. 11 and 12).

It labels the points that the agent chooses, and gives the first pair of points on a new image. The paper names the
layers but not their sizes; ours are 32 channels wide. A first convolution of 1×1 brings SAM's channels down to that;
the others are 3×3, each followed by group normalisation and ReLU. Keys and values of the self-attention are averaged
over at most 16×16 places, so that on a 64×64 grid it costs no more than the convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.alignsam.alignsam_settings import Branch
from adaptsam.errors import InputError

_WIDTH, _GROUPS, _ATTENDED = 32, 8, 16


class ImplicitBranch(nn.Module):
    """V(∅, s_t): two convolution blocks and the classification head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_block(channels, _WIDTH, 1), _block(_WIDTH, _WIDTH))
        self.head = nn.Conv2d(_WIDTH, 1, 1)

    def forward(self, spatial: Tensor, semantic: Tensor | None = None) -> Tensor:
        """Logits of y_r (B, h, w) from s_t (B, c, h, w); a semantic state is not looked at."""
        return self.head(self.blocks(spatial))[:, 0]


class ExplicitBranch(nn.Module):
    """V(s_c, s_t): three convolutions over both states, self-attention, two convolutions; then the head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aggregate = nn.Sequential(_block(2 * channels, _WIDTH, 1), _block(_WIDTH, _WIDTH), _block(_WIDTH, _WIDTH))
        self.attention = _SelfAttention(_WIDTH)
        self.decode = nn.Sequential(_block(_WIDTH, _WIDTH), _block(_WIDTH, _WIDTH))
        self.head = nn.Conv2d(_WIDTH, 1, 1)

    def forward(self, spatial: Tensor, semantic: Tensor | None = None) -> Tensor:
        """Logits of y_r (B, h, w) from s_t and s_c, both (B, c, h, w).

        Raises:
            InputError: there is no semantic state.
        """
        if semantic is None:
            raise InputError("The explicit branch needs a text attention map; give one, or use the implicit branch.")
        both = self.aggregate(torch.cat([semantic, spatial], dim=1))
        return self.head(self.decode(self.attention(both)))[:, 0]


class _SelfAttention(nn.Module):
    """Four heads over all places, added to what came in."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, width)
        self.query, self.key_value = nn.Conv2d(width, width, 1), nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        side = min(_ATTENDED, *x.shape[-2:])
        key, value = self.key_value(functional.adaptive_avg_pool2d(normed, side)).chunk(2, dim=1)
        query, key, value = (self._split(y) for y in (self.query(normed), key, value))
        read = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(read.transpose(2, 3).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        """(B, heads * d, h, w) → (B, heads, h * w, d)."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)


Recalibration = ImplicitBranch | ExplicitBranch


def new_recalibration(branch: Branch, channels: int) -> Recalibration:
    """An untrained module for SAM's ``channels``."""
    return ImplicitBranch(channels) if branch == "implicit" else ExplicitBranch(channels)


def _block(channels: int, width: int, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, width), nn.ReLU())
