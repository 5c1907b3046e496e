"""A structure outlined on one frame of a video, found on all others: P²SAM led by optical flow, in constant memory.

Frames follow each other: dense flow carries mask and place from the outlined frame and from its neighbours
(``carried_masks``), as registration does in a volume, P²SAM looks near that place, and both are weighed by what the
outlined frame says of the model (``video_fusion``). A frame is accepted where flow can be believed, or by the rule of
:mod:`adaptsam.slicewise.acceptance` for a single slice: where the structure is out of sight, the mask is empty.
Frames before the outlined one are followed backwards from it. Without flow (the papers), every frame stands alone.
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
from adaptsam.io.inputs import as_frame_masks, as_frames, as_picture, as_settings
from adaptsam.io.video.frames import Frames, check_frame, checked_frames
from adaptsam.p2sam import P2SamSettings
from adaptsam.progress import Progress, Repeating, silent
from adaptsam.propagation.carried_masks import CarriedMask, FrameVotes, Remembered, resized
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.video_fusion import (
    Agreement,
    FusedFrame,
    VideoFusionSettings,
    calibrate_video,
    fuse_frame,
    look_around,
)
from adaptsam.registration.optical_flow import FlowFrame
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise import AcceptanceSettings, CleanupSettings, ConfidenceSettings, SliceJob, SliceResult
from adaptsam.slicewise.acceptance import Threshold, calibrate
from adaptsam.slicewise.batch_loop import batches
from adaptsam.slicewise.cleanup import Shape, clean, shape_of
from adaptsam.slicewise.confidence import Continuity, accepted_confidence, continuity, rejected_confidence
from adaptsam.slicewise.frame_report import FrameReport, FrameResult, frame_report
from adaptsam.slicewise.fusion import Weights

#: How many frames back, beside the outlined one, flow starts from.
LOOK_BACK = (1, 3)

#: Frames before the outlined one that are read at a time, since they are followed backwards.
READ_BACK = 16

#: The weight from which a model may find a structure again that flow has lost.
HEARD = 0.3


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
        flow: "calibrated" carries masks by optical flow and weighs the method with them; "off" is the method alone,
            frame by frame (the papers).
        fusing: how they are weighed.
        cleanup: whether every mask loses small components and holes that the outlined one has not.
        cleaning: what that is.
        confidence: how it is put together; the neighbour is the frame before.
        area_share: without flow, the part in it, as an exponent, of the mask's share of the frame against the outlined
            one's, smaller over larger.
        reanchor: whether confident frames become further priors.
        anchors: when they do.
        batch_frames: frames that are decoded together and in memory at a time.
    """

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "acceptance": ("acceptance", "calibration"),
        "flow": ("flow", "fusing"),
        "cleanup": ("cleanup", "cleaning"),
        "reanchor": ("reanchor", "anchors"),
    }

    p2sam: P2SamSettings = field(default_factory=P2SamSettings)
    acceptance: str = "calibrated"
    calibration: AcceptanceSettings = field(default_factory=lambda: AcceptanceSettings(single_slice_share=0.8))
    flow: str = "calibrated"
    fusing: VideoFusionSettings = field(default_factory=VideoFusionSettings)
    cleanup: bool = True
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    area_share: float = 1 / 3
    reanchor: bool = False
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    batch_frames: int = 4

    def __post_init__(self) -> None:
        for name in ("acceptance", "flow"):
            if getattr(self, name) not in ("calibrated", "off"):
                raise InputError(f"{name} can be 'calibrated' or 'off', not {getattr(self, name)!r}.")
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
        progress: receives "segment" with frames done and in all; cancels by raising Cancelled.
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
    options = as_settings(settings, VideoSettings)
    frames, outlined, masks = as_frames(frames), as_picture(outlined), as_frame_masks(masks)
    if len(frames) < (2 if isinstance(outlined, int | np.integer) else 1):
        raise InputError("The video has one frame; nothing can be followed in it. Give at least two frames.")
    drawn, picture = -1, outlined
    if isinstance(outlined, int | np.integer):
        drawn = int(outlined)
        if not 0 <= drawn < len(frames):
            raise InputError(f"There is no frame {drawn}: the frames are numbered 0 to {len(frames) - 1}.")
        picture = frames[drawn]
    image = check_frame(np.asarray(picture), None, max(drawn, 0))
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


