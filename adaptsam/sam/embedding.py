"""Embedding of one image, with the image's place in the model's frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Embedding:
    """The encoded image. Prompts, masks and logits refer to ``original_size``.

    Attributes:
        features: float32 (C, h, w), on the CPU or on the model's device.
        input_size: (h, w) of the resized image in pixels, before padding to the square input.
        original_size: (H, W) of the image as it was given, in pixels.
    """

    features: torch.Tensor
    input_size: tuple[int, int]
    original_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that the features take, in bytes."""
        return self.features.numel() * self.features.element_size()
