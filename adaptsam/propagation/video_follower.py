"""The loop over a video's frames: forwards, and backwards from the outlined one, led by optical flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from adaptsam.io.video.frames import check_frame, checked_frames
from adaptsam.progress import Progress, Repeating
from adaptsam.propagation.carried_masks import CarriedMask, FrameVotes, Remembered, resized
from adaptsam.propagation.followed_structure import FollowedStructure, Found
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.video_fusion import look_around
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.registration.optical_flow import FlowFrame
from adaptsam.sam import EmbeddingStore
from adaptsam.slicewise import SliceJob
from adaptsam.slicewise.batch_loop import batches
from adaptsam.slicewise.frame_report import FrameReport, FrameResult

#: How many frames back, beside the outlined one, flow starts from.
LOOK_BACK = (1, 3)

#: Frames before the outlined one that are read at a time, since they are followed backwards.
READ_BACK = 16


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


class FrameFollower:
    """The state of one run: the model's method, and what is known of each structure.

    Args:
        store: of embeddings.
        image: the outlined picture, uint8 (H, W, 3).
        masks: by structure, bool (H, W).
        drawn: the outlined frame's index, or -1 where it is another picture.
        settings: of the run.
        progress: receives "segment".
    """

    def __init__(
        self,
        store: EmbeddingStore,
        image: np.ndarray,
        masks: Mapping[str, np.ndarray],
        drawn: int,
        settings: VideoSettings,
        progress: Progress,
    ) -> None:
        self._settings, self._drawn, self._tell = settings, drawn, Repeating.of(progress)
        kept = settings.priors(len(masks)) + settings.batch_frames
        self._method = P2SamSlices(store, settings.p2sam, self._tell.again, kept_priors=kept)
        self._structures = [FollowedStructure(n, image, mask, self._method, settings) for n, mask in masks.items()]
        self._store = store
        self._origin: Remembered | None = None
        self._recent: dict[int, Remembered] = {}

    def follow(self, frames: Iterable[np.ndarray], total: int) -> Iterator[FrameResult]:
        """All frames, uint8 (H, W, 3), in order; with flow, those before the outlined one are segmented first."""
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
        for one in self._structures:
            one.restart()

    def _next(self, number: int, image: np.ndarray, step: int) -> FrameResult:
        """One frame, all structures and anchors together, from the outlined one and those already known beside it."""
        frame = FlowFrame(image)
        if self._origin is None or self._origin.frame.grid != frame.grid:
            self._origin = self._outlined(frame.grid)
        if number == self._drawn:
            return self._whole(number, image, {one.name: one.outlined() for one in self._structures})
        carried = self._carried(number, frame, image.shape[:2], step)
        regions = {name: look_around(mask, self._settings.fusing) for name, mask in carried.items()}
        [found] = self._found([image], regions)
        known, each = Remembered(number, frame), {}
        for one in self._structures:
            mask, report, trust = one.fused(number, image, found[one.name], carried[one.name])
            each[one.name] = (mask, report)
            if mask.any():
                known.share[one.name] = resized(mask, frame.grid)
                known.trust[one.name] = resized(trust, frame.grid)
        self._remember(known, step)
        return self._whole(number, image, each)

    def _carried(self, number: int, frame: FlowFrame, size: tuple[int, int], step: int) -> dict[str, CarriedMask]:
        """Each structure's mask as flow carries it from the outlined frame, anchors and neighbours."""
        assert self._origin is not None
        votes = FrameVotes(frame, size)
        nothing = CarriedMask(np.zeros(size, np.float32), np.zeros(size, np.float32))
        wanted = {number - back * step for back in LOOK_BACK}
        carried = {}
        for one in self._structures:
            near = wanted | {anchor.index for anchor in one.anchors}
            sources = [self._origin, *(known for n, known in self._recent.items() if n in near)]
            carried[one.name] = votes.carry(one.name, sources) or nothing
        return carried

    def _remember(self, known: Remembered, step: int) -> None:
        self._recent[known.index] = known
        kept = {known.index - back * step for back in range(max(LOOK_BACK))}
        kept |= {anchor.index for one in self._structures for anchor in one.anchors}
        self._recent = {n: one for n, one in self._recent.items() if n in kept}

    def _outlined(self, grid: tuple[int, int]) -> Remembered:
        """The outlined picture on the grid of the frames' flow."""
        made = Remembered(-1, FlowFrame(self._structures[0].origin.image, grid))
        for one in self._structures:
            made.share[one.name] = resized(one.origin.mask, grid)
            made.trust[one.name] = np.ones(grid, np.float32)
        return made

    @staticmethod
    def _whole(number: int, image: np.ndarray, each: Mapping[str, tuple[np.ndarray, FrameReport]]) -> FrameResult:
        masks = {name: mask for name, (mask, _) in each.items()}
        return FrameResult(number, image, masks, {name: report for name, (_, report) in each.items()})

    def _segment(self, first: int, images: Sequence[np.ndarray]) -> list[FrameResult]:
        """A few frames, each on its own, decoded together."""
        drawn = self._drawn - first
        others = [image for number, image in enumerate(images) if number != drawn]
        found = iter(self._found(others))
        results = []
        for number, image in enumerate(images):
            there = None if number == drawn else next(found)
            each = {
                one.name: one.outlined() if there is None else one.alone(first + number, image, there[one.name])
                for one in self._structures
            }
            results.append(self._whole(first + number, image, each))
        return results

    def _found(
        self, images: Sequence[np.ndarray], regions: Mapping[str, np.ndarray | None] | None = None
    ) -> list[dict[str, list[Found]]]:
        """Results of all anchors on each frame, by structure; decoded together."""
        asked = [
            (number, one.name, anchor)
            for number in range(len(images))
            for one in self._structures
            for anchor in (one.origin, *one.anchors)
        ]
        jobs = [SliceJob(name, a.image, a.mask, images[n], (regions or {}).get(name)) for n, name, a in asked]
        found: list[dict[str, list[Found]]] = [{one.name: [] for one in self._structures} for _ in images]
        for (number, name, anchor), result in zip(asked, self._method.segment(jobs) if jobs else [], strict=True):
            if result is not None:
                found[number][name].append((anchor, result))
        return found
