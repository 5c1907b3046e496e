"""A conversation with SAM about several images: prompts are added step by step, and every step decodes all images.

What does not change between steps (the images' features and positions, what the decoder's first layer makes of them,
the tokens of earlier prompts) is prepared once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from adaptsam.errors import InputError
from adaptsam.sam.batched_decoding import check_features, requests_at_once, stack_features
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.mask_decoder import first_image_side, run_decoder
from adaptsam.sam.prompt_encoder import DecodeRequest, embed_mask_inputs, embed_tokens, prompt_tokens


class PromptSession:
    """Points on B images, equally many on each, and the masks that follow from them.

    Equal to :func:`adaptsam.sam.batched_decoding.decode` with all points so far and one mask an image.

    Args:
        sam: the model.
        embeddings: of the images; their sizes may differ.

    Attributes:
        iou: float32 (B,), SAM's own estimate of the last decoded masks' intersection over union; None before.

    Raises:
        InputError: there is no image, or an embedding does not have the model's shape.
    """

    def __init__(self, sam: Sam, embeddings: Sequence[Embedding]) -> None:
        if not embeddings:
            raise InputError("A session needs at least one image.")
        for embedding in embeddings:
            check_features(sam, embedding)
        self._sam = sam
        self._embeddings = list(embeddings)
        with torch.no_grad():
            self._position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2).contiguous()
            dense = embed_mask_inputs(sam.prompt_encoder, [None] * len(self._embeddings))
            self._image = stack_features(self._embeddings, sam.device) + dense
            self._first = first_image_side(sam.mask_decoder, self._image, self._position)
        self.restart()

    def __len__(self) -> int:
        return len(self._embeddings)

    def restart(self) -> None:
        """Forget all points."""
        self._tokens = self._image.new_zeros(len(self), 0, self._image.shape[-1])
        self.iou: torch.Tensor | None = None

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the images."""
        self._embeddings = [self._embeddings[row] for row in rows]
        self._image, self._tokens = self._image[list(rows)], self._tokens[list(rows)]
        self._first = self._first[list(rows)]
        self.iou = None if self.iou is None else self.iou[list(rows)]

    def add(self, points: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        """Add points to every image.

        Args:
            points: (B, n, 2), x then y, in pixels of each original image.
            labels: (B, n), 1 for foreground and 0 for background.

        Raises:
            InputError: the numbers of images, points and labels do not match, or a value is not finite.
        """
        if len(points) != len(self) or len(labels) != len(self):
            raise InputError(f"{len(points)} lists of points were given for {len(self)} images; give one to each.")
        size = self._sam.image_encoder.img_size
        rows = zip(self._embeddings, points, labels, strict=True)
        new = [prompt_tokens(DecodeRequest(embedding, *prompt), size) for embedding, *prompt in rows]
        with torch.no_grad():
            # The last token is SAM's "not a point", which stays the last one.
            tokens, _ = embed_tokens(self._sam.prompt_encoder, new)
            self._tokens = torch.cat([self._tokens[:, :-1], tokens], dim=1)

    def decode(self) -> torch.Tensor:
        """The masks of all points so far: low-resolution logits, float32 (B, 4h, 4w), on the model's device."""
        size = requests_at_once(self._sam)
        real = torch.ones(self._tokens.shape[:2], dtype=torch.bool, device=self._sam.device)
        with torch.no_grad():
            chunks = [
                run_decoder(
                    self._sam.mask_decoder,
                    self._image[start : start + size],
                    self._position,
                    self._tokens[start : start + size],
                    real[start : start + size],
                    None,
                    multimask=False,
                    first=self._first[start : start + size],
                )
                for start in range(0, len(self), size)
            ]
        self.iou = torch.cat([iou[:, 0] for _, iou in chunks])
        return torch.cat([logits[:, 0] for logits, _ in chunks])
