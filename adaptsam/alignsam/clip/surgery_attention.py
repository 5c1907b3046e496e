"""Architecture surgery: consistent self-attention in a second path beside the last blocks of a vision transformer.

Li et al., "CLIP Surgery for Better Explainability with Enhancement in Open-Vocabulary Tasks", 2023. In the original
path nothing changes. The new path starts where the original path enters the last blocks, and adds from each of them
only the attention, computed from the values alone (v–v) and without the feed-forward network:

    x̂ₗ₊₁ = x̂ₗ + Proj(softmax(v·vᵀ / √d)·v),  v = W_v·LN(xₗ),  xₗ from the original path

The patches are then read from the new path, the class token from the original one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def consistent_attention(values: Tensor, heads: int) -> Tensor:
    """Attention in which the values are their own queries and keys.

    Args:
        values: float (n, tokens, channels).
        heads: how many equal parts of the channels attend separately.

    Returns:
        float (n, tokens, channels), before the projection of the attention's output.
    """
    n, tokens, channels = values.shape
    split = values.reshape(n, tokens, heads, channels // heads).transpose(1, 2)
    mixed = functional.scaled_dot_product_attention(split, split, split)
    return mixed.transpose(1, 2).reshape(n, tokens, channels)


def dual_path(
    tokens: Tensor, blocks: Sequence[nn.Module], attend: Callable[[nn.Module, Tensor], Tensor], count: int
) -> Tensor:
    """Runs all blocks, the last ``count`` of them with the new path beside.

    Args:
        tokens: float (n, tokens, channels), the class token first.
        blocks: the transformer's blocks, called as they are.
        attend: what a block's consistent self-attention adds, given the tokens that enter the block.
        count: how many of the last blocks have the new path; all, if there are fewer.

    Returns:
        float (n, tokens, channels): the class token of the original path, all others of the new one.
    """
    first = max(0, len(blocks) - count)
    for block in blocks[:first]:
        tokens = block(tokens)
    new = tokens
    for block in blocks[first:]:
        new = new + attend(block, tokens)
        tokens = block(tokens)
    return torch.cat([tokens[:, :1], new[:, 1:]], dim=1)


def resized_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positional embeddings of patches (rows·columns, channels) for another grid, bilinearly as the reference does.

    Args:
        positions: float (old[0]·old[1], channels).
        old: rows and columns of the grid that the tower was trained with.
        new: rows and columns wanted.
    """
    if old == new:
        return positions
    grid = positions.T.reshape(1, -1, *old)
    grid = functional.interpolate(grid, new, mode="bilinear", align_corners=False)
    return grid[0].flatten(1).T
