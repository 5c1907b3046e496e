"""Adapter files: every trained tensor, how it was trained, and the model that it belongs to."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError, InputError, OutputError
from adaptsam.finetune.lora import trained_tensors
from adaptsam.finetune.tuning import Tuning, merged
from adaptsam.sam import SamModel
from adaptsam.sam.former_model import FORMER_SHA256, former_model
from adaptsam.storage.atomic_files import replacing

_KEY = "adaptsam_adapter"
_VERSION = 1
_HIGHEST_RANK = 1024


def save_adapter(
    path: str | PathLike[str], sam: Sam, tuning: Tuning, base_sha256: str, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write what was trained of a model. The file appears whole or not at all.

    Args:
        path: the file, .safetensors; an existing one is replaced.
        sam: after ``tuning.apply`` and training.
        tuning: how it was trained.
        base_sha256: of the model that the training started from.
        metadata: anything JSON: data, settings, scores.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in trained_tensors(sam).items()}
    described = {
        "format_version": _VERSION,
        "tuning": tuning.to_dict(),
        "base_sha256": base_sha256,
        "metadata": dict(metadata or {}),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, {_KEY: json.dumps(described)})
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The adapter cannot be written to {path}: {error}.") from error


def load_adapter(path: str | PathLike[str], base: SamModel) -> SamModel:
    """The model that a training made of ``base``, which is left as it is.

    LoRA comes merged into the weights: the same outputs, at the plain model's speed.

    Raises:
        CheckpointError: the file is missing or damaged, of another version, or belongs to another model.
    """
    path = Path(path)
    described, tensors = _read(path)
    if described["base_sha256"] == FORMER_SHA256:
        raise CheckpointError(former_model(f"{path} was trained on", "train it again on lite"))
    if described["base_sha256"] != base.sha256:
        raise CheckpointError(
            f"{path} was trained on another model (SHA-256 {described['base_sha256'][:12]}…, and this is "
            f"{base.sha256[:12]}…); give the one it was trained on."
        )
    sam = copy.deepcopy(base.sam)
    _apply(described["tuning"], sam, path)
    parameters = trained_tensors(sam)
    if set(parameters) != set(tensors):
        odd = sorted(set(parameters) ^ set(tensors))[0]
        raise CheckpointError(f"{path} does not fit the model ({odd} is only in one of them); train it again.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != tensors[name].shape:
                raise CheckpointError(f"{path} does not fit the model: {name} has another shape; train it again.")
            if not tensors[name].isfinite().all():
                raise CheckpointError(f"{path} is not usable: {name} is not finite (NaN); train it again.")
            parameter.copy_(tensors[name])
    merged(sam)
    sam.requires_grad_(False)
    return SamModel.from_sam(sam, base.config, kind=base.kind, device=base.device)


def _apply(tuning: dict[str, Any], sam: Sam, path: Path) -> None:
    """Add what was trained; a forged file must not make adapters that fill the memory."""
    try:
        rank = tuning["settings"].get("rank", 1)
        if type(rank) is not int or rank > _HIGHEST_RANK:
            raise ValueError(f"the rank is {rank!r}")
        Tuning(**tuning).apply(sam)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, InputError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise CheckpointError(
            f"{path} does not say as it should how it was trained ({reason}); get it again."
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"There is no adapter file at {path}; check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not an adapter file; copy it again.") from error
    if not isinstance(described, dict) or not {"format_version", "tuning", "base_sha256"} <= set(described):
        raise CheckpointError(f"{path} is not an adapter file of AdaptSAM; a whole model is given as the checkpoint.")
    if not isinstance(described["tuning"], dict) or not isinstance(described["base_sha256"], str):
        raise CheckpointError(f"{path} does not say as it should how it was trained; get it again.")
    if described["format_version"] != _VERSION:
        version = str(described["format_version"])[:20]
        raise CheckpointError(f"{path} was written by a newer AdaptSAM (format {version}, this reads {_VERSION}).")
    return described, tensors
