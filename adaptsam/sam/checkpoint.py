"""Checkpoints: published files and this project's own, read safely and told apart by their contents, not by names."""

from __future__ import annotations

import json
import logging
import pickle
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError, OutputError
from adaptsam.sam.architecture import SamConfig, build_sam
from adaptsam.sam.checkpoint_recognition import KINDS, Weights, fold_lora, plain_names, recognise
from adaptsam.sam.former_model import FORMER_KIND, former_model
from adaptsam.sam.safe_pickle import is_whole, load_pickled
from adaptsam.sam.weights_catalogue import known_file
from adaptsam.storage.atomic_files import replacing
from adaptsam.storage.bundled_models import bundled_folders
from adaptsam.storage.file_hashes import digests

FORMAT_VERSION = 1
METADATA_KEY = "adaptsam"
#: The models that come with AdaptSAM, by name.
BUNDLED = {"lite": "adaptsam_lite.safetensors"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model as it was read from a file.

    Attributes:
        sam: float32, in evaluation mode, on the CPU.
        config: its shape.
        kind: "vit_b", "vit_l", "vit_h", "vit_t", "medsam", or what the file calls itself.
        sha256: of the file.
        metadata: what else the file says about itself; for LoRA ones of P²SAM's authors "lora_rank" and
            "lora_reapplied"; otherwise empty for published files.
    """

    sam: Sam
    config: SamConfig
    kind: str
    sha256: str
    metadata: Mapping[str, Any]


def read_checkpoint(path: str | PathLike[str], *, kind: str | None = None, reapply_lora: bool = False) -> Checkpoint:
    """Read a model. Nothing in the file is ever executed.

    Args:
        path: the file.
        kind: one of :data:`~adaptsam.sam.checkpoint_recognition.KINDS`, to say what the contents cannot: MedSAM's
            weights look like vit_b's. None to recognise it; MedSAM's published file is, by its hash.
        reapply_lora: apply adapters that lie beside the weights; see
            :func:`~adaptsam.sam.checkpoint_recognition.fold_lora`.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, of an unknown kind or not of the given one, or its
            weights do not fit that kind.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"There is no model file at {path}; check the path, give a name from 'adaptsam weights list', or give none "
            "for the bundled model."
        )
    if kind is not None and kind not in KINDS:
        raise CheckpointError(f"There is no kind of model {kind!r}; known are {', '.join(KINDS)}.")
    weights, described = _read_safetensors(path) if _is_safetensors(path) else (_read_pickled(path), None)
    weights, rank = fold_lora(plain_names(weights), path, reapply=reapply_lora)
    sha256 = digests(path, ["sha256"])["sha256"]
    if described is None:
        config, kind = recognise(weights, path, kind or _published_kind(path, sha256))
        metadata: dict[str, Any] = {} if rank is None else {"lora_rank": rank, "lora_reapplied": reapply_lora}
        kind += " with LoRA reapplied" if reapply_lora else ""
    else:
        config, own_kind, metadata = _described(described, path)
        if own_kind == FORMER_KIND:
            raise CheckpointError(
                former_model(f"{path} holds", "give no checkpoint to use lite, or train it again from there")
            )
        if kind not in (None, own_kind):
            raise CheckpointError(f"{path} says that it is a {own_kind}, not a {kind}; leave the kind out.")
        kind = own_kind
    return Checkpoint(_fill(config, weights, path), config, kind, sha256, metadata)


def _published_kind(path: Path, sha256: str) -> str | None:
    known = known_file(path.stat().st_size, sha256)
    if known is None and "medsam" in path.name.lower():
        _log.warning(
            "%s is not the published MedSAM file; if it holds MedSAM's weights, say so (--checkpoint-kind medsam): "
            "they want another scaling of intensities.",
            path.name,
        )
    return known.kind if known else None


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
    tensors = {
        # Counters of batches are whole numbers and stay so.
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in sam.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"The weights {name} are not finite as {dtype}; nothing was saved.")
    if kind is None:
        kind = next((name for name, known in KINDS.items() if known == config), "custom")
    described = {"format_version": FORMAT_VERSION, "kind": kind, "config": config.to_dict(), **(metadata or {})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, {METADATA_KEY: json.dumps(described)})
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The model cannot be written to {path}: {error}.") from error


