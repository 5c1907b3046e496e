"""Images and masks filled up to the square that a model reads. No training library is needed for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.sam import SamConfig


def padded(config: SamConfig, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """An image and its label, filled at the bottom and the right.

    The model scales what it is given, the filling too. So the filling is what becomes the 0 that SAM pads with: its
    mean colour, or the image's darkest value where the model scales each image by itself.

    Args:
        config: of the model, which reads images of S pixels a side.
        image: (3, h, w), the longer side S, 0 to 255.
        label: (..., h, w).

    Returns:
        float32 (3, S, S), and (..., S, S) with zeros beyond the image.
    """
    size = config.image_size
    image = image.float()
    fill = image.amin() if config.scaling == "min-max" else torch.tensor(config.pixel_mean)[:, None, None]
    square = torch.empty(3, size, size)
    square[:] = fill
    square[:, : image.shape[-2], : image.shape[-1]] = image
    return square, functional.pad(label, (0, size - label.shape[-1], 0, size - label.shape[-2]))
