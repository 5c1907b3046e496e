"""Published checkpoints: how they name their weights, and what shape and kind of SAM they are.

Four layouts are known, distinguished by the names alone:

- Meta's, and MedSAM's, which has the same;
- MobileSAM's, with a TinyViT encoder (``image_encoder.layers.…``);
- that of P²SAM's authors: their encoder comes from timm's ``samvit_*_patch16``, which calls the perceptron's layers
  ``fc1`` and ``fc2``; the LoRA ones hold ``lora_A`` and ``lora_B`` beside the weights;
- this project's, which says in its metadata what it is; see :mod:`adaptsam.sam.checkpoint`.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path

import torch

from adaptsam.errors import CheckpointError
from adaptsam.sam.architecture import LITE, MEDSAM, VIT_B, VIT_H, VIT_L, VIT_T, SamConfig
from adaptsam.sam.tiny_vit import TinyVitConfig

Weights = dict[str, torch.Tensor]

KINDS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H, "vit_t": VIT_T, "medsam": MEDSAM, "lite": LITE}
# MedSAM's weights have the names and shapes of vit_b; only the file's hash or its owner can say that they are MedSAM's.
_RECOGNISED = ("vit_b", "vit_l", "vit_h", "vit_t")
_VIT, _TINY = "image_encoder.blocks.", "image_encoder.layers."
# Heads of classifiers, which the encoders were cut off from and never use.
_UNUSED = ("image_encoder.head.", "image_encoder.norm_head.")
_FOREIGN = {
    "image_encoder.trunk.": "a SAM 2, which AdaptSAM cannot run",
    "vision_encoder.": "a SAM under the names of Hugging Face's transformers; get the file from its authors",
}
_LOOKED_FOR = (
    "Meta's vit_b, vit_l or vit_h or MedSAM (image_encoder.blocks.…), MobileSAM's vit_t (image_encoder.layers.…), "
    "the P²SAM authors' fine-tuned ones (image_encoder.blocks.….mlp.fc1), and AdaptSAM's own .safetensors"
)


def plain_names(weights: Weights) -> Weights:
    """Names as the modules have them: no DataParallel prefix, no timm names in a ViT, no heads of classifiers."""
    plain: Weights = {}
    for name, tensor in weights.items():
        name = name.removeprefix("module.")
        if name.startswith(_VIT):
            name = name.replace(".mlp.fc1.", ".mlp.lin1.").replace(".mlp.fc2.", ".mlp.lin2.")
        if not name.startswith(_UNUSED):
            plain[name] = tensor
    return plain


def fold_lora(weights: Weights, path: Path, *, reapply: bool) -> tuple[Weights, int | None]:
    """Weights without adapters beside them.

    The authors' files were saved in evaluation mode, where the adapters are already part of the weights.

    Args:
        weights: with ``….lora_A`` (parts·r, in) and ``….lora_B`` (out, r) beside some ``….weight`` (out, in).
        path: where they are from, for messages.
        reapply: add B·A / r once more, as the authors' test code does to such a file; the right thing for a file that
            was saved with adapters that are not merged.

    Returns:
        The weights, and the rank r; None where there are no adapters.

    Raises:
        CheckpointError: an adapter does not fit its weight, or there is none and ``reapply`` requests it.
    """
    plain = {name: tensor for name, tensor in weights.items() if ".lora_" not in name}
    adapted = [name.removesuffix("lora_A") for name in weights if name.endswith(".lora_A")]
    if not adapted:
        if reapply:
            raise CheckpointError(f"{path} has no LoRA adapters that could be applied again; leave that option out.")
        return plain, None
    rank = 0
    for layer in adapted:
        try:
            weight, down, up = plain[f"{layer}weight"], weights[f"{layer}lora_A"], weights[f"{layer}lora_B"]
            rank = up.shape[1]
            update = _update(down.float(), up.float(), rank)
            if update.shape != weight.shape:
                raise ValueError
        except (KeyError, IndexError, ValueError, ZeroDivisionError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} is not usable: its LoRA adapter {layer.rstrip('.')} does not fit the weight; save it again."
            ) from error
        if reapply:
            plain[f"{layer}weight"] = weight.float() + update
    return plain, rank


def _update(down: torch.Tensor, up: torch.Tensor, rank: int) -> torch.Tensor:
    """B·A / r, part by part where queries, keys and values have an adapter each in one fused layer."""
    parts = len(down) // rank
    pairs = zip(up.chunk(parts), down.chunk(parts), strict=True)
    return torch.cat([above @ below for above, below in pairs]) / rank


def recognise(weights: Weights, path: Path, kind: str | None = None) -> tuple[SamConfig, str]:
    """The shape and the kind of a published checkpoint.

    Args:
        weights: under plain names, without adapters.
        path: where they are from, for messages.
        kind: one of :data:`KINDS` where it is known, as it must be for MedSAM; None to see it from names and shapes.

    Raises:
        CheckpointError: it is none of the known ones, or not of the given kind.
    """
    found = _shape_of(weights, path)
    for known in (kind,) if kind else _RECOGNISED:
        config = KINDS[known]
        if found.tiny_vit is None:
            config = replace(config, image_size=found.image_size)
        if replace(config, image_size=found.image_size, scaling=found.scaling) == found:
            return config, known
    seen = (
        f"its encoder is a TinyViT of {found.tiny_vit.dims} channels"
        if found.tiny_vit
        else f"its encoder has {found.encoder_depth} blocks of {found.encoder_dim} channels"
    )
    if kind:
        raise CheckpointError(f"{path} is not a {kind}: {seen}, or its other parts differ; choose its true kind.")
    raise CheckpointError(
        f"{path} is a SAM of an unknown kind: {seen}, where ViT-B has 12 of 768, ViT-L 24 of 1024, ViT-H 32 of 1280 "
        f"and MobileSAM {TinyVitConfig().dims}, or its other parts differ from theirs; convert "
        "it with AdaptSAM's save_checkpoint, which writes the shape down."
    )


def _shape_of(weights: Weights, path: Path) -> SamConfig:
    """The shape that names and sizes tell, without the heads of the decoder and the scaling of intensities."""
    try:
        if any(name.startswith(_TINY) for name in weights):
            return _with_decoder(_tiny_shape(weights), weights)
        return _with_decoder(_vit_shape(weights), weights)
    except (KeyError, IndexError, ValueError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "image encoder of a known shape"
        example = ", ".join(list(weights)[:2])
        foreign = next((what for start, what in _FOREIGN.items() if any(n.startswith(start) for n in weights)), None)
        guess = f"it is {foreign}" if foreign else f"no {missing} is among its {len(weights)} tensors ({example}, …)"
        raise CheckpointError(
            f"{path} is not a SAM checkpoint that AdaptSAM knows: {guess}; looked for {_LOOKED_FOR}."
        ) from error


def _vit_shape(weights: Weights) -> SamConfig:
    depth = 1 + max((int(name.split(".")[2]) for name in weights if name.startswith(_VIT)), default=-1)
    _, grid, _, width = weights["image_encoder.pos_embed"].shape
    patch = weights["image_encoder.patch_embed.proj.weight"].shape[-1]
    spans = [weights[f"{_VIT}{i}.attn.rel_pos_h"].shape for i in range(depth)]
    windowed = [(span[0] + 1) // 2 for span in spans if span[0] != 2 * grid - 1]
    return SamConfig(
        image_size=grid * patch,
        patch_size=patch,
        encoder_dim=width,
        encoder_depth=depth,
        encoder_heads=width // spans[0][1],
        global_attention=tuple(i for i, span in enumerate(spans) if span[0] == 2 * grid - 1),
        window_size=windowed[0] if windowed else 0,
    )


def _tiny_shape(weights: Weights) -> SamConfig:
    """The shape of a TinyViT. Nothing in it depends on the input's size: that of the kind is taken."""
    parts = [name.split(".") for name in weights if name.startswith(_TINY)]
    blocks = {(int(part[2]), int(part[4])) for part in parts if part[3] == "blocks"}
    depths = tuple(sum(1 for s, _ in blocks if s == stage) for stage in range(1 + max(s for s, _ in blocks)))
    later = range(1, len(depths))
    biases = [weights[f"{_TINY}{stage}.blocks.0.attn.attention_biases"].shape for stage in later]
    assumed = TinyVitConfig()
    stages = TinyVitConfig(
        dims=(
            weights["image_encoder.patch_embed.seq.2.c.weight"].shape[0],
            *(weights[f"{_TINY}{stage}.blocks.0.attn.proj.weight"].shape[0] for stage in later),
        ),
        depths=depths,
        # The first stage is convolutional: what is written down for it is never used.
        heads=(assumed.heads[0], *(shape[0] for shape in biases)),
        windows=(assumed.windows[0], *(isqrt(shape[1]) for shape in biases)),
    )
    return replace(VIT_T, tiny_vit=stages)


def _with_decoder(config: SamConfig, weights: Weights) -> SamConfig:
    return replace(
        config,
        embed_dim=weights["prompt_encoder.no_mask_embed.weight"].shape[1],
        decoder_mlp_dim=weights["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        mask_channels=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
