"""Checkpoints: files from Meta and of this project, read safely and told apart by their contents, not their names."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError, OutputError
from adaptsam.sam.architecture import SMALL, VIT_B, VIT_H, VIT_L, SamConfig, build_sam
from adaptsam.sam.files import replacing

FORMAT_VERSION = 1
METADATA_KEY = "adaptsam"
BUNDLED_NAME = "adaptsam_small.safetensors"
_KINDS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H, "small": SMALL}
_META_KINDS = ("vit_b", "vit_l", "vit_h")

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model as it was read from a file.

    Attributes:
        sam: float32, in evaluation mode, on the CPU.
        config: its shape.
        kind: "vit_b", "vit_l", "vit_h", or what the file calls itself.
        sha256: of the file.
        metadata: what else the file says about itself; empty for Meta's files.
    """

    sam: Sam
    config: SamConfig
    kind: str
    sha256: str
    metadata: Mapping[str, Any]


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a model. Nothing in the file is ever executed.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, of an unknown kind, or its weights do not fit that kind.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no model file at {path}; check the path, or give none for the bundled model.")
    weights, described = _read_safetensors(path) if _is_safetensors(path) else (_read_pickled(path), None)
    weights = _plain_names(weights)
    if described is None:
        config, kind = _recognise(weights, path)
        metadata: dict[str, Any] = {}
    else:
        config, kind, metadata = _described(described, path)
    return Checkpoint(_fill(config, weights, path), config, kind, _sha256(path), metadata)


def save_checkpoint(
    path: str | PathLike[str],
    sam: Sam,
    config: SamConfig,
    *,
    kind: str | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to a safetensors file that :func:`read_checkpoint` reads. The file appears whole or not at all.

    Args:
        path: the file; an existing one is replaced.
        sam: the model.
        config: its shape.
        kind: what the model is called; None for the name of its shape, or "custom".
        dtype: torch.float16, half the size and exact to 3 digits, or torch.float32.
        metadata: anything JSON that shall stay with the weights: how they were trained, on what.

    Raises:
        CheckpointError: the weights are not finite, or too large for float16.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in sam.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"The weights {name} are not finite as {dtype}; nothing was saved.")
    if kind is None:
        kind = next((name for name, known in _KINDS.items() if known == config), "custom")
    described = {"format_version": FORMAT_VERSION, "kind": kind, "config": config.to_dict(), **(metadata or {})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, {METADATA_KEY: json.dumps(described)})
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The model cannot be written to {path}: {error}.") from error


def bundled_checkpoint() -> Path:
    """The small model that comes with AdaptSAM, in a source checkout or in an installed wheel.

    Raises:
        CheckpointError: it is in neither place.
    """
    package = Path(str(files("adaptsam.sam"))).parent
    candidates = (
        package / "_resources" / "models" / BUNDLED_NAME,
        package.parent / "Resources" / "models" / BUNDLED_NAME,
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"The bundled model {BUNDLED_NAME} is not installed (looked in {candidates[0].parent} and "
        f"{candidates[1].parent}); install AdaptSAM again, or give the path of a SAM checkpoint."
    )


def _is_safetensors(path: Path) -> bool:
    """A safetensors file starts with the length of its JSON header, little-endian, and that header with a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[Weights, str | None]:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
            return weights, (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise _damaged(path) from error


def _read_pickled(path: Path) -> Weights:
    zipped = zipfile.is_zipfile(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        forbidden = re.search(r"GLOBAL ([\w.]+)|class(?: |:)+([\w.]+)", str(error))
        if forbidden is None:
            raise _damaged(path) from error
        raise CheckpointError(
            f"{path} holds more than weights (it asks to run {forbidden[1] or forbidden[2]}) and was not read; "
            "save its state_dict alone, or use a file from a source you trust."
        ) from error
    except Exception as error:  # torch.load raises whatever the broken bytes lead it to
        raise _damaged(path) from error
    return _state_dict(content, path)


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is damaged or not a model file; copy or download it again.")


def _state_dict(content: object, path: Path) -> Weights:
    """The weights in what a file holds: directly, or under "model" or "state_dict"."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if isinstance(content, dict):
        weights = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if weights:
            return weights
    raise CheckpointError(f"{path} holds no weights; give a SAM checkpoint (.pth from Meta, or .safetensors).")


