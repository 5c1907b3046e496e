"""Finishing of what was segmented slice by slice or frame by frame: clean-up, confidence and report, for every method.

The steps stand here once. What a method knows besides (registration, an agent's evidence) it tells by the questions of
its own :class:`Finisher`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptsam.slicewise.cleanup import Overlap, Shape, bridge, clean
from adaptsam.slicewise.confidence import (
    Continuity,
    accepted_confidence,
    continuity,
    jump_factor,
    rejected_confidence,
)
from adaptsam.slicewise.frame_report import FrameReport, frame_report
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.slicewise.slice_report import SliceReport, StructureReport
from adaptsam.slicewise.volume_settings import CleanupSettings, ConfidenceSettings


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of one slice or frame, before it is finished.

    ``distance`` is what the threshold judges, ``predicted_iou`` is 0 to 1. ``points`` (n, 2) are x, y in canonical
    pixels, with ``labels`` (n,) 1 or 0. ``prior_k`` is the prior's canonical slice, -1 without a prior. ``area`` is the
    mask's in pixels, kept or not. ``expected_dice`` is what the mask promises and ``empty_dice`` what an empty one
    would, NaN where nothing tells. ``touches``: the mask runs into the limit of where it may be; ``reached``: the
    registered contour reaches this slice.
    """

    accepted: bool
    distance: float
    predicted_iou: float
    points: np.ndarray
    labels: np.ndarray
    prior_k: int = -1
    area: int = 0
    expected_dice: float = float("nan")
    empty_dice: float = float("nan")
    touches: bool = False
    reached: bool = False


class Finisher(ABC):
    """One structure of a volume, segmented slice by slice, made one object and reported.

    Args:
        name: of the structure.
        images: the volume as canonical slices.
        mask: bool (K, H, W), canonical; finished in place.
        limit: the largest distance that is accepted.
        shape: of the object that is expected.
        cleaning: how the mask is cleaned; None for not at all.
        confidence: how confidence is put together.

    Attributes:
        outcomes: by canonical slice, of all that were looked at.
        missing: int (K,), pixels a slice that may belong to the structure and are not in the mask.
    """

    def __init__(
        self,
        name: str,
        images: SliceImages,
        mask: np.ndarray,
        *,
        limit: float,
        shape: Shape,
        cleaning: CleanupSettings | None,
        confidence: ConfidenceSettings,
    ) -> None:
        self.name, self.images, self.mask, self.limit = name, images, mask, limit
        self._shape, self._cleaning, self._confidence = shape, cleaning, confidence
        self.outcomes: dict[int, Any] = {}
        self.missing = np.zeros(len(mask), int)

    def finish(self) -> tuple[StructureReport, list[str]]:
        """Judge the whole structure, clean its mask in place, and report; with warnings for the user."""
        carried = self.settle()
        bridged: list[int] = []
        told: list[str] = []
        if not carried:
            if not self.is_enough():
                self.mask[:] = False
            bridged, told = self._tidy()
            if self.is_misplaced():
                self.mask[:] = False
                bridged = []
        told += self.lost()
        usual, comparable = self.usual(), self.is_comparable
        slices = [self._report(k, usual, k in bridged, k in carried, comparable) for k in sorted(self.outcomes)]
        report = StructureReport(
            name=self.name,
            volume_cm3=int(np.count_nonzero(self.mask)) * self.images.geometry.voxel_volume / 1000,
            slices=tuple(sorted(slices, key=lambda one: one.index)),
            slice_axis=self.images.orientation.order[0],
            **self.described(bool(carried)),
        )
        warnings = self.warnings(report)
        if bridged:
            number = len(bridged)
            warnings.append(
                f"{self.name} has slices that were interpolated between accepted ones ({number}); check them."
            )
        return report, [*warnings, *told]

    @property
    def is_comparable(self) -> bool:
        """Whether the image can be compared with what the structure was learnt from."""
        return True

    def settle(self) -> list[int]:
        """Decide on slices that could only be judged together; the slices whose mask is not the method's own."""
        return []

    def is_enough(self) -> bool:
        """Whether the accepted slices make a structure, before clean-up."""
        return True

    def is_misplaced(self) -> bool:
        """Whether what clean-up left is no structure after all."""
        return False

    def overlaps(self) -> tuple[Overlap | None, Overlap | None]:
        """Shares of some voxels near the expected place, and within it; None where no place is known."""
        return None, None

    def cleaned(self, removed: np.ndarray) -> list[str]:
        """Take note of what clean-up removed, pixels a slice, int (K,); warnings about it."""
        return []

    def lost(self) -> list[str]:
        """Warnings about parts that were expected and not found."""
        return []

    @abstractmethod
    def usual(self) -> Continuity:
        """Usual likeness of neighbouring slices."""

    @abstractmethod
    def described(self, carried: bool) -> dict[str, Any]:
        """The fields of the report that the method knows: status, prior volume, shift, view and margin."""

    @abstractmethod
    def warnings(self, report: StructureReport) -> list[str]:
        """Warnings about the structure as a whole."""

    def _tidy(self) -> tuple[list[int], list[str]]:
        """Bridge and clean the mask; the slices that were bridged, and warnings."""
        if self._cleaning is None or not self.mask.any():
            return [], []
        bridged: list[int] = []
        if self._cleaning.bridge:
            rejected = sorted(k for k, outcome in self.outcomes.items() if not outcome.accepted)
            bridged = bridge(self.mask, rejected, self.images.geometry.spacing[1::-1])
        removed = clean(self.mask, self._shape, self._cleaning, *self.overlaps())
        return bridged, self.cleaned(removed)

    def _report(self, k: int, usual: Continuity, bridged: bool, carried: bool, comparable: bool) -> SliceReport:
        outcome, mask, rules = self.outcomes[k], self.mask[k], self._confidence
        there = bool(mask.any())
        neighbours = [self.mask[n] for n in (k - 1, k + 1) if 0 <= n < len(self.mask) and self.mask[n].any()]
        value = slice_confidence(outcome, mask, neighbours, self.limit, usual, rules)
        if (bridged and there) or (not there and outcome.reached and len(neighbours) == 2):
            value = min(value, rules.bridged_limit)
        if there and not comparable:
            value = min(value, rules.carried_limit)
        missing = int(self.missing[k])
        if missing:  # the Dice if all that is missing belongs to the structure
            area = int(mask.sum())
            value = min(value, 2 * area / (2 * area + missing))
        orientation, shape = self.images.orientation, self.images.stored.shape
        return SliceReport(
            index=orientation.stored_slice(k, shape),
            prior_index=self.prior_index(outcome.prior_k),
            accepted=outcome.accepted and there and not carried,
            distance=outcome.distance,
            threshold=self.limit,
            confidence=value,
            points=orientation.stored_points(outcome.points, shape),
            labels=outcome.labels,
            predicted_iou=outcome.predicted_iou,
            interpolated=bridged and there,
            touches_limit=outcome.touches and there and not carried,
            carried=carried,
            expected=outcome.reached,
        )

    def prior_index(self, prior_k: int) -> int:
        """The stored index of a canonical slice of the prior; -1 without a prior."""
        return prior_k


