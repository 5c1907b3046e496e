"""TinyViT (Wu et al., ECCV 2022) as MobileSAM's image encoder, under the parameter names of ``mobile_sam.pt``.

It differs from the classifier of that name in the last merging of patches, which keeps the resolution (so the features
are S/16 wide, as SAM's), and in the neck instead of the head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn
from torch.nn import functional

STRIDE = 16


@dataclass(frozen=True)
class TinyVitConfig:
    """Channels, blocks, heads and window sides of the four stages; the first is convolutional, its heads unused."""

    dims: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)


class TinyViT(nn.Module):
    """Images to embeddings.

    Args:
        config: the stages.
        img_size: S, the side of the input in pixels; a multiple of 16.
        out_chans: C, channels of an embedding.

    Attributes:
        img_size: S.
    """

    def __init__(self, config: TinyVitConfig, img_size: int, out_chans: int) -> None:
        super().__init__()
        if img_size % STRIDE:
            raise ValueError(f"the input of a TinyViT is a multiple of {STRIDE} pixels, not {img_size}")
        self.img_size = img_size
        first, last = config.dims[0], len(config.dims) - 1
        stem = nn.Sequential(
            _ConvNorm(3, first // 2, 3, stride=2), nn.GELU(), _ConvNorm(first // 2, first, 3, stride=2)
        )
        self.patch_embed = nn.Sequential(OrderedDict(seq=stem))
        self.layers = nn.ModuleList()
        for stage, (dim, depth) in enumerate(zip(config.dims, config.depths, strict=True)):
            heads, window = config.heads[stage], config.windows[stage]
            blocks = [_Block(dim, heads, window) if stage else _ConvBlock(dim) for _ in range(depth)]
            merge = None if stage == last else _Merge(dim, config.dims[stage + 1], stride=1 if stage + 1 == last else 2)
            self.layers.append(_Stage(blocks, merge))
        self.neck = nn.Sequential(
            nn.Conv2d(config.dims[-1], out_chans, 1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float32 (B, 3, S, S), normalised and padded, to (B, C, S/16, S/16)."""
        x = self.patch_embed(images)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)


class _ConvNorm(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(c=convolution, bn=nn.BatchNorm2d(outputs)))


class _Stage(nn.Module):
    """Blocks, and the merging of patches into the next stage; (B, C, h, w) in and out."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Merge(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs)
        self.conv2 = _ConvNorm(outputs, outputs, 3, stride=stride, groups=outputs)
        self.conv3 = _ConvNorm(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))


class _ConvBlock(nn.Module):
    """An inverted bottleneck with a residual path (MBConv)."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = dim * expansion
        self.conv1 = _ConvNorm(dim, hidden)
        self.conv2 = _ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = _ConvNorm(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        return functional.gelu(x + self.conv3(inner))


class _Block(nn.Module):
    """Attention within windows, a convolution between neighbours, a perceptron."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(dim, heads, window)
        self.local_conv = _ConvNorm(dim, dim, 3, groups=dim)
        self.mlp = _Mlp(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self._attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """(B, h, w, C), padded with zeros to whole windows. Unlike in SAM's ViT, zeros come before the norm."""
        batch, height, width, channels = x.shape
        size = self.window
        x = functional.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        rows, columns = x.shape[1] // size, x.shape[2] // size
        windows = x.view(batch, rows, size, columns, size, channels).transpose(2, 3).reshape(-1, size * size, channels)
        attended = self.attn(windows).view(batch, rows, columns, size, size, channels).transpose(2, 3)
        return attended.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]


class _Attention(nn.Module):
    """Attention among the positions of a window, with a learned bias for each distance in rows and columns."""

    offsets: torch.Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        steps = torch.arange(window)
        distance = (steps[:, None] - steps[None, :]).abs()
        offsets = distance[:, None, :, None] * window + distance[None, :, None, :]
        self.register_buffer("offsets", offsets.view(window**2, window**2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, count, channels = x.shape
        # A head's query, key and value lie side by side.
        qkv = self.qkv(self.norm(x)).view(batch, count, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        q, k, v = qkv.unbind(0)
        bias = self.attention_biases[:, self.offsets].to(q.dtype)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(batch, count, channels))


class _Mlp(nn.Module):
    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * expansion)
        self.fc2 = nn.Linear(dim * expansion, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(self.norm(x))))
