"""One answer for a frame from two witnesses: the mask that flow carries there, and the method's.

Both speak in log-odds, as in :mod:`adaptsam.slicewise.fusion`, with pixels for millimetres: the carried contour is off
by some pixels, more where its flow is believed less, and where it is not believed at all it says nothing. How much the
method is to be heard is told before the video: the outlined frame, turned, shifted, magnified and lit anew, is
segmented from itself with the contour that flow would carry there, off by its usual error. A model that cannot see the
structure gets a weight near 0, and the mask is the carried one. A picture's own variants are easy, though: so a model
is heard only as far as its masks agree with the carried ones where flow is trusted (:class:`Agreement`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adaptsam.image.signed_distance import signed_distance
from adaptsam.propagation.carried_masks import CarriedMask
from adaptsam.registration.optical_flow import SIDE, one_thread
from adaptsam.slicewise import FusionSettings, SliceJob
from adaptsam.slicewise.fusion import Evidence, Weights, expected_dice, fit, fuse, method_odds
from adaptsam.slicewise.slice_method import SliceMethod

#: The outlined frame as another one might show it: degrees, scale, shift as shares of width and height, and gamma.
VARIANTS = (
    (8.0, 1.1, (0.06, 0.02), 0.8),
    (-8.0, 0.92, (-0.05, 0.05), 1.25),
    (4.0, 0.95, (0.02, -0.06), 1.1),
    (-4.0, 1.15, (-0.03, -0.03), 0.9),
)

#: Pixels of one frame that the weight is fitted to, at most.
PIXELS = 4000


@dataclass(frozen=True)
class VideoFusionSettings:
    """Weights of a carried mask and the method's.

    ``error_px`` is what a contour that is fully trusted is usually off by, in pixels of a frame of 384, ``distrust``
    how many times as much is added where nothing is trusted; ``change`` is the share of pixels that are not what they
    were, which grows to 1 with distrust. The method looks within ``margin_px`` of the carried contour. Its weight is at
    most ``largest_weight``. A mask is accepted if half of its pixels are trusted at least ``enough_trust``,
    whatever its distance. A model whose agreement with trusted flow is ``agreement[0]`` or less is not heard, and one
    from ``agreement[1]`` on is heard in full. The confidence is the Dice that the odds promise to the power
    ``surer``: flow is right more often than it is believed (chosen on two clips of DAVIS).
    """

    error_px: float = 4.0
    distrust: float = 3.0
    change: float = 0.05
    margin_px: float = 24.0
    largest_weight: float = 3.0
    enough_trust: float = 0.02
    agreement: tuple[float, float] = (0.6, 0.85)
    surer: float = 0.2


@dataclass(frozen=True, eq=False)
class FusedFrame:
    """``odds`` (H, W) that a pixel belongs to the structure, and the ``mask`` where they are positive.

    ``trust`` is the median of that in what flow said of it, 0 to 1, ``expected_dice`` what the odds promise.
    """

    odds: np.ndarray
    mask: np.ndarray
    trust: float
    expected_dice: float


class Agreement:
    """Mean Dice of a method's masks and the carried ones over the frames so far, each by the trust in what flow says.

    It begins at 0, as if one frame of little trust had shown no agreement.
    """

    def __init__(self) -> None:
        self._weight, self._sum = 0.05, 0.0

    def tell(self, carried: CarriedMask, logits: np.ndarray, region: np.ndarray | None) -> None:
        """Add a frame: share and trust (H, W), the method's logits (H, W), and where it may look, bool (H, W)."""
        there = carried.share > 0.5
        found = logits > 0 if region is None else (logits > 0) & region
        if there.any():
            trust = float(carried.trust[there].mean())
            self._weight += trust
            self._sum += trust * 2.0 * int((there & found).sum()) / (int(there.sum()) + int(found.sum()))

    def heard(self, weights: Weights, settings: VideoFusionSettings) -> Weights:
        """The weights that a method deserves after these frames."""
        low, high = settings.agreement
        share = float(np.clip((self._sum / self._weight - low) / max(high - low, 1e-6), 0.0, 1.0))
        return Weights(share * weights.method, 0.0)


