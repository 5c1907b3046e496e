"""A person's clicks as evidence: what a corrected slice or frame is made of, with or without a place in space.

A click is evidence like the other witnesses of :mod:`adaptsam.slicewise.fusion`, and the strongest: around it
the log-odds are moved to its side, fading with the distance and where the tissue looks different, and no other witness
is surer there than the click can outweigh. Beyond its reach the other witnesses decide as before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from adaptsam.errors import InputError


@dataclass(frozen=True)
class CorrectionSettings:
    """Settings of a correction: the reach of a click, and the trust in a drawn slice.

    A click moves the log-odds by ``click_odds``, falling off with ``click_mm`` (standard deviation) and, over
    ``click_gray`` of the 255 grays of the window, with the difference to the tissue clicked on; within ``sure_mm`` it
    decides alone. Where it reaches, the log-odds before it count for ``heard_odds`` at most, however sure they are.
    A contour drawn on one slice is wrong on another by ``drift`` mm for each mm between them.
    """

    click_odds: float = 12.0
    heard_odds: float = 6.0
    click_mm: float = 4.0
    click_gray: float = 25.0
    sure_mm: float = 1.0
    drift: float = 0.5


#: The settings of a correction by default.
DEFAULT_CORRECTION = CorrectionSettings()


@dataclass(frozen=True, eq=False)
class CorrectedSlice:
    """One slice of the target's stored array, new.

    ``mask`` bool is slice ``index`` along ``axis``; ``points`` (n, 2) with ``labels`` (n,) are as in
    :class:`adaptsam.slicewise.SliceReport`.
    """

    axis: int
    index: int
    mask: np.ndarray = field(repr=False)
    points: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    confidence: float


@dataclass(frozen=True, eq=False)
class Clicks:
    """Prompts of one slice.

    Attributes:
        points: float (n, 2), x and y in pixels.
        labels: int (n,), 1 on the structure and 0 off it.
        by_hand: bool (n,), those that a person placed or moved.
    """

    points: np.ndarray
    labels: np.ndarray
    by_hand: np.ndarray

    @classmethod
    def checked(cls, points: ArrayLike, labels: ArrayLike, by_hand: ArrayLike | None, where: str) -> Clicks:
        """Prompts as they were given; all by hand by default. ``where`` begins the sentence of an error.

        Raises:
            InputError: no point, or points without labels.
        """
        points, labels = np.asarray(points, float).reshape(-1, 2), np.asarray(labels, int).ravel()
        if not len(points) or len(points) != len(labels):
            raise InputError(f"{where}; add a positive one.")
        return cls(points, labels, np.ones(len(points), bool) if by_hand is None else np.asarray(by_hand, bool).ravel())

    def weighed(
        self,
        odds: np.ndarray,
        gray: np.ndarray,
        pixel: tuple[float, float],
        settings: CorrectionSettings,
        points: np.ndarray | None = None,
    ) -> np.ndarray:
        """Log-odds (H, W) with those by hand as evidence; ``points`` where they lie on another grid than given."""
        where = self.points if points is None else points
        return with_clicks(odds, gray, where[self.by_hand], self.labels[self.by_hand], pixel, settings)


def with_clicks(
    odds: np.ndarray,
    gray: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    pixel: tuple[float, float],
    settings: CorrectionSettings = DEFAULT_CORRECTION,
) -> np.ndarray:
    """Log-odds (H, W) with a person's points (n, 2), x and y in pixels, as evidence; ``pixel`` is (x, y) in mm."""
    rows, columns = np.indices(odds.shape)
    result = odds.astype(np.float32, copy=True)
    for (x, y), label in zip(points, labels, strict=True):
        distance = np.hypot((columns - x) * pixel[0], (rows - y) * pixel[1])
        sure = distance <= max(settings.sure_mm, float(distance.min()))
        unlike = (gray - gray[sure].mean()) / settings.click_gray
        reach = np.exp(-0.5 * ((distance / settings.click_mm) ** 2 + unlike**2))
        sign = 1.0 if label == 1 else -1.0
        unheard = result - result.clip(-settings.heard_odds, settings.heard_odds)
        result += (sign * settings.click_odds - unheard) * reach
        result[sure] = sign * np.maximum(sign * result[sure], 1.0)
    return result
