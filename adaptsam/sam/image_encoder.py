"""SAM's image encoder without the waste: the same weights and the same result as ``ImageEncoderViT.forward``.

- The N×N weights of attention are never stored. On the CPU scores are made for a few queries at a time, and the product
  is added to the bias of the relative positions. Elsewhere the bias travels in extra channels of queries and keys, so
  that the fused kernels need none: see :func:`_widened_attention`.
- The rows that fill up the border windows are zero, so their query, key and value are the bias of the projection: they
  are copied, not computed, and the output projection runs on the image's own positions only.
- On the CPU windows and MLP run in pieces, so that what is wider than the image's own features stays in the cache.

MobileSAM's encoder and this project's pyramid need none of this and run as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from adaptsam.sam.efficientnet_pyramid import EfficientNetPyramid
from adaptsam.sam.tiny_vit import TinyViT

# Measured on two cores: pieces of this size are as fast as any, and every core has some of the work.
_SCORE_BYTES_PER_THREAD = 4 * 2**20
_POSITIONS = 1024


def encode(
    encoder: ImageEncoderViT | TinyViT | EfficientNetPyramid,
    images: torch.Tensor,
    kept: torch.Tensor | None = None,
    checkpointed: bool = False,
) -> torch.Tensor:
    """The image embeddings of a batch.

    Args:
        encoder: SAM's image encoder; its parameters are used where they lie.
        images: float32 (B, 3, S, S), normalised and padded.
        kept: float32 (depth, 2, B), by how much attention and MLP of each block count for each image: drop path in
            training. None for 1 everywhere.
        checkpointed: keep only what enters each block for the gradients, and compute the block again for them.

    MobileSAM's encoder and the pyramid have no drop path and are small: ``kept`` and ``checkpointed`` change nothing in
    them.

    Returns:
        float32 (B, C, h, w).
    """
    if isinstance(encoder, (TinyViT, EfficientNetPyramid)):
        return encoder(images).float()
    # The convolution leaves channels first in memory; every layer below wants them last.
    x = encoder.patch_embed(images).contiguous()
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for number, block in enumerate(encoder.blocks):
        share = None if kept is None else kept[number].view(2, -1, 1, 1, 1).to(x.dtype)
        x = checkpoint(_block, block, x, share, use_reentrant=False) if checkpointed else _block(block, x, share)
    return encoder.neck(x.permute(0, 3, 1, 2)).float()


def _block(block: Block, x: torch.Tensor, share: torch.Tensor | None = None) -> torch.Tensor:
    """One transformer block on (B, h, w, C); ``share`` (2, B, 1, 1, 1) scales attention and MLP."""
    if block.window_size:
        attended = _windowed_attention(block.attn, block.norm1(x), block.window_size)
    else:
        attended = block.attn.proj(_attention(block.attn, _in_pieces(block.attn.qkv, block.norm1(x))))
    x = x + (attended if share is None else share[0] * attended)
    changed = _in_pieces(block.mlp, block.norm2(x))
    return x + (changed if share is None else share[1] * changed)


def _in_pieces(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A layer that takes each position of (B, h, w, C) by itself; on the CPU some positions at a time."""
    if x.device.type != "cpu":
        return layer(x)
    pieces = x.flatten(0, -2).split(_POSITIONS)
    return torch.cat([layer(piece) for piece in pieces]).unflatten(0, x.shape[:-1])


def _windowed_attention(attention: Attention, x: torch.Tensor, size: int) -> torch.Tensor:
    """(B, h, w, C) → (B, h, w, C), projections and attention within windows of ``size`` by ``size`` positions."""
    if x.device.type != "cpu" and x.shape[1] % size == 0 and x.shape[2] % size == 0:
        return _fitting_windows(attention, x, size)
    together = max(1, _POSITIONS // size**2) if x.device.type == "cpu" else None
    pieces, origin = _window_order(*x.shape[:3], size, together, x.device)
    positions = x.flatten(0, 2)
    attended = []
    for rows, places, count in pieces:
        qkv = attention.qkv(positions.index_select(0, rows))
        filler = qkv.new_zeros(1) if attention.qkv.bias is None else attention.qkv.bias.to(qkv.dtype)
        windows = filler.expand(count * size**2, qkv.shape[-1]).index_copy(0, places, qkv)
        out = _attention(attention, windows.view(count, size, size, -1))
        attended.append(attention.proj(out.flatten(0, 2).index_select(0, places)))
    return torch.cat(attended).index_select(0, origin).view(x.shape)


def _fitting_windows(attention: Attention, x: torch.Tensor, size: int) -> torch.Tensor:
    """Windowed attention where the windows fill the image, so that no window has to be gathered alone."""
    windows = x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)
    out = attention.proj(_attention(attention, attention.qkv(windows.flatten(0, 2))))
    return out.view(windows.shape).transpose(2, 3).flatten(3, 4).flatten(1, 2)


