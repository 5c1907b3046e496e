"""Local error of the registered contour, estimated from the difference between target slice and registered prior.

Where the two look alike, the contour came with the tissue and stays. Where they do not, either the contour lies some
millimetres off, or the tissue is no longer what it was. Differences are squared and averaged over a few millimetres;
what is beyond the noise, divided by the squared gradient of the image, is the shift that would explain it:

    excess = max(0, ⟨(target − prior)²⟩ − 2 n²)
    error  = 2 · √(excess / (⟨|∇prior|²⟩ + n² / mm²)), not below ``least_error_mm``
    beyond = max(0, excess − (usual error)² · ⟨|∇prior|²⟩)                 what no usual shift explains
    change = ``change`` · beyond / (beyond + 4 n²)

n² is the median of the averaged squares near the structure, since most of it fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.slicewise.volume_settings import MisfitSettings

#: Added to n²: gray values are whole numbers.
ROUNDING = 0.5

#: What lies so many times the noise beyond raises half of the doubt.
DOUBTED = 4.0

#: A doubt is never so small that it cannot be told from none.
LEAST_CHANGE = 1e-4


@dataclass(frozen=True, eq=False)
class Misfit:
    """By pixel (h, w): ``error_mm``, how far the contour may be off, and ``change``, the share of replaced tissue."""

    error_mm: np.ndarray
    change: np.ndarray


def misfit(
    target: np.ndarray,
    prior: np.ndarray,
    near: np.ndarray,
    pixel: tuple[float, float],
    usual_error_mm: float,
    settings: MisfitSettings,
) -> Misfit:
    """The doubts about a registered contour on one slice.

    Args:
        target: gray values 0 to 255 (h, w).
        prior: those of the prior at the same places.
        near: bool (h, w), where the structure may lie; the noise is measured there.
        pixel: width and height of a pixel in mm.
        usual_error_mm: what a registered contour is usually wrong by; ``largest`` times that is the most.
        settings: see :class:`MisfitSettings`.
    """
    fixed, moved = target.astype(np.float32), prior.astype(np.float32)
    height, width = pixel[1], pixel[0]
    sigma = (settings.window_mm / height, settings.window_mm / width)
    left = ndimage.gaussian_filter((fixed - moved) ** 2, sigma)
    smooth = ndimage.gaussian_filter(moved, 0.5)
    slope = sum(
        np.gradient(smooth, size, axis=axis) ** 2 if smooth.shape[axis] > 1 else np.zeros_like(smooth)
        for axis, size in enumerate((height, width))
    )
    slope = ndimage.gaussian_filter(slope, sigma)
    noise = float(np.median(left[near] if near.any() else left)) + ROUNDING
    excess = np.maximum(0.0, left - settings.noise_factor * noise)
    error = settings.error_factor * np.sqrt(excess / (slope + noise))
    beyond = np.maximum(0.0, excess - usual_error_mm**2 * slope)
    return Misfit(
        np.clip(error, settings.least_error_mm, settings.largest * usual_error_mm),
        np.maximum(LEAST_CHANGE, settings.change * beyond / (beyond + DOUBTED * noise)),
    )
