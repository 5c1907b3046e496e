"""P²SAM as the volume loop wants a method: images and masks in, an embedding store behind."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from adaptsam.p2sam import EMPTY_DISTANCE, Job, P2SamSettings, Prior, Result, segment, segment_points
from adaptsam.p2sam.feature_distances import DISTANCES
from adaptsam.p2sam.part_features import foreground_patches
from adaptsam.progress import Tick, unasked
from adaptsam.sam import Embedding, EmbeddingStore
from adaptsam.slicewise import SliceJob, SliceResult


class P2SamSlices:
    """Implements :class:`adaptsam.slicewise.SliceMethod`.

    Args:
        store: encodes every image once.
        settings: of P²SAM.
        tick: called before every pass of the encoder, every few of the decoder, and every transport; may raise to stop.
        kept_priors: how many prior slices keep their part features; the oldest are forgotten.

    Example:
        >>> method = P2SamSlices(EmbeddingStore(load_sam()))
        >>> carry(PriorVisit(method, prior, structures, settings), target)
    """

    def __init__(
        self,
        store: EmbeddingStore,
        settings: P2SamSettings | None = None,
        tick: Tick = unasked,
        kept_priors: int = 48,
    ) -> None:
        self.store = store
        self.settings = settings or P2SamSettings()
        self._tick = tick
        self._kept = kept_priors
        self._priors: OrderedDict[tuple[str, bytes], Prior] = OrderedDict()
        self._learning = threading.RLock()
        self._prior_keys: set[str] = set()
        self._target_keys: set[str] = set()

    @property
    def image_size(self) -> int:
        return self.store.model.image_size

    @property
    def grid_size(self) -> int:
        return self.store.model.grid_size

    @property
    def workers(self) -> int:
        return self.store.model.side_by_side

    @property
    def encoded(self) -> int:
        return self.store.encoded

    def usable(self, image: np.ndarray, mask: np.ndarray) -> bool:
        """Whether a patch of the model's grid lies mostly inside the mask (h, w); nothing is encoded for it."""
        self._tick()
        return bool(mask.any() and foreground_patches(self.store.model, mask).any())

    def segment(self, jobs: Sequence[SliceJob]) -> list[SliceResult | None]:
        """Every job's slice; None where its prior has no foreground patch. All are decoded together."""
        priors, targets = self._learn(
            [job.prior_image for job in jobs], [job.prior_mask for job in jobs], [job.target_image for job in jobs]
        )
        able = [n for n, prior in enumerate(priors) if prior.usable]
        asked = [Job(priors[n], targets[n], jobs[n].region, self._framed(jobs[n].hint, targets[n])) for n in able]
        done = segment(self.store.model, asked, self.settings, self._tick)
        results: list[SliceResult | None] = [None] * len(jobs)
        for n, result in zip(able, done, strict=True):
            results[n] = _slice_result(result)
        return results

    def segment_points(self, job: SliceJob, points: np.ndarray, labels: np.ndarray) -> SliceResult | None:
        """A job's slice from points (n, 2), x and y in the target view, that a person gave; None as for segment."""
        [prior], [target] = self._learn([job.prior_image], [job.prior_mask], [job.target_image])
        if not prior.usable:
            return None
        return _slice_result(segment_points(self.store.model, Job(prior, target), points, labels, self.settings))

    def _framed(self, hint: np.ndarray | None, target: Embedding) -> Tensor | None:
        return None if hint is None else self.store.model.frame_logits(hint, target)

    def prior_distances(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
        """The settings' distance between the foreground features of consecutive slices, (n − 1,)."""
        self._tick()
        priors, _ = self._learn(images, masks, [])
        measure = DISTANCES[self.settings.distance]
        return np.array(
            [measure(a.foreground, b.foreground) if a.usable and b.usable else np.nan for a, b in pairwise(priors)]
        )

    def forget_targets(self) -> None:
        """Drop from the store what was encoded of targets alone: the next target cannot use it."""
        self.store.forget(self._target_keys)
        self._target_keys.clear()

    def keep(self) -> None:
        """Count all that was encoded so far as the prior's: it learns from its own slices by taking some as targets."""
        self._prior_keys |= self._target_keys
        self._target_keys.clear()

    def _learn(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], others: Sequence[np.ndarray]
    ) -> tuple[list[Prior], list[Embedding]]:
        """The priors of images with masks, and the embeddings of other images, encoded in as few passes as possible.

        One thread at a time, so that no image is encoded twice.
        """
        with self._learning:
            return self._learn_alone(images, masks, others)

    def _learn_alone(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], others: Sequence[np.ndarray]
    ) -> tuple[list[Prior], list[Embedding]]:
        keys = [
            (self.store.key(image), hashlib.sha256(np.packbits(mask).tobytes()).digest())
            for image, mask in zip(images, masks, strict=True)
        ]
        # An image is what it was first seen as: a target's slice is compared with the prior's as if it were one, too.
        self._prior_keys.update(key for key, _ in keys if key not in self._target_keys)
        self._target_keys.update(key for key in map(self.store.key, others) if key not in self._prior_keys)
        new = {key: n for n, key in enumerate(keys) if key not in self._priors}
        wanted = [images[n] for n in new.values()] + list(others)
        embeddings = self.store.get(wanted, lambda stage, done, total: self._tick()) if wanted else []
        for (key, n), embedding in zip(new.items(), embeddings, strict=False):
            self._priors[key] = Prior.from_mask(self.store.model, embedding, masks[n])
        priors = [self._priors[key] for key in keys]
        for key in keys:
            self._priors.move_to_end(key)
        while len(self._priors) > self._kept:
            self._priors.popitem(last=False)
        return priors, embeddings[len(new) :]


def _slice_result(result: Result) -> SliceResult:
    distance = float("inf") if result.distance >= EMPTY_DISTANCE else result.distance
    return SliceResult(result.logits, distance, result.points, result.labels, result.iou)
