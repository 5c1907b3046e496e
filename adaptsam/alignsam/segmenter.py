"""The segmenter that an agent prompts: points in, a mask out, step by step. Without another one it is SAM's decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.progress import Progress, silent
from adaptsam.sam import Embedding, PromptSession, SamModel


class Segmenter(Protocol):
    """B images, each with its points so far, equally many on each."""

    @property
    def iou(self) -> Tensor | None:
        """Its own estimate of the last masks' intersection over union, float32 (B,); None where it makes none."""

    def restart(self) -> None:
        """Forget all points."""

    def add(self, points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        """Take points (B, n, 2), x then y in pixels of each image, with labels (B, n): 1 foreground, 0 background."""

    def decode(self) -> Tensor:
        """The masks of all points so far: logits float32 (B, 4h, 4w) in the model's square, above 0 inside."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the images."""


#: Makes a segmenter for the images of a batch.
Session = Callable[[Sequence[Embedding]], Segmenter]


class Encoder(Protocol):
    """Interface of the model behind an agent's features; :class:`~adaptsam.sam.SamModel` is one."""

    sha256: str
    device: torch.device

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""

    @property
    def grid_size(self) -> int:
        """h = w, the side of the grid of features."""

    @property
    def embed_dim(self) -> int:
        """c, the channels of a feature."""

    def upscale(self, logits: Tensor, embedding: Embedding) -> Tensor:
        """Logits (…, 4h, 4w) in the image's own pixels, (…, H, W)."""


class Embedder(Protocol):
    """Encodes images once; :class:`~adaptsam.sam.EmbeddingStore` is one."""

    @property
    def model(self) -> Encoder:
        """The encoder."""

    def get(self, images: Sequence[NDArray[np.uint8]], progress: Progress = silent) -> list[Embedding]:
        """The embeddings of images uint8 (H, W, 3) or (H, W)."""

    def key(self, image: NDArray[np.uint8]) -> str:
        """Name an image, uint8 (H, W) or (H, W, 3), by its contents."""


def open_session(model: Encoder, embeddings: Sequence[Embedding], session: Session | None) -> Segmenter:
    """The segmenter that was handed in, or else SAM's decoder.

    Raises:
        InputError: the model has no decoder, and none was handed in.
    """
    if session is not None:
        return session(embeddings)
    if not isinstance(model, SamModel):
        raise InputError("This model has no decoder of points; hand in a segmenter as 'session'.")
    return PromptSession(model.sam, embeddings)
