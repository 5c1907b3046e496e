"""An image encoder for processors without a GPU: EfficientNet-Lite0, a feature pyramid and two layers of attention.

EfficientNet-Lite0 (Tan and Le, 2019; Liu, 2020) has neither squeeze-and-excitation nor swish: plain convolutions are
all it needs. Its stages are brought together at stride 8, where SAM's decoder reads them: coarse ones from above, as in
a feature pyramid (Lin et al., 2017, Sec. 3), fine ones folded into the channels, so that edges stay sharp.

Batch normalisation is folded into the convolutions. The weights of ImageNet come in that form from
:func:`adaptsam.sam.imagenet_weights.folded_efficientnet_lite0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

#: Pixels of the input along a side of a feature.
PYRAMID_STRIDE = 8
_STEM = 32
#: Of each stage: kernel, stride, expansion, channels, blocks.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# The stages that end a resolution: strides 2, 4, 8, 16 and 32.
_HALF, _QUARTER, _EIGHTH, _SIXTEENTH, _LAST = 0, 1, 2, 4, 6


@dataclass(frozen=True)
class PyramidConfig:
    """The shape of what stands on EfficientNet-Lite0.

    Attributes:
        width: channels of the pyramid, and of the attention at stride 16.
        layers: transformer layers at stride 16, over the whole image.
        heads: of their attention.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4


class SameConv(nn.Conv2d):
    """A convolution whose output has ceil(size / stride) pixels, padded more at the end, as TensorFlow pads."""

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1:
            return self._conv_forward(x, self.weight, self.bias)
        total = [max((-(-size // 2) - 1) * 2 + self.kernel_size[0] - size, 0) for size in x.shape[-2:]]
        height, width = total
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self._conv_forward(x, self.weight, self.bias)


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> SameConv:
    return SameConv(inside, outside, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection of (B, C, h, w), with ReLU6 (Sandler et al., 2018, Sec. 3.3)."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inside * expansion
        self.expand = _conv(inside, middle, 1) if expansion > 1 else None
        self.depthwise = _conv(middle, middle, kernel, stride, groups=middle)
        self.project = _conv(middle, outside, 1)
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class GlobalAttention(nn.Module):
    """Attention among all of (B, n, C), with the fused projection of SAM's own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(read.transpose(1, 2).flatten(2))


class GlobalBlock(nn.Module):
    """A transformer block over all places of (B, C, h, w), which a depthwise convolution encodes (Chu et al., 2023).

    Its parts have the names of SAM's own blocks, so that adapters find them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = GlobalAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        tokens = (x + self.position(x)).flatten(2).transpose(1, 2)
        tokens = tokens + self.attn(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).unflatten(2, (height, width))


class EfficientNetPyramid(nn.Module):
    """Images float32 (B, 3, S, S) to embeddings (B, C, S / 8, S / 8). S is a multiple of 32.

    Args:
        config: the shape of the pyramid.
        image_size: S, in pixels. No weight depends on it.
        channels: C.
    """

    def __init__(self, config: PyramidConfig, image_size: int, channels: int) -> None:
        super().__init__()
        if image_size % (4 * PYRAMID_STRIDE):
            raise ValueError(f"its input of {image_size} pixels is no multiple of {4 * PYRAMID_STRIDE}")
        self.img_size = image_size
        self.stem = _conv(3, _STEM, 3, 2)
        self.stages = nn.ModuleList()
        inside = _STEM
        for kernel, stride, expansion, outside, count in _STAGES:
            blocks = [
                InvertedResidual(inside if n == 0 else outside, outside, kernel, stride if n == 0 else 1, expansion)
                for n in range(count)
            ]
            self.stages.append(nn.Sequential(*blocks))
            inside = outside
        widths = [stage[3] for stage in _STAGES]
        width = config.width
        self.from_last = nn.Conv2d(widths[_LAST], width, 1)
        self.from_sixteenth = nn.Conv2d(widths[_SIXTEENTH], width, 1)
        self.blocks = nn.Sequential(*(GlobalBlock(width, config.heads) for _ in range(config.layers)))
        self.from_eighth = nn.Conv2d(widths[_EIGHTH], width, 1)
        self.from_quarter = nn.Conv2d(widths[_QUARTER], width, 2, 2)
        self.from_half = nn.Conv2d(widths[_HALF], width, 4, 4)
        self.norm = LayerNorm2d(width)
        self.neck = nn.Sequential(
            nn.Conv2d(width, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.last_norm = LayerNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        stages = self.stage_outputs(images)
        x = _twice_as_large(self.from_last(stages[_LAST])) + self.from_sixteenth(stages[_SIXTEENTH])
        x = _twice_as_large(self.blocks(x)) + self.from_eighth(stages[_EIGHTH])
        x = self.norm(x + self.from_quarter(stages[_QUARTER]) + self.from_half(stages[_HALF]))
        return self.last_norm(self.neck(x))

    def stage_outputs(self, images: Tensor) -> list[Tensor]:
        """Outputs (B, channels, rows, columns) of the seven stages, for images (B, 3, S, S)."""
        x = functional.relu6(self.stem(images.contiguous(memory_format=torch.channels_last)))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


def _twice_as_large(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
