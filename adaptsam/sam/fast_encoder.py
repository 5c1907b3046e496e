"""SAM's image encoder without the waste: the same weights and the same result as ``ImageEncoderViT.forward``.

- Attention runs through ``scaled_dot_product_attention``; the N×N weights are never stored.
- The rows that fill up the border windows are zero, so their query, key and value are the bias: they are copied, not
  computed, and the output projection runs on the real positions only.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch.nn import functional


def encode(encoder: ImageEncoderViT, images: torch.Tensor) -> torch.Tensor:
    """The image embeddings of a batch.

    Args:
        encoder: SAM's image encoder; its parameters are used where they lie.
        images: float32 (B, 3, S, S), normalised and padded.

    Returns:
        float32 (B, C, h, w).
    """
    x = encoder.patch_embed(images)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks:
        x = _block(block, x)
    return encoder.neck(x.permute(0, 3, 1, 2)).float()


def _block(block: Block, x: torch.Tensor) -> torch.Tensor:
    """One transformer block on (B, h, w, C)."""
    qkv = block.attn.qkv(block.norm1(x))
    if block.window_size:
        height, width = x.shape[1:3]
        windows = _windows(qkv, block.window_size, block.attn.qkv.bias)
        attended = _attention(block.attn, windows)
        attended = _from_windows(attended, len(x), height, width)
    else:
        attended = _attention(block.attn, qkv)
    x = x + block.attn.proj(attended)
    return x + block.mlp(block.norm2(x))


def _windows(qkv: torch.Tensor, size: int, bias: torch.Tensor) -> torch.Tensor:
    """(B, h, w, C) → (B*windows, size, size, C); what lies outside of the image is filled with the bias."""
    batch, height, width, channels = qkv.shape
    rows, columns = -(-height // size), -(-width // size)
    if (rows * size, columns * size) != (height, width):
        padded = bias.to(qkv.dtype).expand(batch, rows * size, columns * size, channels).clone()
        padded[:, :height, :width] = qkv
        qkv = padded
    qkv = qkv.view(batch, rows, size, columns, size, channels).transpose(2, 3)
    return qkv.reshape(-1, size, size, channels)


def _from_windows(x: torch.Tensor, batch: int, height: int, width: int) -> torch.Tensor:
    """(B*windows, size, size, C) → (B, h, w, C) without the filling."""
    size, channels = x.shape[1], x.shape[3]
    rows, columns = -(-height // size), -(-width // size)
    x = x.view(batch, rows, columns, size, size, channels).transpose(2, 3)
    return x.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]


def _attention(attention: Attention, qkv: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 3*C) queries, keys and values → (B, h, w, C), before the output projection."""
    batch, height, width, _ = qkv.shape
    q, k, v = qkv.view(batch, height * width, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    bias = _position_bias(attention, q, height, width)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return out.transpose(1, 2).reshape(batch, height, width, -1)


def _position_bias(attention: Attention, q: torch.Tensor, height: int, width: int) -> torch.Tensor | None:
    """Decomposed relative positions (Li et al., MViTv2, Eq. 4): (B, heads, h*w, h*w)."""
    if not attention.use_rel_pos:
        return None
    rows = get_rel_pos(height, height, attention.rel_pos_h).to(q.dtype)
    columns = get_rel_pos(width, width, attention.rel_pos_w).to(q.dtype)
    grid = q.unflatten(2, (height, width))
    by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, rows)
    by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, columns)
    return (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).flatten(4, 5).flatten(2, 3)
