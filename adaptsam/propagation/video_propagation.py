"""A structure outlined on one frame of a video, found on all others: P²SAM frame by frame, in constant memory.

Frames have no place in space, so nothing is registered and points may lie anywhere. A frame is accepted by the rule of
:mod:`adaptsam.slicewise.acceptance` for a single slice: where the structure is out of sight, the mask is empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np

from adaptsam.errors import InputError
from adaptsam.io.inputs import as_frame_masks, as_frames, as_picture
from adaptsam.io.video.frames import Frames, check_frame
from adaptsam.p2sam import Settings
from adaptsam.progress import Progress, Repeating, silent
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise import AcceptanceSettings, CleanupSettings, ConfidenceSettings, SliceJob, SliceResult
from adaptsam.slicewise.acceptance import Threshold, calibrate
from adaptsam.slicewise.cleanup import Shape, clean, shape_of
from adaptsam.slicewise.confidence import Continuity, accepted_confidence, continuity, rejected_confidence
from adaptsam.slicewise.frame_report import FrameReport, FrameResult, frame_report


@dataclass(frozen=True)
class AnchorSettings:
    """Settings of re-anchoring: the frames of the result that become further priors.

    ``frames`` accepted ones in a row must be nearer to the drawn frame than ``distance_share`` of the limit, and their
    distances must differ by less than ``spread_share`` of it: the last of them is an anchor then, and the ``kept``
    newest count. Every later mask is judged by its distance to the drawn frame, whichever anchor it came from, so that
    errors cannot add up from anchor to anchor.
    """

    kept: int = 2
    frames: int = 3
    distance_share: float = 0.6
    spread_share: float = 0.2


@dataclass(frozen=True)
class VideoSettings:
    """Settings of the propagation through a video.

    Args:
        p2sam: the method on one frame; ``p2sam.domain`` "natural" for things and animals.
        acceptance: "calibrated", or "off" to keep a mask on every frame (the papers).
        calibration: of the acceptance; ``ring_mm`` counts pixels here. On three real sequences, the distances of frames
            with the structure and of the same ones without it overlapped, and the limit of single slices (0.6 of the
            distance to the surroundings) rejected nine of nine true frames of one: so it is 0.8, as for several slices.
        cleanup: whether every mask loses small components and holes that the outlined one has not. Off as in the
            papers: on three sequences it lowered the Dice by 0.00 to 0.03.
        cleaning: what that is.
        confidence: how it is put together; the neighbour is the frame before.
        area_share: the part in it, as an exponent, of the mask's share of the frame against the outlined one's, smaller
            over larger.
        reanchor: whether confident frames become further priors.
        anchors: when they do.
        batch_frames: frames that are decoded together and in memory at a time.
    """

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "acceptance": ("acceptance", "calibration"),
        "cleanup": ("cleanup", "cleaning"),
        "reanchor": ("reanchor", "anchors"),
    }

    p2sam: Settings = field(default_factory=Settings)
    acceptance: str = "calibrated"
    calibration: AcceptanceSettings = field(default_factory=lambda: AcceptanceSettings(single_slice_share=0.8))
    cleanup: bool = False
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    area_share: float = 1 / 3
    reanchor: bool = False
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    batch_frames: int = 4

    def __post_init__(self) -> None:
        if self.acceptance not in ("calibrated", "off"):
            raise InputError(f"acceptance can be 'calibrated' or 'off', not {self.acceptance!r}.")
        if not 0 <= self.area_share <= 1:
            raise InputError(f"area_share must lie between 0 and 1, but is {self.area_share!r}.")
        if self.batch_frames < 1:
            raise InputError(f"batch_frames must be at least 1, but is {self.batch_frames}.")


def propagate_video(
    frames: Frames | Sequence[np.ndarray] | str | Path,
    outlined: int | np.ndarray | str | Path,
    masks: Mapping[str, np.ndarray] | np.ndarray | str | Path,
    *,
    model: SamModel | str | Path | None = None,
    settings: VideoSettings | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
) -> Iterator[FrameResult]:
    """Find the structures of one outlined frame on every frame of a video, with P²SAM.

    What is checked is checked at once; the frames are read and segmented while the result is iterated, a few at a time,
    and neither they nor, without a ``store``, their embeddings are kept.

    Args:
        frames: at least two, or one where another picture is outlined; uint8 (H, W, 3) in RGB order or (H, W) gray; or
            the path of a video or of a folder of pictures, see :func:`adaptsam.io.read_frames`.
        outlined: the index of the outlined frame, from 0, or another picture of the same thing, or its path.
        masks: by structure, bool (H, W) on the outlined frame; or one mask, or the path of a mask picture.
        model: the promptable model; the bundled one by default.
        settings: see :class:`VideoSettings`.
        progress: told "segment" with frames done and in all; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used); what it holds in memory adds to the frames.

    Returns:
        One :class:`FrameResult` per frame, in order. The outlined frame has the given masks.

    Raises:
        InputError: one frame only, no such frame, a mask that is empty, of another size, or smaller than one patch of
            the model's grid; while iterating, frames of different sizes.

    Example:
        >>> video = read_frames("clip.mp4")
        >>> for frame in propagate_video(video, 3, read_mask_picture("frame3.png")):
        ...     frame.index, frame.masks["structure"], frame.reports["structure"].confidence
    """
    options = settings or VideoSettings()
    frames, outlined, masks = as_frames(frames), as_picture(outlined), as_frame_masks(masks)
    if len(frames) < (2 if isinstance(outlined, int | np.integer) else 1):
        raise InputError("The video has one frame; nothing can be followed in it. Give at least two frames.")
    drawn = -1
    if isinstance(outlined, int | np.integer):
        drawn = int(outlined)
        if not 0 <= drawn < len(frames):
            raise InputError(f"There is no frame {drawn}: the frames are numbered 0 to {len(frames) - 1}.")
        outlined = frames[drawn]
    image = check_frame(outlined, None, max(drawn, 0))
    given = {name: _checked_mask(name, mask, image) for name, mask in masks.items()}
    if not given:
        raise InputError("There is no structure to follow; give at least one mask.")
    if store is None:
        model = model if isinstance(model, SamModel) else load_sam(model)
        one = 4 * model.embed_dim * model.grid_size**2
        store = EmbeddingStore(model, memory_bytes=one * embeddings_held(len(given), options))
    follower = _Follower(store, image, given, drawn, options, progress)
    return follower.follow(frames, len(frames))


def embeddings_held(structures: int, settings: VideoSettings) -> int:
    """Room for the priors of so many structures and for the frames at hand; what was segmented is not needed again."""
    return _priors(structures, settings) + settings.batch_frames + 1


def _priors(structures: int, settings: VideoSettings) -> int:
    return structures * (1 + settings.anchors.kept * settings.reanchor)


@dataclass(frozen=True, eq=False)
class _Anchor:
    """A picture with masks that frames are segmented from; ``index`` -1 is the outlined picture or frame."""

    index: int
    image: np.ndarray
    mask: np.ndarray


@dataclass(eq=False)
class _Thread:
    """One structure on its way through the video."""

    name: str
    origin: _Anchor
    threshold: Threshold
    shape: Shape
    anchors: deque[_Anchor]
    distances: deque[float]
    before: np.ndarray | None = None


class _Follower:
    """The state of one run: the model's method, and what is known of each structure."""

    def __init__(
        self,
        store: EmbeddingStore,
        image: np.ndarray,
        masks: Mapping[str, np.ndarray],
        drawn: int,
        settings: VideoSettings,
        progress: Progress,
    ) -> None:
        self._settings, self._drawn, self._tell = settings, drawn, Repeating(progress)
        kept = _priors(len(masks), settings) + settings.batch_frames
        self._method = P2SamSlices(store, settings.p2sam, self._tell.again, kept_priors=kept)
        self._threads = [self._begin(name, image, mask) for name, mask in masks.items()]

    def _begin(self, name: str, image: np.ndarray, mask: np.ndarray) -> _Thread:
        if not self._method.usable(image, mask):
            raise InputError(
                f"{name} is too small for this model: not one of its patches lies within the outline; "
                "outline a frame on which it is larger, or give a model with a finer grid."
            )
        threshold = Threshold()
        if self._settings.acceptance != "off":
            pixel = (1.0, 1.0, 1.0)
            threshold = calibrate(self._method, [0], lambda _: (image, mask), pixel, self._settings.calibration)
        return _Thread(
            name,
            _Anchor(-1, image, mask),
            threshold,
            shape_of(mask[None], self._settings.cleaning),
            deque(maxlen=self._settings.anchors.kept),
            deque(maxlen=self._settings.anchors.frames),
        )

    def follow(self, frames: Iterable[np.ndarray], total: int) -> Iterator[FrameResult]:
        source = iter(frames)
        done = 0
        size: tuple[int, int] | None = None
        self._tell("segment", 0, total)
        while batch := list(islice(source, self._settings.batch_frames)):
            images = []
            for number, frame in enumerate(batch, start=done):
                images.append(check_frame(frame, size, number))
                size = size or (images[-1].shape[0], images[-1].shape[1])
            yield from self._segment(done, images)
            done += len(batch)
            self._tell("segment", done, total)

    def _segment(self, first: int, images: Sequence[np.ndarray]) -> list[FrameResult]:
        """A few frames, all structures and anchors decoded together."""
        asked = [
            (number, thread, anchor)
            for number in range(len(images))
            if first + number != self._drawn
            for thread in self._threads
            for anchor in (thread.origin, *thread.anchors)
        ]
        jobs = [SliceJob(t.name, a.image, a.mask, images[n]) for n, t, a in asked]
        found: dict[tuple[int, str], list[tuple[_Anchor, SliceResult]]] = {}
        for (number, thread, anchor), result in zip(asked, self._method.segment(jobs) if jobs else [], strict=True):
            if result is not None:
                found.setdefault((number, thread.name), []).append((anchor, result))
        results = []
        for number, image in enumerate(images):
            each = {
                thread.name: self._take(thread, first + number, image, found.get((number, thread.name), []))
                for thread in self._threads
            }
            masks = {name: mask for name, (mask, _) in each.items()}
            results.append(
                FrameResult(first + number, image, masks, {name: report for name, (_, report) in each.items()})
            )
        return results

    def _take(
        self, thread: _Thread, index: int, image: np.ndarray, found: Sequence[tuple[_Anchor, SliceResult]]
    ) -> tuple[np.ndarray, FrameReport]:
        """Judge what was found on one frame."""
        if index == self._drawn:
            thread.before = thread.origin.mask
            thread.distances.clear()
            return thread.origin.mask, frame_report(
                thread.origin.mask, True, 0.0, thread.threshold.limit, 1.0, drawn=True
            )
        anchor, result, distance = self._nearest(thread, image, found)
        mask = result.logits > 0
        accepted = thread.threshold.accepts(distance) and bool(mask.any())
        if not accepted:
            mask = np.zeros_like(mask)
        elif self._settings.cleanup:
            mask = mask[None].copy()
            clean(mask, thread.shape, self._settings.cleaning)
            mask = mask[0]
        confidence = self._confidence(thread, mask, distance, result.predicted_iou)
        thread.before = mask
        if self._settings.reanchor:
            self._consider(thread, index, image, mask, distance)
        report = frame_report(
            mask, accepted, distance, thread.threshold.limit, confidence, result.points, result.labels, anchor.index
        )
        return mask, report

    def _nearest(
        self, thread: _Thread, image: np.ndarray, found: Sequence[tuple[_Anchor, SliceResult]]
    ) -> tuple[_Anchor, SliceResult, float]:
        """The mask that is nearest to the outlined frame, whichever anchor it came from."""
        judged = []
        for anchor, result in found:
            distance = result.distance
            if anchor is not thread.origin:
                distance = self._to_origin(thread, image, result.logits > 0)
            judged.append((anchor, result, distance))
        return min(judged, key=lambda one: one[2])

    def _to_origin(self, thread: _Thread, image: np.ndarray, mask: np.ndarray) -> float:
        origin = thread.origin
        distance = float(self._method.prior_distances([origin.image, image], [origin.mask, mask])[0])
        return distance if np.isfinite(distance) else float("inf")

    def _confidence(self, thread: _Thread, mask: np.ndarray, distance: float, predicted_iou: float) -> float:
        limit, settings = thread.threshold.limit, self._settings.confidence
        if not mask.any():
            return rejected_confidence(distance, limit, settings)
        before = thread.before
        neighbour = before is not None and before.shape == mask.shape and before.any()
        alike = continuity(mask, [before]) if neighbour and before is not None else None
        value = accepted_confidence(distance, limit, predicted_iou, alike, Continuity(), settings)
        areas = float(mask.mean()), float(thread.origin.mask.mean())  # another picture may have another size
        share = self._settings.area_share
        return value ** (1 - share) * (min(areas) / max(areas)) ** share

    def _consider(self, thread: _Thread, index: int, image: np.ndarray, mask: np.ndarray, distance: float) -> None:
        """Make the frame an anchor if it and those before it were near the outlined one and alike."""
        rule, limit = self._settings.anchors, thread.threshold.limit
        if not mask.any() or not np.isfinite(limit) or distance > rule.distance_share * limit:
            thread.distances.clear()
            return
        thread.distances.append(distance)
        stable = max(thread.distances) - min(thread.distances) <= rule.spread_share * limit
        if len(thread.distances) == rule.frames and stable and self._method.usable(image, mask):
            thread.anchors.append(_Anchor(index, image, mask))
            thread.distances.clear()


def _checked_mask(name: str, mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask, bool)
    if mask.shape != image.shape[:2]:
        shape = "×".join(str(length) for length in mask.shape[::-1])
        raise InputError(
            f"The mask of {name} has {shape} pixels and the outlined frame {image.shape[1]}×{image.shape[0]}; "
            "draw it on that frame."
        )
    if not mask.any():
        raise InputError(f"The mask of {name} is empty; outline the structure on the frame.")
    return mask
