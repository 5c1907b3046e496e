"""Low-rank adaptation of SAM's image encoder (Hu et al., 2022), through ``peft``, as in P²SAM's Sec. 3.3.

In an EfficientNet-Lite0 encoder most weights are convolutions of one pixel: each gets an adapter, beside those of its
attention. What stands for patch embedding and neck there, and is trained whole, is the stem and the pyramid.

SAM's attention has one fused projection for query, key and value. One adapter on it would share its input direction
among the three; the paper adapts them separately, and so the projection is split first. The attention's own output
projection is adapted too, and the projection of the patch embedding, of the same name, is not: it is trained whole.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from adaptsam.errors import InputError, NotInstalledError

_ENDS = (
    *("image_encoder.patch_embed.", "image_encoder.neck."),
    *("image_encoder.stem.", "image_encoder.from_", "image_encoder.norm.", "image_encoder.last_norm."),
)
_DECODER = ("prompt_encoder.", "mask_decoder.")
_PARTS = {"q": "qkv.q", "k": "qkv.k", "v": "qkv.v", "o": "proj"}


class SplitQkv(nn.Module):
    """A fused projection as three: (…, C) → (…, 3·C), with the weights of ``fused``."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        parts = [nn.Linear(fused.in_features, fused.out_features // 3, fused.bias is not None) for _ in range(3)]
        self.q, self.k, self.v = parts
        self.to(fused.weight.device, fused.weight.dtype)
        with torch.no_grad():
            for part, weight in zip(parts, fused.weight.chunk(3), strict=True):
                part.weight.copy_(weight)
            if fused.bias is not None:
                for part, bias in zip(parts, fused.bias.chunk(3), strict=True):
                    part.bias.copy_(bias)

    @property
    def bias(self) -> Tensor | None:
        """The three biases in one, (3 · channels,), as the fused projection has them."""
        if self.q.bias is None:
            return None
        return torch.cat([self.q.bias, self.k.bias, self.v.bias])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)

    def fused(self) -> nn.Linear:
        """One projection again; adapters must have been merged."""
        parts = [self.q, self.k, self.v]
        linear = nn.Linear(parts[0].in_features, 3 * parts[0].out_features, parts[0].bias is not None)
        linear.to(parts[0].weight.device, parts[0].weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.cat([part.weight for part in parts]))
            if linear.bias is not None:
                linear.bias.copy_(torch.cat([part.bias for part in parts]))
        return linear


def add_lora(
    sam: Sam, rank: int = 1, alpha: int | None = None, parts: str = "qkvo", encoder_ends: bool = True, seed: int = 0
) -> None:
    """Adapt every block's attention, in place, and leave the rest of the encoder as it is.

    What is trained afterwards (``requires_grad``): the adapters, prompt encoder and mask decoder, and the ends of the
    encoder if requested. Nothing changes before the first step: an adapter starts as zero.

    Args:
        sam: with a ViT encoder, or this project's own.
        rank: of each adapter.
        alpha: the adapters are scaled by alpha / rank; by default by 1.
        parts: of the attention, that get adapters: q, k, v, and o for the output projection.
        encoder_ends: whether patch embedding and neck are trained, as in the P²SAM paper.
        seed: of the adapters' first directions.

    Raises:
        InputError: the rank is not positive, unknown parts, or the model has adapters already.
        NotInstalledError: peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise NotInstalledError("LoRA needs peft; run: pip install 'adaptsam[train]'.") from error

    if rank < 1:
        raise InputError(f"The rank of LoRA must be at least 1, not {rank}.")
    if not parts or set(parts) - set(_PARTS):
        raise InputError(f"The parts with LoRA are some of q, k, v and o, not {parts!r}.")
    if has_lora(sam):
        raise InputError("The model has LoRA adapters already; merge them first.")
    for block in sam.image_encoder.blocks:
        block.attn.qkv = SplitQkv(block.attn.qkv)
    scale = rank if alpha is None else alpha
    targets = "|".join(_PARTS[part].replace(".", r"\.") for part in parts)
    layers = rf"blocks\.\d+\.attn\.({targets})|stages\.\d+\.\d+\.(expand|project)"
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=rf"image_encoder\.({layers})")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, sam)
    whole = _DECODER + _ENDS if encoder_ends else _DECODER
    for name, parameter in sam.named_parameters():
        parameter.requires_grad_(".lora_" in name or name.startswith(whole))


def has_lora(sam: Sam) -> bool:
    """Whether the model has adapters that are not merged."""
    return any(isinstance(block.attn.qkv, SplitQkv) for block in getattr(sam.image_encoder, "blocks", ()))


def merge_lora(sam: Sam) -> None:
    """Add the adapters to the weights they adapt and take them away, in place: a plain SAM again, outputs unchanged."""
    if not has_lora(sam):
        return
    from peft.tuners.lora import Conv2d as LoraConv2d
    from peft.tuners.lora import Linear as LoraLinear

    for block in sam.image_encoder.blocks:
        attention = block.attn
        for owner, name in ((attention, "proj"), *((attention.qkv, part) for part in "qkv")):
            layer = getattr(owner, name, None)
            if isinstance(layer, LoraLinear):
                layer.merge(safe_merge=True)
                setattr(owner, name, layer.get_base_layer())
        if isinstance(attention.qkv, SplitQkv):
            attention.qkv = attention.qkv.fused()
    adapted = [(name, x) for name, x in sam.image_encoder.named_modules() if isinstance(x, LoraConv2d)]
    for name, layer in adapted:
        layer.merge(safe_merge=True)
        owner, _, last = name.rpartition(".")
        setattr(sam.image_encoder.get_submodule(owner), last, layer.get_base_layer())


def trained_tensors(sam: Sam) -> dict[str, Tensor]:
    """Every tensor that training changes, of any shape, by name; buffers never are, SAM's are constants."""
    return {name: parameter.detach() for name, parameter in sam.named_parameters() if parameter.requires_grad}
