"""A small picture of what an agent finds, for lists: the mean of its training images, with the target in colour."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

#: Side in pixels; enough to tell a heart from a lung.
SIDE = 64
_COLOR = np.array([255.0, 140.0, 40.0])


def agent_picture(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> bytes:
    """A picture that many images share, so that it shows where the target lies and no single patient.

    Args:
        images: uint8 (H, W) or (H, W, 3), of any sizes.
        masks: bool (H, W), the target on each.

    Returns:
        PNG of :data:`SIDE` pixels a side. The more of the images have the target at a place, the stronger its colour.
    """
    gray, share = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for image, mask in zip(images, masks, strict=True):
        gray += _small(image if image.ndim == 2 else image.mean(axis=2).astype(np.uint8))
        share += _small(np.where(mask, 255, 0).astype(np.uint8)) / 255
    weight = 0.75 * (share / max(share.max(), 1e-6))[..., None]
    pixels = (1 - weight) * (gray / max(1, len(images)))[..., None] + weight * _COLOR
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _small(plane: np.ndarray) -> np.ndarray:
    """Within the square, in the image's own proportions."""
    scale = SIDE / max(plane.shape)
    rows, columns = (max(1, round(scale * length)) for length in plane.shape)
    small = np.zeros((SIDE, SIDE))
    top, left = (SIDE - rows) // 2, (SIDE - columns) // 2
    resized = Image.fromarray(plane).resize((columns, rows), Image.Resampling.BOX)
    small[top : top + rows, left : left + columns] = np.asarray(resized, float)
    return small
