"""Hash of a model's weights, the name by which embeddings, agents and adapters know their model."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def hash_weights(model: nn.Module) -> str:
    """SHA-256, as hex digits, of a model's names, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
