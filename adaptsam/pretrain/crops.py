"""Squares of an image as users and P²SAM's views show them: the whole slice, a part, or a structure magnified."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_WHOLE, _PART, _MAGNIFIED = 0.45, 0.2, 0.35
#: Gray of what lies outside where the model pads; becomes 0 after normalisation.
PADDING = 127.5


@dataclass(frozen=True)
class Crop:
    """A turned square of an image.

    Attributes:
        centre: x, y in pixels of the image.
        side: in pixels of the image.
        angle: in radians.
        mirrored: left and right exchanged.
        outside: gray of what is not in the image.
    """

    centre: tuple[float, float]
    side: float
    angle: float = 0.0
    mirrored: bool = False
    outside: float = 0.0

    def of(self, image: NDArray[np.uint8], size: int, nearest: bool = False) -> NDArray[np.uint8]:
        """The square as ``size`` by ``size`` pixels; labels (H, W) with ``nearest``."""
        scale = self.side / size
        if not nearest and scale > 1.2:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 * scale), np.uint8)
        method = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        border = (0.0 if nearest else self.outside,) * 3
        warped = cv2.warpAffine(
            image, self._matrix(size), (size, size), flags=method | cv2.WARP_INVERSE_MAP, borderValue=border
        )
        return np.asarray(warped, np.uint8)

    def _matrix(self, size: int) -> NDArray[np.float64]:
        """Pixels of the square to pixels of the image, (2, 3)."""
        scale = self.side / size
        turn = scale * np.array(
            [[np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)]], np.float64
        )
        if self.mirrored:
            turn[:, 0] *= -1
        middle = (size - 1) / 2
        return np.column_stack([turn, np.array(self.centre) - turn @ (middle, middle)])

    def again(self, rng: np.random.Generator) -> Crop:
        """About the same square, as another visit shows it."""
        shift = rng.normal(0, 0.04, 2) * self.side
        return Crop(
            (self.centre[0] + shift[0], self.centre[1] + shift[1]),
            self.side * float(np.exp(rng.normal(0, 0.08))),
            self.angle + float(rng.normal(0, 0.1)),
            self.mirrored,
            self.outside,
        )


def draw_crop(rng: np.random.Generator, shape: tuple[int, int], target: NDArray[np.bool_]) -> Crop:
    """A square that shows at least a part of a target, bool (H, W), not empty."""
    height, width = shape
    longest = max(height, width)
    kind = rng.random()
    mirrored = bool(rng.random() < 0.5)
    if kind < _WHOLE / 2:
        # As the model is given a whole image: at the upper left, padded below and at the right.
        middle = (longest - 1) / 2
        return Crop((middle, middle), float(longest), 0.0, mirrored and height == width, PADDING)
    angle = float(rng.normal(0, 0.15)) if rng.random() < 0.7 else float(rng.uniform(-np.pi, np.pi))
    if kind < _WHOLE:
        middle_x, middle_y = (width - 1) / 2 + rng.normal(0, 0.03 * width), (height - 1) / 2
        return Crop((middle_x, middle_y), longest * rng.uniform(0.85, 1.25), angle, mirrored)
    rows, columns = np.nonzero(target)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    here = int(rng.integers(len(rows)))
    if kind < _WHOLE + _PART:
        side = longest * rng.uniform(0.3, 0.85)
        centre = (columns[here] + rng.uniform(-0.4, 0.4) * side, rows[here] + rng.uniform(-0.4, 0.4) * side)
        return Crop(centre, float(side), angle, mirrored)
    side = min(max(extent * rng.uniform(1.3, 5.0), 24.0), 1.3 * longest)
    shift = rng.uniform(-0.2, 0.2, 2) * side
    centre = (columns.mean() + shift[0], rows.mean() + shift[1])
    return Crop((float(centre[0]), float(centre[1])), float(side), angle, mirrored)
