"""Diffeomorphic registration by local correlation: for images whose tissues do not look alike.

Around every voxel the moving image is fitted to the fixed one by a line, F ≈ a·M + b, over a window: the correlation
that Avants et al. (Medical Image Analysis 2008) maximise. What the line leaves over drives a step like that of Demons
(Vercauteren et al., NeuroImage 2009), with the slope a in it,

    step = ρ² · (F − a·M − b) · a∇M / (|a∇M|² + ((F − a·M − b)² + n²) / h²)

and the same the other way round, so that neither image is preferred; ρ² is the squared correlation, h a voxel's size,
n the noise. Where a contrast agent drew edges that the other image lacks, a and ρ are near 0, and nothing pulls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Side of the window, and what keeps displacements and steps smooth (sigmas), in voxels of the finest side.
WINDOW, SMOOTHING, STEP_SMOOTHING = 7, 1.25, 1.0

#: Noise of intensities that lie between 0 and 1.
NOISE = 0.02


@dataclass(frozen=True, eq=False)
class Pair:
    """Fixed and moving image, float32 (K, J, I), 0 to 1, on one grid of voxels of ``spacing`` (k, j, i) mm."""

    fixed: np.ndarray
    moving: np.ndarray
    spacing: tuple[float, float, float]


def follow_correlation(pair: Pair, start: np.ndarray, iterations: int, tick: Callable[[], None]) -> np.ndarray:
    """The displacement (3, K, J, I), in voxels along k, j, i, from fixed to moving points, improved from ``start``.

    ``tick`` is called on every iteration, and may raise to stop.
    """
    field = np.asarray(start, np.float32)
    sides = np.array(pair.spacing) / min(pair.spacing)
    grid = np.indices(pair.fixed.shape, dtype=np.float32)
    slope = np.stack(np.gradient(pair.fixed, *pair.spacing))
    for _ in range(iterations):
        tick()
        step = _step(pair, _sampled(pair.moving, grid + field), slope)
        field = _smooth(_composed(field, _smooth(step, STEP_SMOOTHING / sides), grid), SMOOTHING / sides)
    return field


def _step(pair: Pair, moved: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """One step (3, K, J, I) in voxels, for the moving image as it lies now and the fixed one's gradient."""
    finest = min(pair.spacing)
    size = [max(3, 2 * int(WINDOW * finest / side / 2) + 1) for side in pair.spacing]

    def mean(array: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.uniform_filter(array, size, mode="nearest"))

    f, m = pair.fixed - mean(pair.fixed), moved - mean(moved)
    ff, mm, fm = mean(f * f) + NOISE**2, mean(m * m) + NOISE**2, mean(f * m)
    forth = _newton(f - fm / mm * m, fm / mm * np.stack(np.gradient(moved, *pair.spacing)), finest)
    back = _newton(fm / ff * f - m, fm / ff * slope, finest)
    millimetres = fm * fm / (ff * mm) * (forth + back) / 2
    return np.asarray(millimetres / np.reshape(pair.spacing, (3, 1, 1, 1)), np.float32)


def _newton(left: np.ndarray, slope: np.ndarray, length: float) -> np.ndarray:
    """The step in mm that removes what is left over, at most half of ``length``."""
    return left * slope / ((slope * slope).sum(axis=0) + (left * left + NOISE**2) / length**2)


def _smooth(field: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.gaussian_filter(one, sigmas, mode="nearest", truncate=3.0) for one in field])


def _sampled(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(image, place, order=1, mode="nearest"))


def _composed(field: np.ndarray, step: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The displacement by the step, and then by the field."""
    return step + np.stack([_sampled(one, grid + step) for one in field])
