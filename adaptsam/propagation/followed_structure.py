"""One structure on its way through a video: what it is known by, and how a mask of it is judged on a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adaptsam.errors import InputError
from adaptsam.propagation.carried_masks import CarriedMask
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.video_fusion import Agreement, FusedFrame, calibrate_video, fuse_frame, look_around
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.slicewise import SliceResult
from adaptsam.slicewise.acceptance import Threshold, calibrate
from adaptsam.slicewise.cleanup import shape_of
from adaptsam.slicewise.finishing import Outcome, finish_frame, finish_mask
from adaptsam.slicewise.frame_report import FrameReport, frame_report
from adaptsam.slicewise.fusion import Weights

#: The weight from which a model may find a structure again that flow has lost.
HEARD = 0.3

#: Prompts of a frame on which the model saw nothing.
NO_POINTS, NO_LABELS = np.zeros((0, 2)), np.zeros(0, int)


@dataclass(frozen=True, eq=False)
class Anchor:
    """A picture with a mask that frames are segmented from; ``index`` -1 is the outlined picture or frame."""

    index: int
    image: np.ndarray
    mask: np.ndarray


#: What an anchor's mask became on a frame.
Found = tuple[Anchor, SliceResult]


class FollowedStructure:
    """One structure of a run.

    Args:
        name: of the structure.
        image: the outlined picture, uint8 (H, W, 3).
        mask: bool (H, W).
        method: segments frames, and measures distances between them.
        settings: of the run.

    Raises:
        InputError: the mask is smaller than a patch of the model.
    """

    def __init__(
        self, name: str, image: np.ndarray, mask: np.ndarray, method: P2SamSlices, settings: VideoSettings
    ) -> None:
        if not method.usable(image, mask):
            raise InputError(
                f"{name} is too small for this model: not one of its patches lies within the outline; "
                "outline a frame on which it is larger, or give a model with a finer grid."
            )
        self.name, self.origin = name, Anchor(-1, image, mask)
        self.anchors: deque[Anchor] = deque(maxlen=settings.anchors.kept)
        self._method, self._settings = method, settings
        self._threshold, self._weights = Threshold(), Weights()
        if settings.acceptance != "off":
            pixel = (1.0, 1.0, 1.0)
            self._threshold = calibrate(method, [0], lambda _: (image, mask), pixel, settings.calibration)
        if settings.flow != "off":
            self._weights = calibrate_video(method, name, image, mask, settings.fusing)
        self._shape = shape_of(mask[None], settings.cleaning)
        self._agreement = Agreement()
        self._distances: deque[float] = deque(maxlen=settings.anchors.frames)
        self._before: np.ndarray | None = None

    def restart(self) -> None:
        """Forget all but the outlined frame: another direction begins at it."""
        self.anchors.clear()
        self._distances.clear()
        self._before = None

    def outlined(self) -> tuple[np.ndarray, FrameReport]:
        """Mask, bool (H, W), and report of the outlined frame itself."""
        mask = self.origin.mask
        self._before = mask
        self._distances.clear()
        return mask, frame_report(mask, True, 0.0, self._threshold.limit, 1.0, drawn=True)

    def alone(self, index: int, image: np.ndarray, found: Sequence[Found]) -> tuple[np.ndarray, FrameReport]:
        """Judge what the method found on a frame, uint8 (H, W, 3), that stands alone."""
        anchor, result, distance = self._nearest(image, found)
        mask = result.logits > 0
        accepted = self._threshold.accepts(distance) and bool(mask.any())
        if accepted:
            mask = self._cleaned(mask)
        outcome = Outcome(accepted, distance, result.predicted_iou, result.points, result.labels)
        mask, report = self._finish(index, image, mask, outcome, anchor, self._before)
        if mask.any():
            areas = float(mask.mean()), float(self.origin.mask.mean())  # another picture may have another size
            share = self._settings.area_share
            trust = report.confidence ** (1 - share) * (min(areas) / max(areas)) ** share
            report = replace(report, confidence=trust)
        return mask, report

    def fused(
        self, index: int, image: np.ndarray, found: Sequence[Found], carried: CarriedMask
    ) -> tuple[np.ndarray, FrameReport, np.ndarray]:
        """Weigh flow and method on one frame and judge what comes of it; with the trust (H, W) that it deserves."""
        fusing = self._settings.fusing
        anchor, result = self.origin, None
        logits = np.zeros(image.shape[:2], np.float32)
        if found:
            anchor, result, _ = self._nearest(image, found)
            logits = result.logits
            self._agreement.tell(carried, logits, look_around(carried, fusing))
        weights = self._agreement.heard(self._weights, fusing)
        fused = fuse_frame(carried, logits, weights, fusing)
        mask = fused.mask if fused is not None else (logits > 0) & (weights.method >= HEARD)
        mask = self._cleaned(mask, None if fused is None else carried)
        distance = self._to_origin(image, mask) if mask.any() else float("inf")
        accepted = bool(mask.any()) and self._accepts(distance, fused)
        points, labels = (NO_POINTS, NO_LABELS) if result is None else (result.points, result.labels)
        outcome = Outcome(accepted, distance, 1.0, points, labels)
        known = self._fused_confidence(carried, fused, accepted)
        mask, report = self._finish(index, image, mask, outcome, anchor, None, known)
        seen = report.confidence * weights.method / (1.0 + weights.method)
        return mask, report, np.maximum(0.0 if fused is None else carried.trust, seen)

    def _finish(
        self,
        index: int,
        image: np.ndarray,
        mask: np.ndarray,
        outcome: Outcome,
        anchor: Anchor,
        before: np.ndarray | None,
        confidence: float | None = None,
    ) -> tuple[np.ndarray, FrameReport]:
        """Finish a judged frame, and remember it."""
        limit, rules = self._threshold.limit, self._settings.confidence
        mask, report = finish_frame(mask, outcome, before, limit, rules, confidence=confidence, anchor=anchor.index)
        self._before = mask
        if self._settings.reanchor:
            self._consider(index, image, mask, outcome.distance)
        return mask, report

    def _cleaned(self, mask: np.ndarray, carried: CarriedMask | None = None) -> np.ndarray:
        """A mask without components and holes that the outlined one has not; those at a carried place stay."""

        def home(voxels: np.ndarray) -> float:
            assert carried is not None
            return float((carried.share[voxels[:, 1], voxels[:, 2]] > 0.5).mean())

        rules = self._settings.cleaning if self._settings.cleanup else None
        return finish_mask(mask, self._shape, rules, None if carried is None else home)

    def _accepts(self, distance: float, fused: FusedFrame | None) -> bool:
        if self._settings.acceptance == "off" or self._threshold.accepts(distance):
            return True
        return fused is not None and fused.trust >= self._settings.fusing.enough_trust

    def _fused_confidence(self, carried: CarriedMask, fused: FusedFrame | None, accepted: bool) -> float | None:
        """The Dice that the odds promise; of an empty mask, how well flow knows the picture in which it is lost."""
        if accepted and fused is not None:
            return float(fused.expected_dice**self._settings.fusing.surer)
        return float(carried.trust.mean()) if not accepted and fused is None else None

    def _nearest(self, image: np.ndarray, found: Sequence[Found]) -> tuple[Anchor, SliceResult, float]:
        """The mask that is nearest to the outlined frame, whichever anchor it came from."""
        judged = []
        for anchor, result in found:
            distance = result.distance
            if anchor is not self.origin:
                distance = self._to_origin(image, result.logits > 0)
            judged.append((anchor, result, distance))
        return min(judged, key=lambda one: one[2])

    def _to_origin(self, image: np.ndarray, mask: np.ndarray) -> float:
        origin = self.origin
        distance = float(self._method.prior_distances([origin.image, image], [origin.mask, mask])[0])
        return distance if np.isfinite(distance) else float("inf")

    def _consider(self, index: int, image: np.ndarray, mask: np.ndarray, distance: float) -> None:
        """Make the frame an anchor if it and those before it were near the outlined one and alike."""
        rule, limit = self._settings.anchors, self._threshold.limit
        if not mask.any() or not np.isfinite(limit) or distance > rule.distance_share * limit:
            self._distances.clear()
            return
        self._distances.append(distance)
        stable = max(self._distances) - min(self._distances) <= rule.spread_share * limit
        if len(self._distances) == rule.frames and stable and self._method.usable(image, mask):
            self.anchors.append(Anchor(index, image, mask))
            self._distances.clear()
