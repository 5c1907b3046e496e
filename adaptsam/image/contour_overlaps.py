"""Contours of one structure on one slice that share pixels: crossing ones, copies, and ones that wind around twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.image.rasterisation import fill_contours, windings

# A contour within another one that leaves a ring is no copy if it takes less of the other than this.
_MOST_OF_IT = 0.5


@dataclass(frozen=True)
class Overlaps:
    """Pixels that contours of one slice share.

    Attributes:
        copies: the numbers of those that enclose the same pixel centres as an earlier one.
        crossing: two share pixel centres, though neither lies within the other, or one encloses some twice.
        thin: one lies within another, less than a pixel from it.
    """

    copies: frozenset[int]
    crossing: bool
    thin: bool


def find_overlaps(contours: Sequence[np.ndarray], shape: tuple[int, int]) -> Overlaps:
    """The overlaps of contours (n, 2) in pixels of an image (J, I)."""
    copies: set[int] = set()
    crossing = thin = False
    for m, n in _touching(contours):
        if m in copies or n in copies:
            continue
        first, second = _masks([contours[m], contours[n]], shape)
        if first.any() and (first == second).all():
            copies.add(n)
            continue
        thin |= _is_thin(first, second) or _is_thin(second, first)
        first, second = _masks([contours[m], contours[n]], shape, edges=False)
        crossing |= bool((first & second).any() and (first & ~second).any() and (second & ~first).any())
    crossing |= any(_winds_twice(points, shape) for n, points in enumerate(contours) if n not in copies)
    return Overlaps(frozenset(copies), crossing, thin)


def _touching(contours: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """The pairs whose boxes meet."""
    low = np.array([points.min(axis=0) for points in contours]).reshape(-1, 2)
    high = np.array([points.max(axis=0) for points in contours]).reshape(-1, 2)
    for n in range(len(contours)):
        apart = (low[:n] > high[n]).any(axis=1) | (high[:n] < low[n]).any(axis=1)
        yield from ((int(m), n) for m in np.flatnonzero(~apart))


def encloses_voxels(points: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether a contour (n, 2) in pixels encloses the centre of any pixel of an image (J, I), or one lies on it."""
    return bool(_masks([points], shape)[0].any())


def _masks(contours: Sequence[np.ndarray], shape: tuple[int, int], *, edges: bool = True) -> list[np.ndarray]:
    """Masks of each by itself, in the part of the image that they reach, and a pixel more where there is one."""
    last = np.array([shape[1], shape[0]]) - 1
    points = np.concatenate(contours)
    start = np.clip(np.floor(points.min(axis=0)) - 1, 0, last).astype(int)
    columns, rows = np.clip(np.ceil(points.max(axis=0)) + 1, 0, last).astype(int) - start + 1
    return [fill_contours([one - start], (int(rows), int(columns)), edges=edges) for one in contours]


def _is_thin(outer: np.ndarray, inner: np.ndarray) -> bool:
    """Whether a mask lies within another one and leaves a ring of one pixel of it, or of parts of one."""
    if (inner & ~outer).any() or inner.sum() < _MOST_OF_IT * outer.sum() or not inner.any():
        return False
    return not (ndimage.binary_erosion(outer) & ~inner).any()


def _winds_twice(points: np.ndarray, shape: tuple[int, int]) -> bool:
    around = np.abs(windings(points, shape))
    return bool(((around > 1) & (around % 2 == 0)).any())
