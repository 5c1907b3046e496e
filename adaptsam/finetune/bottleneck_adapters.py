"""Medical SAM Adapter (Wu et al., 2023, Sec. 3.1): small bottlenecks in a frozen encoder.

Each block gets two: one after its attention, with a skip of its own, and one beside its MLP, at half strength. They
wrap the modules they follow, so that the encoder's forward pass, ours or Meta's, runs them without knowing.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from adaptsam.errors import InputError

_BESIDE_MLP = 0.5


class Bottleneck(nn.Module):
    """(…, C) → (…, C): down to a share of the channels, GELU, and up. It starts as zero."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        hidden = max(1, round(share * channels))
        self.down, self.up = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(nn.functional.gelu(self.down(x)))


class AfterAttention(nn.Module):
    """The attention's output projection, and an adapter on what comes out of it."""

    def __init__(self, projection: nn.Linear, share: float) -> None:
        super().__init__()
        self.projection = projection
        self.adapter = Bottleneck(projection.out_features, share)

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection(x)
        return x + self.adapter(x)


class BesideMlp(nn.Module):
    """A block's MLP with an adapter beside it."""

    def __init__(self, mlp: nn.Module, channels: int, share: float) -> None:
        super().__init__()
        self.mlp = mlp
        self.adapter = Bottleneck(channels, share)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) + _BESIDE_MLP * self.adapter(x)


def add_adapters(sam: Sam, share: float = 0.25, seed: int = 0) -> None:
    """Give every block its two adapters, in place; they, the prompt encoder and the mask decoder are trained.

    Nothing changes before the first step.

    Args:
        sam: with a ViT encoder.
        share: channels of the bottleneck as a share of the encoder's.
        seed: of the adapters' first weights.

    Raises:
        InputError: the share is not between 0 and 1, or the model has adapters already.
    """
    if not 0 < share <= 1:
        raise InputError(f"The adapters' share of channels must lie between 0 and 1, but is {share}.")
    if any(isinstance(block.mlp, BesideMlp) for block in sam.image_encoder.blocks):
        raise InputError("The model has adapters already; load the plain model.")
    device = sam.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in sam.image_encoder.blocks:
            channels = block.attn.proj.out_features
            block.attn.proj = AfterAttention(block.attn.proj, share).to(device)
            block.mlp = BesideMlp(block.mlp, channels, share).to(device)
    for name, parameter in sam.named_parameters():
        parameter.requires_grad_(".adapter." in name or not name.startswith("image_encoder."))
