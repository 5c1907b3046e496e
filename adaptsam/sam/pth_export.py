"""A model as ``segment_anything`` reads it: a ``.pth`` with the plain state dictionary, float32."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import torch

from adaptsam.errors import InputError, OutputError
from adaptsam.sam.sam_model import SamModel
from adaptsam.storage.atomic_files import replacing


def save_pth(path: str | PathLike[str], model: SamModel) -> None:
    """Write what ``segment_anything.sam_model_registry[kind](checkpoint=path)`` reads, for vit_b, vit_l and vit_h.

    The file appears whole or not at all. Other models' weights have their own shapes, and need their own builder.

    Raises:
        InputError: the name does not end in .pth.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".pth":
        raise InputError(f"{path.name} is no name for segment_anything's weights; let it end in .pth.")
    weights = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.sam.state_dict().items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(weights, temporary)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError on a full disk
        raise OutputError(f"The weights cannot be written to {path} ({str(error).splitlines()[0]}).") from error