def pixel_of(size: tuple[int, int]) -> float:
    """Pixels of a frame of (H, W) for each pixel of one of 384."""
    return max(1.0, max(size) / SIDE)


def look_around(carried: CarriedMask, settings: VideoFusionSettings) -> np.ndarray | None:
    """Region of the method's points, bool (H, W); None for anywhere, where flow has lost the structure."""
    mask = carried.share > 0.5
    if not mask.any():
        return None
    return signed_distance(mask, (1.0, 1.0)) <= settings.margin_px * pixel_of((mask.shape[0], mask.shape[1]))


def fuse_frame(
    carried: CarriedMask, logits: np.ndarray, weights: Weights, settings: VideoFusionSettings
) -> FusedFrame | None:
    """The structure on one frame; None where flow has lost it, so that nothing is left to fuse.

    Args:
        carried: share and trust (H, W).
        logits: the method's (H, W).
        weights: as :func:`calibrate_video` tells them.
        settings: see :class:`VideoFusionSettings`.
    """
    there = carried.share > 0.5
    if not there.any():
        return None
    distance = signed_distance(there, (1.0, 1.0)) / pixel_of((there.shape[0], there.shape[1]))
    doubt = 1.0 - np.clip(carried.trust, 0.0, 1.0)
    error = settings.error_px * (1.0 + settings.distrust * doubt)
    change = np.clip(settings.change + (1.0 - settings.change) * doubt**4, 0.0, 0.999)
    evidence = Evidence(distance, method_odds(logits), np.zeros_like(distance))
    odds = fuse(evidence, weights, error, change)
    mask = odds > 0
    trusted = float(np.median(carried.trust[mask | there]))
    return FusedFrame(odds, mask, trusted, expected_dice(odds, mask))


def calibrate_video(
    method: SliceMethod, name: str, image: np.ndarray, mask: np.ndarray, settings: VideoFusionSettings
) -> Weights:
    """The method's weight for one structure, from variants of the outlined picture uint8 (H, W, 3), mask (H, W)."""
    pixel = pixel_of((mask.shape[0], mask.shape[1]))
    evidence, truth, jobs = [], [], []
    fields = []
    for place, variant in enumerate(VARIANTS):
        shown, moved = _varied(image, mask, variant)
        if not moved.any():
            continue
        angle = 2.4 * place  # the golden angle, so that all directions occur
        off = _shifted(moved, settings.error_px * pixel * np.array([np.cos(angle), np.sin(angle)]))
        distance = signed_distance(off if off.any() else moved, (1.0, 1.0)) / pixel
        jobs.append(SliceJob(name, image, mask, shown, distance <= settings.margin_px))
        fields.append((distance, moved))
    for result, (distance, moved) in zip(method.segment(jobs) if jobs else [], fields, strict=True):
        if result is None:
            continue
        near = np.flatnonzero(np.abs(distance) <= settings.margin_px)
        near = near[:: max(1, len(near) // PIXELS)]
        logits = method_odds(result.logits).ravel()[near]
        evidence.append(Evidence(distance.ravel()[near], logits, np.zeros(len(near))))
        truth.append(moved.ravel()[near])
    rules = FusionSettings(appearance=False, change=settings.change, largest_weight=settings.largest_weight)
    return fit(evidence, truth, rules, settings.error_px)


def _varied(
    image: np.ndarray, mask: np.ndarray, variant: tuple[float, float, tuple[float, float], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask turned and magnified about the structure, shifted, and the picture lit anew."""
    degrees, scale, shift, gamma = variant
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    matrix = cv2.getRotationMatrix2D((float(columns.mean()), float(rows.mean())), degrees, scale)
    matrix[:, 2] += [shift[0] * width, shift[1] * height]
    with one_thread():
        shown = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        moved = cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
    lit = 255.0 * (shown.astype(np.float32) / 255.0) ** gamma
    return np.rint(lit).astype(np.uint8), moved > 0


def _shifted(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A mask moved by (x, y) pixels."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return np.asarray(moved) > 0
