"""Novelty: whether an image is of the kind that an agent learnt from, by SAM's features alone.

An agent that has seen chests takes the most lung-like part of a thigh for a lung: its module was never taught what a
thigh is. So its file keeps how the training images look to SAM. An image is described by the mean and the deviation of
each channel over the places that show it. Its novelty is the root mean square of the description's distance from the
training images' mean, channel by channel in units of their spread. Beyond the limit nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from adaptsam.errors import InputError
from adaptsam.sam import Embedding

#: The least spread of a channel, as a share of that of all: images of one scanner differ little in some.
_FLOOR = 0.1
#: The limit is so many times the novelty that this share of the images held back does not pass. Training images alone
#: say less of other patients.
MARGIN, MARGIN_ALONE, SHARE = 1.25, 1.75, 0.95
#: With fewer images than these their spread says nothing.
LEAST_IMAGES = 5


@dataclass(frozen=True, eq=False)
class Novelty:
    """The kind of images that an agent knows.

    Attributes:
        mean, spread: float32 (2c,), of the descriptions of the training images; the spread is above 0.
        limit: the novelty up to which an image is of that kind, above 0.
    """

    mean: NDArray[np.float32] = field(repr=False)
    spread: NDArray[np.float32] = field(repr=False)
    limit: float

    def __post_init__(self) -> None:
        finite = np.isfinite(self.mean).all() and np.isfinite(self.spread).all()
        if self.mean.ndim != 1 or self.mean.shape != self.spread.shape or not finite or not (self.spread > 0).all():
            raise InputError("The kind of images that an agent knows is a mean and a spread for each channel.")
        if not 0 < self.limit < float("inf"):
            raise InputError(f"The limit of novelty is a number above 0, not {self.limit}.")

    @classmethod
    def of(cls, learnt: Sequence[Embedding], held: Sequence[Embedding], image_size: int) -> Novelty | None:
        """The kind of the images in a training.

        Args:
            learnt: what the agent was trained with.
            held: images of other patients, which set the limit; without any the training images do.
            image_size: side of SAM's square in pixels.

        Returns:
            None with fewer than :data:`LEAST_IMAGES` training images.
        """
        if len(learnt) < LEAST_IMAGES:
            return None
        known = np.stack([description(one, image_size) for one in learnt])
        spread = known.std(axis=0)
        spread = spread + np.float32(_FLOOR * max(float(spread.mean()), 1e-6))
        kind = cls(known.mean(axis=0), spread, 1.0)
        usual = np.quantile([kind.of_image(one, image_size) for one in (held or learnt)], SHARE)
        return cls(kind.mean, kind.spread, (MARGIN if held else MARGIN_ALONE) * float(usual))

    def of_image(self, embedding: Embedding, image_size: int) -> float:
        """Novelty of an image; about 1 for a training image."""
        distance = (description(embedding, image_size) - self.mean) / self.spread
        return float(np.sqrt(np.mean(distance**2)))

    def knows(self, novelty: float) -> bool:
        """Whether an image as novel as that is of the kind."""
        return novelty <= self.limit


def description(embedding: Embedding, image_size: int) -> NDArray[np.float32]:
    """Mean and deviation of each channel, (2c,), over the cells of the grid that show the image."""
    rows, columns = (
        max(1, round(size * length / image_size))
        for size, length in zip(embedding.features.shape[-2:], embedding.input_size, strict=True)
    )
    places = embedding.features[:, :rows, :columns].flatten(1).float()
    deviation = places.std(1, correction=0)
    return torch.cat([places.mean(1), deviation]).cpu().numpy()