def _plain_names(weights: Weights) -> Weights:
    """Names as in segment_anything: without DataParallel's prefix, and with its own names where timm's are used."""
    plain: Weights = {}
    for name, tensor in weights.items():
        name = name.removeprefix("module.")
        if name.startswith("image_encoder."):
            name = name.replace(".mlp.fc1.", ".mlp.lin1.").replace(".mlp.fc2.", ".mlp.lin2.")
        plain[name] = tensor
    return plain


def _recognise(weights: Weights, path: Path) -> tuple[SamConfig, str]:
    """The kind of Meta's files, from names and shapes."""
    try:
        found = _shape_of(weights)
    except (KeyError, IndexError, ValueError) as error:
        example = ", ".join(list(weights)[:2])
        raise CheckpointError(
            f"{path} is not a SAM checkpoint: it has no {error.args[0] if error.args else 'image encoder'} among its "
            f"{len(weights)} tensors ({example}, …); give a ViT-B, ViT-L or ViT-H file from Meta, or one of AdaptSAM."
        ) from error
    for kind in _META_KINDS:
        if replace(_KINDS[kind], image_size=found.image_size) == found:
            return found, kind
    raise CheckpointError(
        f"{path} is a SAM of an unknown kind: its encoder has {found.encoder_depth} blocks of {found.encoder_dim} "
        "channels, where ViT-B has 12 of 768, ViT-L 24 of 1024 and ViT-H 32 of 1280, or its other parts differ from "
        "Meta's; convert it with AdaptSAM's save_checkpoint, which writes the shape down."
    )


def _shape_of(weights: Weights) -> SamConfig:
    """Everything but the number of decoder heads and the pixel statistics can be read from the shapes."""
    blocks = "image_encoder.blocks."
    depth = 1 + max((int(name.split(".")[2]) for name in weights if name.startswith(blocks)), default=-1)
    _, grid, _, width = weights["image_encoder.pos_embed"].shape
    patch = weights["image_encoder.patch_embed.proj.weight"].shape[-1]
    spans = [weights[f"{blocks}{i}.attn.rel_pos_h"].shape for i in range(depth)]
    windowed = [(span[0] + 1) // 2 for span in spans if span[0] != 2 * grid - 1]
    return SamConfig(
        image_size=grid * patch,
        patch_size=patch,
        encoder_dim=width,
        encoder_depth=depth,
        encoder_heads=width // spans[0][1],
        global_attention=tuple(i for i, span in enumerate(spans) if span[0] == 2 * grid - 1),
        window_size=windowed[0] if windowed else 0,
        embed_dim=weights["prompt_encoder.no_mask_embed.weight"].shape[1],
        decoder_mlp_dim=weights["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        mask_channels=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )


def _described(text: str, path: Path) -> tuple[SamConfig, str, dict[str, Any]]:
    """What one of our own files says about itself."""
    try:
        described = json.loads(text)
        version = described.pop("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} was written by a newer AdaptSAM (format {version}, this reads {FORMAT_VERSION}); update it."
            )
        return SamConfig.from_dict(described.pop("config")), str(described.pop("kind")), described
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe its model as it should ({error}); save it again.") from error


def _fill(config: SamConfig, weights: Weights, path: Path) -> Sam:
    """A model of that shape with these weights, in float32. Each tensor is copied once, straight from the file."""
    try:
        sam = build_sam(config)
    except (ValueError, TypeError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} describes a model that cannot be built ({error}); save it again.") from error
    expected = sam.state_dict()
    missing = [name for name in expected if name not in weights]
    if missing:
        raise CheckpointError(f"{path} lacks {len(missing)} tensors, first {missing[0]}; copy or download it again.")
    extra = [name for name in weights if name not in expected]
    if extra:
        raise CheckpointError(f"{path} holds {len(extra)} tensors that SAM does not have, first {extra[0]}.")
    for name, target in expected.items():
        source = weights[name]
        if source.shape != target.shape:
            raise CheckpointError(
                f"{path} is not usable: {name} has the shape {tuple(source.shape)} instead of {tuple(target.shape)}."
            )
        target.copy_(source)
        if not target.isfinite().all():
            raise CheckpointError(f"{path} is not usable: {name} is not finite (NaN); train or download it again.")
    return sam


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
