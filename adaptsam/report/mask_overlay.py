"""Masks drawn over a frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Color = tuple[int, int, int]

TINT = 0.22
#: Lines and letters in shares of the frame's shorter side.
LINE_SHARE, TEXT_SHARE = 1 / 240, 1 / 22


def draw_overlay(
    frame: np.ndarray,
    masks: Mapping[str, np.ndarray],
    colors: Mapping[str, Color],
    text: str = "",
    reference: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """A frame uint8 (H, W, 3) with masks bool (H, W) tinted and outlined, and a line of text at the top left.

    The outlines of ``reference`` masks are white.
    """
    picture = frame.astype(np.float32)
    width = max(1, round(min(frame.shape[:2]) * LINE_SHARE))
    for name, mask in masks.items():
        if not mask.any():
            continue
        color = np.array(colors[name], np.float32)
        picture[mask] += TINT * (color - picture[mask])
        inside = mask & ~ndimage.binary_erosion(mask, iterations=width)
        # A dark rim outside, so that the line is seen on tissue of any colour.
        outside = ndimage.binary_dilation(mask, iterations=width) & ~mask
        picture[outside] *= 0.45
        picture[inside] = color
    for mask in (reference or {}).values():
        picture[mask & ~ndimage.binary_erosion(mask, iterations=width)] = 255
    drawn = picture.astype(np.uint8)
    return _write(drawn, text) if text else drawn


def _write(picture: np.ndarray, text: str) -> np.ndarray:
    image = Image.fromarray(picture)
    size = max(9, round(min(picture.shape[:2]) * TEXT_SHARE))
    place = (size // 2, size // 3)
    ImageDraw.Draw(image).text(
        place, text, fill=(255, 255, 255), stroke_width=max(1, size // 10), stroke_fill=(0, 0, 0), font=_font(size)
    )
    return np.asarray(image)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