def slice_confidence(
    outcome: Outcome,
    mask: np.ndarray,
    neighbours: list[np.ndarray],
    limit: float,
    usual: Continuity,
    rules: ConfidenceSettings,
) -> float:
    """Confidence of a slice or frame, 0 to 1; of an empty one, that it is rightly empty.

    Args:
        outcome: what was found on it.
        mask: bool (H, W), what was kept of it.
        neighbours: masks bool (H, W) beside it, or before it, that are not empty.
        limit: the largest distance that is accepted.
        usual: how alike neighbours are as a rule.
        rules: how all of it is put together.
    """
    promised = rules.kind == "expected" and bool(np.isfinite(outcome.expected_dice))
    if not mask.any():
        if promised and outcome.area == 0:
            return outcome.expected_dice
        value = rejected_confidence(outcome.distance, limit, rules)
        return min(value, outcome.empty_dice) if promised and np.isfinite(outcome.empty_dice) else value
    found = continuity(mask, neighbours) if neighbours else None
    if not promised:
        return accepted_confidence(outcome.distance, limit, outcome.predicted_iou, found, usual, rules, outcome.touches)
    value = outcome.expected_dice * (rules.touching_factor if outcome.touches else 1.0)
    return value if found is None else value * jump_factor(found, usual, rules)


def finish_frame(
    mask: np.ndarray,
    outcome: Outcome,
    before: np.ndarray | None,
    limit: float,
    rules: ConfidenceSettings,
    *,
    confidence: float | None = None,
    anchor: int = -1,
) -> tuple[np.ndarray, FrameReport]:
    """Finish one frame: its mask, bool (H, W), empty where it was rejected, and its report.

    Args:
        mask: bool (H, W), cleaned.
        outcome: what was found; its points are in pixels of the frame.
        before: bool (H', W'), the mask of the frame before, if there is one to compare with.
        limit: the largest distance that is accepted.
        rules: how confidence is put together.
        confidence: 0 to 1, where it is known already.
        anchor: the frame that the mask was found from.
    """
    mask = mask if outcome.accepted else np.zeros_like(mask)
    if confidence is None:
        near = [before] if before is not None and before.shape == mask.shape and before.any() else []
        confidence = slice_confidence(outcome, mask, near, limit, Continuity(), rules)
    points, labels = outcome.points, outcome.labels
    return mask, frame_report(mask, outcome.accepted, outcome.distance, limit, confidence, points, labels, anchor)


def finish_mask(mask: np.ndarray, shape: Shape, rules: CleanupSettings | None, place: Overlap | None) -> np.ndarray:
    """Clean the mask of one frame, bool (H, W); components and holes at its ``place`` stay."""
    if rules is None or not mask.any():
        return mask
    volume = mask[None].copy()
    clean(volume, shape, rules, place, place)
    return volume[0]
