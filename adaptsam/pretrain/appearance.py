"""Appearances that an image could have had: windows, contrast, colour, noise and blur."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

Appearance = Callable[[np.random.Generator, NDArray[np.uint8]], NDArray[np.uint8]]

#: In the gray levels of 12 HU of the Decathlon's lung slices: the papers' window, soft tissue, and wide ones.
_DECATHLON_WINDOWS = ((9.5, 134.5), (72.0, 105.5), (0.0, 160.0), (30.0, 140.0))


def draw_appearance(rng: np.random.Generator, source: str, colour: bool) -> Appearance:
    """A change of intensities that can be applied to several crops alike; only noise differs between them."""
    if colour:
        return partial(_coloured, rng.normal(1, 0.1, 3), rng.normal(0, 15), rng.uniform(0.4, 1.4), draw_grain(rng))
    if source == "msd-lung":
        low, high = _DECATHLON_WINDOWS[rng.integers(len(_DECATHLON_WINDOWS))]
        span = high - low
        low, high = low + rng.normal(0, 0.08) * span, high + rng.normal(0, 0.08) * span
    else:
        low, high = -rng.uniform(-40, 40), 255 + rng.uniform(-70, 40)
    gamma = float(np.exp(rng.normal(0, 0.25)))
    ramp = ((np.arange(256) - low) / max(high - low, 8.0)).clip(0, 1) ** gamma
    if rng.random() < 0.08:
        ramp = 1 - ramp
    return partial(_toned, (255 * ramp).round().astype(np.uint8), draw_grain(rng))


def draw_grain(rng: np.random.Generator) -> tuple[float, float]:
    """Standard deviation of a blur in pixels and of noise in gray levels; 0 for none."""
    blur = float(rng.uniform(0.4, 1.5)) if rng.random() < 0.2 else 0.0
    return blur, float(rng.uniform(2, 14)) if rng.random() < 0.35 else 0.0


def _toned(
    table: NDArray[np.uint8], grain: tuple[float, float], rng: np.random.Generator, image: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    return _grained(rng, np.asarray(cv2.LUT(image, table), np.uint8), *grain)


def _coloured(
    gains: NDArray[np.float64],
    shift: float,
    saturation: float,
    grain: tuple[float, float],
    rng: np.random.Generator,
    image: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    pixels = image.astype(np.float32)
    gray = pixels.mean(2, keepdims=True)
    pixels = (gray + saturation * (pixels - gray)) * gains.astype(np.float32) + shift
    return _grained(rng, pixels.clip(0, 255).astype(np.uint8), *grain)


def _grained(rng: np.random.Generator, image: NDArray[np.uint8], blur: float, noise: float) -> NDArray[np.uint8]:
    if blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
    if noise:
        grain = noise * rng.standard_normal(image.shape[:2], dtype=np.float32)
        image = (image + (grain if image.ndim == 2 else grain[..., None])).clip(0, 255).astype(np.uint8)
    return image
