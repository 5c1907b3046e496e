"""A frame of a video again: from other points, or from a frame that somebody drew. Nothing is encoded twice.

Without a place in space there is no registered contour, so SAM's mask from all points and the clicks themselves decide;
see :mod:`.click_evidence`. Pixels stand for millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adaptsam.errors import InputError
from adaptsam.propagation.click_evidence import DEFAULT_CORRECTION, Clicks, CorrectedSlice, CorrectionSettings
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.sam import EmbeddingStore
from adaptsam.slicewise import SliceJob
from adaptsam.slicewise.frame_report import FrameResult
from adaptsam.slicewise.fusion import expected_dice


@dataclass(frozen=True, eq=False)
class VideoVisit:
    """A video as it was followed: what was outlined, and how.

    ``image`` uint8 (H, W, 3) is the outlined frame, ``masks`` bool (H, W) by structure; ``store`` holds embeddings.
    """

    image: np.ndarray = field(repr=False)
    masks: Mapping[str, np.ndarray] = field(repr=False)
    store: EmbeddingStore
    settings: VideoSettings = field(default_factory=VideoSettings)


def correct_frame(
    visit: VideoVisit,
    structure: str,
    frame: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    clicked: np.ndarray | None = None,
    settings: CorrectionSettings = DEFAULT_CORRECTION,
) -> CorrectedSlice:
    """One structure on one frame from other points than P²SAM's.

    Args:
        visit: the video as it was followed.
        structure: its name.
        frame: uint8 (H, W, 3).
        points: (n, 2), x and y in pixels of the frame.
        labels: (n,), 1 on the structure and 0 off it.
        clicked: bool (n,), the points that a person placed or moved; all by default.
        settings: how far a click reaches.

    Returns:
        The frame's mask, as slice 0 along axis 0.

    Raises:
        InputError: no such structure, no point, or points without labels.
    """
    mask = _outlined(visit, structure)
    clicks = Clicks.checked(points, labels, clicked, f"The frame needs at least one prompt of {structure}")
    method = P2SamSlices(visit.store, visit.settings.p2sam)
    result = method.segment_points(SliceJob(structure, visit.image, mask, frame), clicks.points, clicks.labels)
    if result is None:
        raise InputError(f"{structure} is too small for this model; nothing can be corrected with it.")
    gray = frame.mean(axis=2, dtype=np.float32)
    odds = clicks.weighed(result.logits, gray, (1.0, 1.0), settings)
    return CorrectedSlice(0, 0, odds > 0, clicks.points, clicks.labels, expected_dice(odds, odds > 0))


def follow_frame(
    visit: VideoVisit, structure: str, drawn: np.ndarray, mask: np.ndarray, others: Sequence[np.ndarray]
) -> Iterator[FrameResult]:
    """A structure on other frames, in their order, from a frame that somebody drew, uint8 (H, W, 3), mask (H, W).

    Raises:
        InputError: no such structure, or the mask is empty or too small for the model.
    """
    _outlined(visit, structure)
    if not others:
        return iter(())
    return propagate_video(others, drawn, {structure: mask}, store=visit.store, settings=visit.settings)


def _outlined(visit: VideoVisit, structure: str) -> np.ndarray:
    if structure not in visit.masks:
        raise InputError(f"{structure} was not followed in this video; choose one that was, or run it again.")
    return visit.masks[structure]
