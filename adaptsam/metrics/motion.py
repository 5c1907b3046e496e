"""Motion and size of a structure through the phases of a scan or the frames of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist


@dataclass(frozen=True, eq=False)
class Motion:
    """The path of one structure.

    Attributes:
        path: (n, d) positions: LPS mm with d = 3 for phases, x and y in pixels with d = 2 for frames; NaN where the
            structure was not found.
        relative: (n, d) the path from the reference's position; NaN everywhere if it is not there.
        sizes: (n,) volumes in cm³, or areas in pixels; 0 where it was not found.
        amplitude: (d,) greatest minus smallest position along each axis: LR, AP and SI for phases.
        extent: the greatest distance between any two positions.

    With fewer than two positions, amplitude and extent are NaN.
    """

    path: np.ndarray
    relative: np.ndarray
    sizes: np.ndarray
    amplitude: np.ndarray
    extent: float


def motion(path: np.ndarray, sizes: np.ndarray, reference: int) -> Motion:
    """The motion along a path.

    Args:
        path: (n, d) positions, NaN where there is none.
        sizes: (n,).
        reference: the index of the position that others are compared with.
    """
    path = np.asarray(path, float)
    seen = path[np.isfinite(path).all(axis=1)]
    amplitude, extent = np.full(path.shape[1], np.nan), float("nan")
    if len(seen) > 1:
        amplitude = np.ptp(seen, axis=0)
        extent = float(pdist(_outermost(seen)).max())
    return Motion(path, path - path[reference], np.asarray(sizes, float), amplitude, extent)


def _outermost(points: np.ndarray, directions: int = 2000) -> np.ndarray:
    """Points among which the two farthest from each other are, to a thousandth; all of a short path."""
    if len(points) <= directions:
        return points
    rays = np.random.default_rng(0).normal(size=(directions, points.shape[1]))
    ahead = points @ rays.T
    return points[np.unique(np.concatenate([ahead.argmax(0), ahead.argmin(0)]))]