@lru_cache(maxsize=16)
def _window_order(
    batch: int, height: int, width: int, size: int, together: int | None, device: torch.device
) -> tuple[tuple[tuple[torch.Tensor, torch.Tensor, int], ...], torch.Tensor]:
    """Orders of a batch's positions, window by window, and back.

    Args:
        batch, height, width: of the image's features.
        size: of the windows, which may reach beyond the image.
        together: windows of a piece; None for all.
        device: where the numbers are wanted.

    Returns:
        For each piece: the positions in it, in the flattened (B, h, w), and the place of each in the piece's windows,
        both int64 (n,), and how many windows it has. Then for each position its number among those of all pieces.
    """
    rows, columns = -(-height // size), -(-width // size)
    positions = torch.arange(batch * height * width).view(batch, height, width)
    padded = functional.pad(positions, (0, columns * size - width, 0, rows * size - height), value=-1)
    windows = padded.view(batch, rows, size, columns, size).transpose(2, 3).reshape(-1, size**2)
    pieces = []
    for piece in windows.split(together or len(windows)):
        places = (piece.flatten() >= 0).nonzero().flatten()
        pieces.append((piece.flatten()[places].to(device), places.to(device), len(piece)))
    return tuple(pieces), windows[windows >= 0].argsort().to(device)


def _attention(attention: Attention, qkv: torch.Tensor) -> torch.Tensor:
    """(B, h, w, 3*C) queries, keys and values → (B, h, w, C), before the output projection.

    Relative positions add q·R to the scores, decomposed into rows and columns (Li et al., MViTv2, 2022, Eq. 4).
    """
    batch, height, width, _ = qkv.shape
    q, k, v = qkv.view(batch, height * width, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    if not attention.use_rel_pos:
        out = functional.scaled_dot_product_attention(q, k, v)
    else:
        rows = _relative_positions(attention.rel_pos_h, height).to(q.dtype)
        columns = _relative_positions(attention.rel_pos_w, width).to(q.dtype)
        # Where gradients are wanted, all scores would be stored for them; TorchScript cannot write into given memory.
        pieces = q.device.type == "cpu" and not torch.is_grad_enabled() and not torch.jit.is_tracing()
        attend = _biased_attention if pieces else _widened_attention
        out = attend(q, k, v, rows, columns)
    return out.transpose(1, 2).reshape(batch, height, width, -1)


def _relative_positions(table: torch.Tensor, size: int) -> torch.Tensor:
    """R (size, size, d) for each query and key along one axis."""
    if len(table) != 2 * size - 1:
        return get_rel_pos(size, size, table)
    # The same without an index from the host, for which a GPU would be waited for in every block.
    axis = torch.arange(size, device=table.device)
    return table[axis[:, None] - axis + size - 1]


def _biased_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Attention with the bias of the relative positions, a few queries at a time.

    Args:
        q: (B, heads, h*w, d); so are k and v.
        rows: (h, h, d), R for the row of the query and the row of the key.
        columns: (w, w, d).

    Returns:
        (B, heads, h*w, d).
    """
    batch, heads, count, depth = q.shape
    height, width = len(rows), len(columns)
    out = torch.empty(batch, count, heads, depth, dtype=q.dtype).transpose(1, 2)
    memory = torch.empty(0, dtype=q.dtype)
    for items, some, blocks in _pieces(batch, heads, height, 4 * width * count):
        key, value = (x[items, some].reshape(-1, count, depth).contiguous() for x in (k, v))
        for lines in blocks:
            positions = slice(lines.start * width, lines.stop * width)
            query = q[items, some, positions]
            by_row, by_column = _position_scores(query, rows[lines], columns)
            bias = by_row.unsqueeze(-1), by_column.unsqueeze(-2)
            shape = (*by_row.shape[:-1], height, width)
            # One piece of memory for all: what is new would have to be brought into the cache, and cleared before.
            memory = memory if len(memory) >= math.prod(shape) else torch.empty(math.prod(shape), dtype=q.dtype)
            scores = torch.add(*bias, out=memory[: math.prod(shape)].view(shape)).view(len(key), -1, count)
            scores.baddbmm_(query.reshape(len(key), -1, depth), key.transpose(1, 2), alpha=depth**-0.5)
            torch.softmax(scores, -1, out=scores)
            out[items, some, positions] = (scores @ value).view(query.shape)
    return out


def _pieces(batch: int, heads: int, height: int, line_bytes: int) -> Iterator[tuple[slice, slice, list[slice]]]:
    """Slices of images and heads, each with slices of lines of queries, so that the scores of a piece stay small.

    Args:
        batch: images or windows.
        heads: heads of each.
        height: lines of queries of each head.
        line_bytes: size of the scores of one line.
    """
    lines = max(1, _SCORE_BYTES_PER_THREAD * torch.get_num_threads() // line_bytes)
    sizes = min(batch, max(1, lines // (heads * height))), min(heads, max(1, lines // height)), min(height, lines)
    blocks = _slices(height, sizes[2])
    for items in _slices(batch, sizes[0]):
        for some in _slices(heads, sizes[1]):
            yield items, some, blocks


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _widened_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The same as :func:`_biased_attention`, with the bias as h+w more channels.

    The query's channels hold its scores for every row and every column; the key's hold a one at its own row and
    column. Their product is the bias, and a kernel that never stores N×N numbers needs no mask.
    """
    height, width, depth = len(rows), len(columns), q.shape[-1]
    by_row, by_column = (x.flatten(2, 3) for x in _position_scores(q, rows, columns))
    own_row = torch.eye(height, dtype=q.dtype, device=q.device).repeat_interleave(width, 0)
    own_column = torch.eye(width, dtype=q.dtype, device=q.device).repeat(height, 1)
    place = torch.cat([own_row, own_column], dim=1).expand(*k.shape[:3], -1)
    # A multiple of eight channels is what the fast kernels ask for.
    padding = -(depth + height + width) % 8
    query = functional.pad(torch.cat([q * depth**-0.5, by_row, by_column], dim=-1), (0, padding))
    key = functional.pad(torch.cat([k, place], dim=-1), (0, padding))
    value = functional.pad(v, (0, height + width + padding))
    return functional.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :depth]


def _position_scores(q: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the keys' rows and columns, (B, heads, h, w, rows or columns), for queries (B, heads, h*w, d)."""
    grid = q.unflatten(2, (len(rows), len(columns)))
    by_row = grid @ rows.transpose(1, 2)
    by_column = (grid.transpose(2, 3) @ columns.transpose(1, 2)).transpose(2, 3)
    return by_row, by_column
