"""The small thorax as fixtures, and a method that needs no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from thorax import Case, dice_of, thorax

from adaptsam.slicewise import SliceJob, SliceResult


class ByGray:
    """A stand-in for a model: the pixels as bright as the prior's structure; their distance is the contrast."""

    image_size = 64
    grid_size = 16
    workers = 1

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.jobs: list[SliceJob] = []
        self.alive = 0

    @property
    def encoded(self) -> int:
        return len(self.seen)

    def usable(self, image: np.ndarray, mask: np.ndarray) -> bool:
        return bool(mask.any())

    def segment(self, jobs: Sequence[SliceJob]) -> list[SliceResult | None]:
        self.jobs.extend(jobs)
        return [self._one(job) for job in jobs]

    def prior_distances(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
        means = [float(image[mask].mean()) for image, mask in zip(images, masks, strict=True)]
        return np.abs(np.diff(means)) + 1.0

    def _one(self, job: SliceJob) -> SliceResult:
        for image in (job.prior_image, job.target_image):
            self.seen[image.tobytes()] = self.seen.get(image.tobytes(), 0) + 1
        gray = float(job.prior_image[job.prior_mask].mean())
        mask = np.abs(job.target_image[..., 0].astype(float) - gray) < 8
        inside = mask if job.region is None else mask & job.region
        if not inside.any():
            return SliceResult(np.full(mask.shape, -5.0, np.float32), 100.0, np.zeros((0, 2)), np.zeros(0, int), 0.2)
        j, i = np.argwhere(inside)[len(np.argwhere(inside)) // 2]
        distance = abs(float(job.target_image[mask].mean()) - gray) + 1.0
        points, labels = np.array([[i, j]], float), np.array([1])
        return SliceResult(np.where(mask, 5.0, -5.0).astype(np.float32), distance, points, labels, 0.9)


@pytest.fixture
def make_thorax() -> Callable[..., Case]:
    return thorax


@pytest.fixture
def by_gray() -> ByGray:
    return ByGray()


@pytest.fixture
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    return dice_of