@dataclass(frozen=True, eq=False)
class _Packed:
    """A result without its picture, masks as bits: frames that are segmented before their turn wait so."""

    bits: Mapping[str, np.ndarray]
    reports: Mapping[str, FrameReport]

    @classmethod
    def of(cls, result: FrameResult) -> _Packed:
        return cls({name: np.packbits(mask) for name, mask in result.masks.items()}, result.reports)

    def unpacked(self, number: int, image: np.ndarray) -> FrameResult:
        size = image.shape[:2]
        masks = {
            name: np.unpackbits(bits, count=size[0] * size[1]).astype(bool).reshape(size)
            for name, bits in self.bits.items()
        }
        return FrameResult(number, image, masks, self.reports)


@dataclass(eq=False)
class _Thread:
    """One structure on its way through the video."""

    name: str
    origin: _Anchor
    threshold: Threshold
    shape: Shape
    anchors: deque[_Anchor]
    distances: deque[float]
    weights: Weights
    agreement: Agreement = field(default_factory=Agreement)
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
        self._store = store
        self._origin: Remembered | None = None
        self._recent: dict[int, Remembered] = {}

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
        weights = Weights()
        if self._settings.flow != "off":
            weights = calibrate_video(self._method, name, image, mask, self._settings.fusing)
        return _Thread(
            name,
            _Anchor(-1, image, mask),
            threshold,
            shape_of(mask[None], self._settings.cleaning),
            deque(maxlen=self._settings.anchors.kept),
            deque(maxlen=self._settings.anchors.frames),
            weights,
        )

    def follow(self, frames: Iterable[np.ndarray], total: int) -> Iterator[FrameResult]:
        """All frames in order; with flow, those before the outlined one are segmented first, from it backwards."""
        if self._settings.flow == "off":
            for first, images in self._batches(frames, total):
                yield from self._segment(first, images)
            return
        earlier = self._backwards(frames, total) if self._drawn > 0 else {}
        self._restart()
        for first, images in self._batches(frames, total):
            self._store.get([image for n, image in enumerate(images, first) if n not in earlier and n != self._drawn])
            for number, image in enumerate(images, first):
                if number in earlier:
                    yield earlier.pop(number).unpacked(number, image)
                else:
                    yield self._next(number, image, 1)

    def _batches(self, frames: Iterable[np.ndarray], total: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        return batches(checked_frames(frames), self._settings.batch_frames, self._tell, "segment", total)

    def _backwards(self, frames: Iterable[np.ndarray], total: int) -> dict[int, _Packed]:
        """Results of the frames before the outlined one, from it to the first."""
        made: dict[int, _Packed] = {}
        high = self._drawn
        while high > 0:
            low = max(0, high - READ_BACK)
            images = [check_frame(frame, None, n) for n, frame in enumerate(islice(iter(frames), low, high), low)]
            for number in range(high - 1, low - 1, -1):
                made[number] = _Packed.of(self._next(number, images[number - low], -1))
                self._tell("segment", len(made), total)
            high = low
        return made

    def _restart(self) -> None:
        """Forget all but the outlined frame: another direction begins at it."""
        self._recent.clear()
        for thread in self._threads:
            thread.anchors.clear()
            thread.distances.clear()
            thread.before = None

    def _next(self, number: int, image: np.ndarray, step: int) -> FrameResult:
        """One frame, all structures and anchors together, from the outlined one and those already known beside it."""
        frame = FlowFrame(image)
        if self._origin is None or self._origin.frame.grid != frame.grid:
            self._origin = self._outlined(frame.grid)
        if number == self._drawn:
            return self._whole(number, image, {t.name: self._take(t, number, image, []) for t in self._threads})
        votes, size = FrameVotes(frame, (image.shape[0], image.shape[1])), image.shape[:2]
        nothing = CarriedMask(np.zeros(size, np.float32), np.zeros(size, np.float32))
        wanted = {number - back * step for back in LOOK_BACK}
        known, asked = Remembered(number, frame), []
        carried = {}
        for thread in self._threads:
            anchors = {anchor.index for anchor in thread.anchors}
            sources = [self._origin, *(one for n, one in self._recent.items() if n in wanted | anchors)]
            carried[thread.name] = votes.carry(thread.name, sources) or nothing
            region = look_around(carried[thread.name], self._settings.fusing)
            for anchor in (thread.origin, *thread.anchors):
                asked.append((thread, anchor, SliceJob(thread.name, anchor.image, anchor.mask, image, region)))
        found: dict[str, list[tuple[_Anchor, SliceResult]]] = {}
        told = self._method.segment([job for _, _, job in asked])
        for (thread, anchor, _), result in zip(asked, told, strict=True):
            if result is not None:
                found.setdefault(thread.name, []).append((anchor, result))
        each = {}
        for thread in self._threads:
            mask, report, trust = self._fused(thread, number, image, found.get(thread.name, []), carried[thread.name])
            each[thread.name] = (mask, report)
            if mask.any():
                known.share[thread.name] = resized(mask, frame.grid)
                known.trust[thread.name] = resized(trust, frame.grid)
        self._recent[number] = known
        kept = {number - back * step for back in range(max(LOOK_BACK))}
        kept |= {anchor.index for thread in self._threads for anchor in thread.anchors}
        self._recent = {n: one for n, one in self._recent.items() if n in kept}
        return self._whole(number, image, each)

    def _outlined(self, grid: tuple[int, int]) -> Remembered:
        """The outlined picture on the grid of the frames' flow."""
        made = Remembered(-1, FlowFrame(self._threads[0].origin.image, grid))
        for thread in self._threads:
            made.share[thread.name] = resized(thread.origin.mask, grid)
            made.trust[thread.name] = np.ones(grid, np.float32)
        return made

    @staticmethod
    def _whole(number: int, image: np.ndarray, each: Mapping[str, tuple[np.ndarray, FrameReport]]) -> FrameResult:
        masks = {name: mask for name, (mask, _) in each.items()}
        return FrameResult(number, image, masks, {name: report for name, (_, report) in each.items()})

    def _fused(
        self,
        thread: _Thread,
        index: int,
        image: np.ndarray,
        found: Sequence[tuple[_Anchor, SliceResult]],
        carried: CarriedMask,
    ) -> tuple[np.ndarray, FrameReport, np.ndarray]:
        """Weigh flow and method on one frame and judge what comes of it; with the trust (H, W) that it deserves."""
        anchor, result = thread.origin, None
        if found:
            anchor, result, _ = self._nearest(thread, image, found)
        logits = result.logits if result is not None else np.zeros(image.shape[:2], np.float32)
        if result is not None:
            thread.agreement.tell(carried, logits, look_around(carried, self._settings.fusing))
        weights = thread.agreement.heard(thread.weights, self._settings.fusing)
        heard = weights.method
        fused = fuse_frame(carried, logits, weights, self._settings.fusing)
        lost = fused is None
        mask = fused.mask if fused is not None else (logits > 0) & (heard >= HEARD)

        def home(voxels: np.ndarray) -> float:
            return float((carried.share[voxels[:, 1], voxels[:, 2]] > 0.5).mean())

        if self._settings.cleanup and mask.any():
            mask = mask[None].copy()
            clean(mask, thread.shape, self._settings.cleaning, None if lost else home, None if lost else home)
            mask = mask[0]
        distance = self._to_origin(thread, image, mask) if mask.any() else float("inf")
        accepted = bool(mask.any()) and self._accepts(thread, distance, fused)
        confidence = self._fused_confidence(thread, carried, fused, accepted, distance)
        if not accepted:
            mask = np.zeros_like(mask)
        thread.before = mask
        if self._settings.reanchor:
            self._consider(thread, index, image, mask, distance)
        points, labels = (result.points, result.labels) if result is not None else (None, None)
        report = frame_report(
            mask, accepted, distance, thread.threshold.limit, confidence, points, labels, anchor.index
        )
        seen = confidence * heard / (1.0 + heard)
        return mask, report, np.maximum(0.0 if lost else carried.trust, seen)

    def _accepts(self, thread: _Thread, distance: float, fused: FusedFrame | None) -> bool:
        if self._settings.acceptance == "off" or thread.threshold.accepts(distance):
            return True
        return fused is not None and fused.trust >= self._settings.fusing.enough_trust

    def _fused_confidence(
        self, thread: _Thread, carried: CarriedMask, fused: FusedFrame | None, accepted: bool, distance: float
    ) -> float:
        """The Dice that the odds promise; of an empty mask, how well flow knows the picture in which it is lost."""
        if accepted and fused is not None:
            return float(fused.expected_dice**self._settings.fusing.surer)
        if not accepted and fused is None:
            return float(carried.trust.mean())
        rule = self._settings.confidence
        if accepted:
            return accepted_confidence(distance, thread.threshold.limit, 1.0, None, Continuity(), rule)
        return rejected_confidence(distance, thread.threshold.limit, rule)

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
            results.append(self._whole(first + number, image, each))
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