def bundled_checkpoint(name: str = "lite") -> Path:
    """A model that comes with AdaptSAM, in a source checkout or in an installed wheel.

    Args:
        name: a key of :data:`BUNDLED`.

    Raises:
        CheckpointError: it is in neither place.
    """
    candidates = [folder / BUNDLED[name] for folder in bundled_folders()]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"The bundled model {BUNDLED[name]} is not installed (looked in {candidates[0].parent} and "
        f"{candidates[1].parent}); install AdaptSAM again, or give the path of a SAM checkpoint."
    )


#: Of :mod:`adaptsam.finetune.adapter_file`, which stands above.
_ADAPTER_KEY = "adaptsam_adapter"


def _is_safetensors(path: Path) -> bool:
    """A safetensors file starts with the length of its JSON header, little-endian, and that header with a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[Weights, str | None]:
    try:
        with safe_open(path, framework="pt") as file:
            if _ADAPTER_KEY in (file.metadata() or {}):
                raise CheckpointError(
                    f"{path} is an adapter: what a training changed of a model, and not a whole one; give the "
                    "best.safetensors beside it, or read it with load_adapter and the model that it was trained on."
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
            return weights, (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise _damaged(path) from error


def _read_pickled(path: Path) -> Weights:
    try:
        # P²SAM's authors left the options of their training beside the weights: a Namespace holds values, nothing else.
        with torch.serialization.safe_globals([Namespace]):
            content = load_pickled(path, mapped=True)
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
        if weights and not all(is_whole(tensor) for tensor in weights.values()):
            raise _damaged(path)
        if weights:
            return weights
    raise CheckpointError(f"{path} holds no weights; give a SAM checkpoint (.pth from Meta, or .safetensors).")


def _described(text: str, path: Path) -> tuple[SamConfig, str, dict[str, Any]]:
    """Read the description in one of our own files."""
    try:
        described = json.loads(text)
        version = described.pop("format_version")
        if version != FORMAT_VERSION:
            told = str(version)[:20]
            raise CheckpointError(
                f"{path} was written by a newer AdaptSAM (format {told}, this reads {FORMAT_VERSION}); update it."
            )
        return SamConfig.from_dict(described.pop("config")), str(described.pop("kind")), described
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} does not describe its model as it should ({error}); save it again.") from error


def _fill(config: SamConfig, weights: Weights, path: Path) -> Sam:
    """A model of that shape with these weights, in float32. Each tensor is copied once, straight from the file."""
    expected = _shapes(config, weights, path)
    missing = [name for name in expected if name not in weights]
    if missing:
        raise CheckpointError(f"{path} lacks {len(missing)} tensors, first {missing[0]}; copy or download it again.")
    extra = [name for name in weights if name not in expected]
    if extra:
        raise CheckpointError(f"{path} holds {len(extra)} tensors that SAM does not have, first {extra[0]}.")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise CheckpointError(
                f"{path} is not usable: {name} has the shape {tuple(weights[name].shape)} instead of {tuple(shape)}."
            )
    sam = build_sam(config)
    for name, target in sam.state_dict().items():
        target.copy_(weights[name])
        if not target.isfinite().all():
            raise CheckpointError(f"{path} is not usable: {name} is not finite (NaN); train or download it again.")
    return sam


def _shapes(config: SamConfig, weights: Weights, path: Path) -> dict[str, torch.Size]:
    """The shape of every tensor that such a model has; no memory is taken for it, whatever the file claims."""
    try:
        config.check(most_blocks=len(weights))
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {name: tensor.shape for name, tensor in build_sam(config).state_dict().items()}
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError, AttributeError, IndexError) as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{path} describes a model that cannot be built ({reason}); save it again.") from error
