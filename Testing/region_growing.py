"""A segmenter that is no SAM: from each point it grows the region of like gray values. Pictures of blobs to try it on.

Its features are gray values, so that what an agent learns here owes nothing to an image encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from adaptsam.alignsam import TrainingImage
from adaptsam.progress import Progress, silent
from adaptsam.sam import Embedding

SIDE, TOLERANCE = 16, 0.12
TARGET, OTHER = 0.9, 0.5
#: Logits of in and out. A mask that is too sure leaves nothing of the features beside it (Eq. 4).
SURE = 1.0


class GrayValues:
    """The "encoder": the image at 16×16, as gray value, its square, its rest and a constant."""

    sha256 = "0" * 64
    device = torch.device("cpu")
    image_size, grid_size, embed_dim = 4 * SIDE, SIDE, 4

    def upscale(self, logits: Tensor, embedding: Embedding) -> Tensor:
        sized = torch.nn.functional.interpolate(logits.reshape(-1, 1, *logits.shape[-2:]), embedding.original_size)
        return sized.reshape(*logits.shape[:-2], *embedding.original_size)


class GrayStore:
    """Encodes images of 64×64 pixels."""

    model = GrayValues()

    def get(self, images: Sequence[NDArray[np.uint8]], progress: Progress = silent) -> list[Embedding]:
        return [Embedding(_features(image), (64, 64), (64, 64)) for image in images]

    def key(self, image: NDArray[np.uint8]) -> str:
        return hashlib.sha256(image.tobytes()).hexdigest()


def _features(image: NDArray[np.uint8]) -> Tensor:
    gray = torch.from_numpy(image).float().reshape(SIDE, 4, SIDE, 4).mean((1, 3)) / 255
    return torch.stack([gray, gray**2, 1 - gray, torch.ones_like(gray)])


class RegionGrowing:
    """What positive points reach over like gray values, without what negative points reach."""

    iou = None

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        self.gray = [embedding.features[0].numpy() for embedding in embeddings]
        self.restart()

    def restart(self) -> None:
        self.points: list[list[tuple[int, int, int]]] = [[] for _ in self.gray]

    def add(self, points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        for own, places, signs in zip(self.points, points, labels, strict=True):
            own += [
                (int(y + 0.5) // 4, int(x + 0.5) // 4, int(sign)) for (x, y), sign in zip(places, signs, strict=True)
            ]

    def decode(self) -> Tensor:
        masks = np.stack([self._grown(gray, own) for gray, own in zip(self.gray, self.points, strict=True)])
        logits = torch.from_numpy(np.where(masks, SURE, -SURE).astype(np.float32))
        return logits.repeat_interleave(4, 1).repeat_interleave(4, 2)

    def keep(self, rows: Sequence[int]) -> None:
        self.gray, self.points = [self.gray[row] for row in rows], [self.points[row] for row in rows]

    @staticmethod
    def _grown(gray: NDArray[np.float32], points: Sequence[tuple[int, int, int]]) -> NDArray[np.bool_]:
        reached = [np.zeros_like(gray, bool), np.zeros_like(gray, bool)]
        for y, x, sign in points:
            regions, _ = ndimage.label(np.abs(gray - gray[y, x]) < TOLERANCE)
            reached[sign] |= regions == regions[y, x]
        return reached[1] & ~reached[0]


class Silence(RegionGrowing):
    """Answers every point with an empty mask, and is sure of it."""

    def decode(self) -> Tensor:
        return torch.full((len(self.gray), 4 * SIDE, 4 * SIDE), -30.0)


def blobs(seed: int) -> TrainingImage:
    """Two bright blobs, the target, and two gray ones, on dark ground: one point never reaches the whole target."""
    random = np.random.default_rng(seed)
    image, mask = np.full((64, 64), 0.1), np.zeros((64, 64), bool)
    corners = random.permutation([(4, 4), (4, 36), (36, 4), (36, 36)])
    for number, corner in enumerate(corners):
        (top, left), (height, width) = corner + random.integers(0, 3, 2) * 4, 4 * random.integers(3, 5, 2)
        place = np.s_[top : top + height, left : left + width]
        image[place] = TARGET if number < 2 else OTHER
        mask[place] = number < 2
    return TrainingImage(np.rint(255 * image).astype(np.uint8), mask)
