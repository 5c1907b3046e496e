"""Result of one video frame, from whichever method: masks, and a report for each structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class FrameReport:
    """One structure on one frame.

    ``distance`` above ``threshold`` means rejected: empty there. ``points`` (n, 2) are x, y in pixels with ``labels``
    (n,) 1 or 0. ``area`` is in pixels, ``centroid`` x, y of the mask, NaN where it is empty. ``anchor`` is the frame
    that the mask was found from, -1 for the outlined picture. ``drawn``: this is the outlined frame, and its mask the
    given one.
    """

    accepted: bool
    distance: float
    threshold: float
    confidence: float
    area: int
    centroid: tuple[float, float]
    points: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    anchor: int = -1
    drawn: bool = False


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame: ``image`` uint8 (H, W, 3), and by structure a mask bool (H, W), empty where rejected, and a report."""

    index: int
    image: np.ndarray = field(repr=False)
    masks: Mapping[str, np.ndarray] = field(repr=False)
    reports: Mapping[str, FrameReport]


def frame_report(
    mask: np.ndarray,
    accepted: bool,
    distance: float,
    limit: float,
    confidence: float,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    anchor: int = -1,
    drawn: bool = False,
) -> FrameReport:
    """A report with area and centroid of its mask (H, W)."""
    rows, columns = np.nonzero(mask)
    centre = (float(columns.mean()), float(rows.mean())) if len(rows) else (float("nan"), float("nan"))
    return FrameReport(
        accepted,
        distance,
        limit,
        confidence,
        len(rows),
        centre,
        np.zeros((0, 2)) if points is None else points,
        np.zeros(0, int) if labels is None else labels,
        anchor,
        drawn,
    )
