"""The image towers that CLIP Surgery knows: open_clip's own VisionTransformer, and timm's (BiomedCLIP).

A tower is only read: its modules are called as they are, and the new path is computed from their parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.alignsam.clip.surgery_attention import consistent_attention, dual_path, resized_positions
from adaptsam.errors import CheckpointError

SUPPORTED = "CLIP Surgery needs a vision transformer that pools by its class token, such as ViT-B-16 or BiomedCLIP's"


class Tower(ABC):
    """Interface of an image tower for CLIP Surgery.

    Attributes:
        image_size: rows and columns, in pixels, of the images that it was trained with.
        patch_size: rows and columns of a patch, in pixels.
        blocks: the transformer's blocks.
        extra_tokens: how many tokens stand before the patches: the class token, and registers.
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    blocks: Sequence[nn.Module]
    extra_tokens: int

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Tokens (n, extra_tokens + patches, channels) that enter the first block."""

    @abstractmethod
    def attend(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """The output (B, n, channels) of a block's consistent self-attention, added to the new path."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Tensor:
        """Tokens (B, n, channels) that left the last block, in the space (B, n, D) that images and texts share."""


class OpenClipTower(Tower):
    """open_clip's own VisionTransformer, with QuickGELU or without."""

    extra_tokens = 1

    def __init__(self, visual: Any) -> None:
        from open_clip.transformer import ResidualAttentionBlock

        if visual.attn_pool is not None or visual.pool_type != "tok":
            pooling = "attention" if visual.attn_pool is not None else visual.pool_type
            raise CheckpointError(f"This CLIP's image tower pools by {pooling}; {SUPPORTED}.")
        self.blocks = list(visual.transformer.resblocks)
        if not all(type(block) is ResidualAttentionBlock for block in self.blocks):
            raise CheckpointError(f"This CLIP's image tower has blocks of its own kind; {SUPPORTED}.")
        self.visual = visual
        self.image_size = (visual.image_size[0], visual.image_size[1])
        self.patch_size = (visual.patch_size[0], visual.patch_size[1])

    def embed(self, images: Tensor) -> Tensor:
        patches = self.visual.conv1(images)
        positions = self.visual.positional_embedding
        placed = resized_positions(positions[1:], self.visual.grid_size, patches.shape[-2:])
        patches = patches.flatten(2).transpose(1, 2) + placed
        token = (self.visual.class_embedding + positions[0]).expand(len(images), 1, -1)
        return self.visual.ln_pre(torch.cat([token, patches], dim=1))

    def attend(self, block: Any, tokens: Tensor) -> Tensor:
        attention = block.attn
        channels = attention.embed_dim
        bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * channels :]
        values = functional.linear(block.ln_1(tokens), attention.in_proj_weight[2 * channels :], bias)
        return block.ls_1(attention.out_proj(consistent_attention(values, attention.num_heads)))

    def project(self, tokens: Tensor) -> Tensor:
        return self.visual.ln_post(tokens) @ self.visual.proj


class TimmTower(Tower):
    """timm's VisionTransformer behind open_clip's adapter, as in BiomedCLIP."""

    def __init__(self, visual: Any) -> None:
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import Attention, Block, VisionTransformer

        trunk = visual.trunk
        if type(trunk) is not VisionTransformer or type(trunk.patch_embed) is not PatchEmbed:
            raise CheckpointError(f"This CLIP's image tower is timm's {type(trunk).__name__}; {SUPPORTED}.")
        if trunk.attn_pool is not None or trunk.global_pool != "token" or trunk.cls_token is None:
            pooling = "attention" if trunk.attn_pool is not None else trunk.global_pool
            raise CheckpointError(f"This CLIP's image tower pools by {pooling}; {SUPPORTED}.")
        self.blocks = list(trunk.blocks)
        if not all(type(block) is Block and type(block.attn) is Attention for block in self.blocks):
            raise CheckpointError(f"This CLIP's image tower has blocks of its own kind; {SUPPORTED}.")
        self.visual: Any = visual
        self.trunk: Any = trunk
        self.extra_tokens = trunk.num_prefix_tokens
        embed = trunk.patch_embed
        self.image_size = (embed.img_size[0], embed.img_size[1])
        self.patch_size = (embed.patch_size[0], embed.patch_size[1])

    def embed(self, images: Tensor) -> Tensor:
        trunk = self.trunk
        grid = trunk.patch_embed.proj(images)
        patches = trunk.patch_embed.norm(grid.flatten(2).transpose(1, 2))
        extra = [token for token in (trunk.cls_token, trunk.reg_token) if token is not None]
        prefix = torch.cat(extra, dim=1).expand(len(images), -1, -1)
        if trunk.pos_embed is not None:
            placed = 0 if trunk.no_embed_class else self.extra_tokens
            positions = trunk.pos_embed[0]
            patches = patches + resized_positions(positions[placed:], trunk.patch_embed.grid_size, grid.shape[-2:])
            prefix = prefix + positions[:placed] if placed else prefix
        return trunk.norm_pre(torch.cat([prefix, patches], dim=1))

    def attend(self, block: Any, tokens: Tensor) -> Tensor:
        attention, entering = block.attn, block.norm1(tokens)
        weight, bias = attention.qkv.weight, attention.qkv.bias
        first = 2 * len(weight) // 3
        values = functional.linear(entering, weight[first:], None if bias is None else bias[first:])
        mixed = attention.norm(consistent_attention(values, attention.num_heads))
        gate = getattr(attention, "gate", None)  # newer than the oldest timm that works
        if gate is not None:
            mixed = mixed * gate(entering).sigmoid()
        return block.ls1(attention.proj(mixed))

    def project(self, tokens: Tensor) -> Tensor:
        trunk = self.trunk
        return self.visual.head(trunk.head(trunk.fc_norm(trunk.norm(tokens))))


def surgery_features(tower: Tower, images: Tensor, count: int) -> Tensor:
    """Features of the class token and of every patch after architecture surgery, each of length 1.

    Args:
        tower: the image tower.
        images: float (n, 3, H, W), normalised as the tower wants; H and W whole patches, of any number.
        count: how many of the last blocks have the new path; 6 in the reference.

    Returns:
        float (n, 1 + patches, channels): the class token's feature is that of the unchanged tower.
    """
    tokens = dual_path(tower.embed(images), tower.blocks, tower.attend, count)
    kept = torch.cat([tokens[:, :1], tokens[:, tower.extra_tokens :]], dim=1)
    return functional.normalize(tower.project(kept), dim=-1)


def tower_of(visual: nn.Module) -> Tower:
    """The tower of an open_clip model's ``visual``.

    Raises:
        CheckpointError: it is not a vision transformer that pools by its class token.
    """
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, TimmModel):
        return TimmTower(visual)
    if isinstance(visual, VisionTransformer):
        return OpenClipTower(visual)
    raise CheckpointError(f"This CLIP's image tower is a {type(visual).__name__}; {SUPPORTED}.")
