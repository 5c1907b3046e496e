"""Contours to masks and back, in the pixels of one slice.

Points are (n, 2) in the order x (column, i), y (row, j); pixel (j, i) has its centre at x = i, y = j. World coordinates
are no business of this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

# In pixels: files round their coordinates, and a vertex that is meant to lie on a pixel centre must lie on it.
_DECIMALS = 4


def fill_contours(contours: Sequence[np.ndarray], shape: tuple[int, int], *, edges: bool = True) -> np.ndarray:
    """The pixels whose centres the contours enclose.

    Contours combine by exclusive or, so that a contour inside another one is a hole and one inside that hole an island;
    a keyhole contour needs nothing special. Centres that lie on a contour are inside (DICOM PS3.3, C.8.8.6.3).

    Args:
        contours: closed polygons, each (n, 2) in pixels; the first point may be repeated at the end.
        shape: rows and columns (J, I). What lies outside is cut off.
        edges: whether centres that lie on a contour count.

    Returns:
        bool (J, I).
    """
    start, end = _edges(contours)
    inside = _windings(start, end, shape) % 2 == 1
    on_edges = _on_edges(start, end, shape)
    return inside | on_edges if edges else inside & ~on_edges


def windings(contour: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The number of times that a contour (n, 2) winds around each pixel centre, int (J, I), negative the other way."""
    return _windings(*_edges([contour]), shape)


def _windings(start: np.ndarray, end: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = shape
    row, edge = _crossed_rows(np.ceil(np.minimum(start[:, 1], end[:, 1])), np.maximum(start[:, 1], end[:, 1]), rows)
    rise = end[edge, 1] - start[edge, 1]
    crossing = start[edge, 0] + (row - start[edge, 1]) / rise * (end[edge, 0] - start[edge, 0])
    first_inside = np.clip(np.ceil(crossing), 0, columns).astype(int)
    turns = np.zeros((rows, columns + 1), np.int32)
    np.add.at(turns, (row, first_inside), np.sign(rise).astype(np.int32))
    return np.cumsum(turns, axis=1, dtype=np.int32)[:, :columns]


def _edges(contours: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Both ends (m, 2) of every edge of every contour."""
    closed = [np.round(np.asarray(contour, float).reshape(-1, 2), _DECIMALS) for contour in contours]
    start = np.concatenate([np.empty((0, 2)), *closed])
    end = np.concatenate([np.empty((0, 2)), *(np.roll(points, -1, axis=0) for points in closed)])
    return start, end


def _crossed_rows(low: np.ndarray, high: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a row in [low, high) of an edge, within the image, and the number of that edge."""
    first = np.clip(low, 0, rows).astype(int)
    count = np.maximum(np.clip(np.ceil(high), 0, rows).astype(int) - first, 0)
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    return row, edge


def _on_edges(start: np.ndarray, end: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool (J, I): the pixels whose centres lie on an edge."""
    rows, columns = shape
    on_edge = np.zeros(shape, bool)
    low, high = np.minimum(start, end), np.maximum(start, end)
    row, edge = _crossed_rows(np.ceil(low[:, 1]), np.floor(high[:, 1]) + 0.5, rows)
    rise = end[edge, 1] - start[edge, 1]
    sloped = rise != 0
    along = (row - start[edge, 1])[sloped] / rise[sloped]
    x = start[edge[sloped], 0] + along * (end[edge[sloped], 0] - start[edge[sloped], 0])
    nearest = np.rint(x)
    hit = (np.abs(x - nearest) < 10.0**-_DECIMALS) & (nearest >= 0) & (nearest < columns)
    on_edge[row[sloped][hit], nearest[hit].astype(int)] = True
    for flat_row, flat_edge in zip(row[~sloped], edge[~sloped], strict=True):
        first, last = np.ceil(low[flat_edge, 0]), np.floor(high[flat_edge, 0])
        on_edge[flat_row, max(int(first), 0) : max(int(last) + 1, 0)] = True
    return on_edge


def trace_contours(mask: np.ndarray) -> list[np.ndarray]:
    """The outlines of a mask, by marching squares at one half.

    Every connected part is one contour; its holes hang on it by channels of no width (the keyhole technique of DICOM
    PS3.3, C.8.8.6.3), which readers that add contours and readers that exclude them understand alike.
    :func:`fill_contours` gives the mask back exactly.

    Args:
        mask: bool (J, I).

    Returns:
        Contours (n, 2) in pixels, the first point not repeated; none for an empty mask.
    """
    mask = np.asarray(mask, bool)
    used = np.argwhere(mask)
    if not len(used):
        return []
    top, left = used.min(axis=0)
    bottom, right = used.max(axis=0) + 1
    padded = np.pad(mask[top:bottom, left:right].astype(float), 1)
    import contourpy  # for writing alone: a run without it reads and propagates

    generator = contourpy.contour_generator(z=padded, name="serial", fill_type=contourpy.FillType.OuterOffset)
    parts, offsets = cast(tuple[list[np.ndarray], list[np.ndarray]], generator.filled(0.5, np.inf))
    corner = np.array([left - 1, top - 1], float)
    return [
        _without_straight_points(_join_holes(np.split(points[:, :2], ends[1:-1]))) + corner
        for points, ends in zip(parts, offsets, strict=True)
    ]


def _join_holes(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One ring of an outer ring and its holes.

    From a hole's leftmost point a channel runs left along the row of pixel centres to the nearest outline. Marching
    squares on a mask puts a point wherever an outline crosses a row, so that both ends of the channel are points.
    """
    rings = [ring[:-1] for ring in rings]  # contourpy repeats the first point
    points = np.concatenate(rings)
    first = np.cumsum([0, *(len(ring) for ring in rings)])
    order = np.lexsort((points[:, 0], points[:, 1]))
    place_in_order = np.argsort(order)
    entries = [int(first[n] + ring[:, 0].argmin()) for n, ring in enumerate(rings) if n > 0]
    joined = list(range(first[1]))
    for entry in sorted(entries, key=lambda point: points[point, 0]):
        ring = int(np.searchsorted(first, entry, side="right")) - 1
        hole = np.roll(np.arange(first[ring], first[ring + 1]), first[ring] - entry).tolist()
        left = int(order[place_in_order[entry] - 1])
        place = joined.index(left)
        joined[place + 1 : place + 1] = [*hole, entry, left]
    return points[joined]


def _without_straight_points(ring: np.ndarray) -> np.ndarray:
    """The ring without the points at which it goes straight on."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = (before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]) | ((before * after).sum(axis=1) < 0)
    return ring[turns]
