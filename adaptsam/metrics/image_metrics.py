"""Metrics of masks on natural images, as the benchmarks score them.

All of them follow from four numbers of pixels (:class:`Counts`), which also add up over pictures: one-shot
segmentation sums them by class, shadow detection over a whole data set.

Masks are compared as they are, without a probability: the methods here give masks, so that F-measure and E-measure need
no threshold, and the mean absolute error is the share of wrong pixels.

Empty masks: two empty masks agree (IoU, F-measure and E-measure are 1, the errors 0); an empty one against any other
has the IoU and the F-measure 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: β² of the F-measure (Achanta et al., 2009).
BETA_SQUARED = 0.3


@dataclass(frozen=True)
class Counts:
    """Pixels by what a mask says of them and what is true: ``both``, ``ours`` alone, ``theirs`` alone, ``neither``."""

    both: float
    ours: float
    theirs: float
    neither: float

    @classmethod
    def of(cls, mask: np.ndarray, truth: np.ndarray, counted: np.ndarray | None = None) -> Counts:
        """Count a mask against its truth, bool (H, W); pixels that are not ``counted`` bool (H, W) are left out.

        Raises:
            ValueError: the shapes differ.
        """
        mask, truth = np.asarray(mask, bool), np.asarray(truth, bool)
        if mask.shape != truth.shape:
            raise ValueError(f"The mask has the shape {mask.shape}, the truth {truth.shape}.")
        if counted is not None:
            mask, truth = mask[counted], truth[counted]
        both, ours, theirs = (int(np.count_nonzero(x)) for x in (mask & truth, mask & ~truth, truth & ~mask))
        return cls(both, ours, theirs, mask.size - both - ours - theirs)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.both + other.both,
            self.ours + other.ours,
            self.theirs + other.theirs,
            self.neither + other.neither,
        )

    @property
    def total(self) -> float:
        return self.both + self.ours + self.theirs + self.neither

    @property
    def iou(self) -> float:
        """Intersection over union of the foreground."""
        union = self.both + self.ours + self.theirs
        return self.both / union if union else 1.0

    @property
    def dice(self) -> float:
        inside = 2 * self.both + self.ours + self.theirs
        return 2 * self.both / inside if inside else 1.0

    @property
    def f_beta(self) -> float:
        """F-measure with β² = 0.3: precision counts more than recall."""
        weighted = (1 + BETA_SQUARED) * self.both + BETA_SQUARED * self.theirs + self.ours
        return (1 + BETA_SQUARED) * self.both / weighted if weighted else 1.0

    @property
    def mean_absolute_error(self) -> float:
        """The share of pixels that are wrong."""
        return (self.ours + self.theirs) / self.total

    @property
    def balance_error_rate(self) -> float:
        """1 − the mean of the shares of foreground and of background that are right (Vicente et al., 2015).

        Without a pixel of one of the two, the other one alone counts.
        """
        right = []
        if self.both + self.theirs:
            right.append(self.both / (self.both + self.theirs))
        if self.neither + self.ours:
            right.append(self.neither / (self.neither + self.ours))
        return 1 - sum(right) / len(right)

    @property
    def e_measure(self) -> float:
        """Enhanced-alignment measure of a mask (Fan et al., 2018), the mean over the pixels as the paper writes it.

        The mean of each map is subtracted, and φ = 2ab / (a² + b²) of the two remainders enters as (1 + φ)² / 4. Four
        kinds of pixels have four values of it. Where the truth is empty, or everything, the share of right pixels.
        """
        n = self.total
        truly, found = (self.both + self.theirs) / n, (self.both + self.ours) / n
        if truly in (0.0, 1.0):
            return (self.neither if truly == 0 else self.both) / n
        score = 0.0
        for pixels, a, b in (
            (self.both, 1 - truly, 1 - found),
            (self.ours, -truly, 1 - found),
            (self.theirs, 1 - truly, -found),
            (self.neither, -truly, -found),
        ):
            alignment = 2 * a * b / (a * a + b * b)
            score += pixels * (1 + alignment) ** 2 / 4
        return score / n
