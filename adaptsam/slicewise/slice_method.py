"""Interface of a slice method. The loop is passed one and imports none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class SliceJob:
    """One structure on one pair of slices, both in the same kind of view.

    Images are uint8 (H, W, 3) and (H', W', 3), masks bool; ``region`` (H', W') is where positive points may lie, None
    for anywhere. ``hint`` (H', W') float32 are logits of a mask to begin with, None for none.
    """

    structure: str
    prior_image: np.ndarray
    prior_mask: np.ndarray
    target_image: np.ndarray
    region: np.ndarray | None = None
    hint: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SliceResult:
    """``logits`` float32 (H', W'), ``points`` (n, 2) as x, y in target view pixels with ``labels`` (n,) 1 or 0.

    ``distance`` tells how unlike the prior's features those under the mask are; infinite if the mask is empty.
    """

    logits: np.ndarray
    distance: float
    points: np.ndarray
    labels: np.ndarray
    predicted_iou: float = 1.0


class SliceMethod(Protocol):
    """A segmentation method for single slices, for example P²SAM over an embedding store."""

    @property
    def image_size(self) -> int:
        """The side of the model's input in pixels."""

    @property
    def grid_size(self) -> int:
        """The side of the model's feature grid in patches."""

    @property
    def workers(self) -> int:
        """Number of threads that may call the method at once, each for slices of its own."""

    @property
    def encoded(self) -> int:
        """Number of images that went through the image encoder so far."""

    def usable(self, image: np.ndarray, mask: np.ndarray) -> bool:
        """Whether a prior slice, uint8 (H, W, 3) with bool (H, W), has a foreground patch to learn from."""

    def segment(self, jobs: Sequence[SliceJob]) -> list[SliceResult | None]:
        """One result per job; None where the prior slice is not usable."""

    def prior_distances(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Distances (n − 1,) of each of n prior slices to the next one, under their given masks.

        The measure is the one of :attr:`SliceResult.distance`; NaN where a mask has no patch.
        """
