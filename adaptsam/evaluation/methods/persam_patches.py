"""Patches of the outlined image that PerSAM learns from, as its published code has it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torch.nn import functional

from adaptsam.p2sam.part_features import Patches, foreground_patches
from adaptsam.sam import SamModel

#: The red of PerSeg's masks, which PerSAM's code reads.
MASK_VALUE = 128


def published_patches(model: SamModel, mask: np.ndarray, value: int = MASK_VALUE) -> Tensor:
    """The patches (h, w), bool on the CPU, of the model's grid that a mask bool (H, W) covers for PerSAM.

    persam.py (Zhang et al., 2023) hands the mask to ``Sam.preprocess``: less the mean of red and by its deviation like
    an image, then padded with 0 and brought to the grid bilinearly; foreground is above 0. A mask of value 128 is so
    little above the mean that a patch counts from 97 % of coverage on, one of 255 from 49 % on.

    Where that leaves no patch, the published code gives NaN. Here half of a patch is enough then, as in P²SAM's.

    Args:
        model: its input size, grid and statistics of red are used.
        mask: of the outlined image.
        value: of the mask's pixels in the file that PerSAM would read, 0 to 255.
    """
    size, grid = model.image_size, model.grid_size
    resized = torch.from_numpy(ResizeLongestSide(size).apply_image(mask.astype(np.uint8) * np.uint8(value)))
    normalised = (resized - model.config.pixel_mean[0]) / model.config.pixel_std[0]
    height, width = normalised.shape
    framed = functional.pad(normalised, (0, size - width, 0, size - height))
    found = functional.interpolate(framed[None, None], size=(grid, grid), mode="bilinear", align_corners=False)[0, 0]
    covered = found > 0
    return covered if covered.any() else foreground_patches(model, mask)


Coverage = Literal["published", "half"]

PATCHES: dict[Coverage, Patches] = {"published": published_patches, "half": foreground_patches}
"""By the name of the rivals' option."""


def row(name: str, title: str, coverage: Coverage) -> tuple[str, str]:
    """A rival's name on the command line and its title in tables; as published is not said."""
    return (name, title) if coverage == "published" else (f"{name}-{coverage}", f"{title}, {coverage} a patch")
