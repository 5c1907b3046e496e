"""The state: the image's features, weighted by the mask so far (Eq. 4), on the square canvas of the actions.

SAM sees an image in its own proportions, in a square that is filled up at the bottom and the right. The agent sees the
canvas: the part of SAM's grid that shows the image, stretched to the whole grid. For a square image, as in the paper,
the two are the same and nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adaptsam.sam import Embedding


@dataclass(frozen=True, eq=False)
class State:
    """State of B images at one moment: features and masks.

    Attributes:
        features: float32 (B, c, h, w), from SAM's image encoder, on the canvas.
        mask: float32 (B, h, w), the probability of foreground by the mask so far; 1 before any prompt.
        available: bool (B, N), the actions that may be taken.
    """

    features: Tensor
    mask: Tensor
    available: Tensor

    @property
    def product(self) -> Tensor:
        """s_t of Eq. 4, float32 (B, c, h, w)."""
        return self.features * self.mask[:, None]


class Canvas:
    """Placement of a batch of images in SAM's square.

    Args:
        embeddings: of the images.
        image_size: side of SAM's square in pixels.
        device: where the maps are.
    """

    def __init__(self, embeddings: Sequence[Embedding], image_size: int, device: torch.device) -> None:
        sizes = [embedding.input_size for embedding in embeddings]
        self._extent = torch.tensor(sizes, dtype=torch.float32, device=device) / image_size
        self._square = all(size == (image_size, image_size) for size in sizes)

    def stretch(self, maps: Tensor) -> Tensor:
        """The part of maps (B, c, h, w) on SAM's square that shows the image, as (B, c, h, w)."""
        if self._square:
            return maps
        height, width = self._extent.unbind(1)
        zero = torch.zeros_like(height)
        rows = [torch.stack([width, zero, width - 1], 1), torch.stack([zero, height, height - 1], 1)]
        grid = functional.affine_grid(torch.stack(rows, 1), list(maps.shape), align_corners=False)
        return functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)

    def probability(self, logits: Tensor) -> Tensor:
        """M of Eq. 4: the sigmoid of low-resolution logits (B, 4h, 4w), averaged over each cell, (B, h, w)."""
        return self.stretch(functional.avg_pool2d(logits.sigmoid()[:, None], 4))[:, 0]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the images."""
        self._extent = self._extent[list(rows)]


def map_to_canvas(values: NDArray[np.bool_] | NDArray[np.floating], grid: tuple[int, int]) -> Tensor:
    """A mask or map (H, W) over a whole image as float32 (h, w): each cell has the mean of what it covers."""
    plane = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return functional.interpolate(plane[None, None], grid, mode="area")[0, 0]
