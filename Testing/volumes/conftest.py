"""A small thorax with known answers, and a method that needs no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from adaptsam.data.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.volumes import SliceJob, SliceResult

SHAPE = (24, 80, 96)
SPACING = (4.0, 4.0, 5.0)


@dataclass
class Case:
    """An image with its true structures."""

    volume: Volume
    structures: StructureSet

    def mask(self, name: str) -> np.ndarray:
        return self.structures.structures[self.structures.names.index(name)].mask


def thorax(
    shift_mm: tuple[float, float, float] = (0, 0, 0),
    seed: int = 0,
    tumour: bool = True,
    geometry: Geometry | None = None,
) -> Case:
    """Body, lungs, spine, heart and a lung tumour, moved by ``shift_mm`` (LPS); sampled on any grid."""
    grid = geometry or Geometry(SHAPE, SPACING, (-190.0, -158.0, -57.5))
    k, j, i = np.indices(grid.shape)
    world = grid.world(np.stack([i, j, k], axis=-1)) - np.asarray(shift_mm, float)
    x, y, z = np.moveaxis(world, -1, 0)

    def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + (
            (z - centre[2]) / radii[2]
        ) ** 2 <= 1

    image = np.full(grid.shape, -1000.0)
    image[(x / 165) ** 2 + (y / 120) ** 2 <= 1] = 30
    for side in (-1, 1):
        image[ellipsoid((side * 75, 0, 10), (50, 80, 90))] = -800
    image[(x / 18) ** 2 + ((y - 90) / 18) ** 2 <= 1] = 500
    image[ellipsoid((60, 70, 40), (6, 6, 30))] = 600  # a rib, so that nothing is symmetric
    heart = ellipsoid((20, -30, -20), (45, 40, 35))
    image[heart] = 150
    lesion = ellipsoid((-75, 10, 10), (22, 22, 25)) if tumour else np.zeros(grid.shape, bool)
    image[lesion] = 280
    noise = np.random.default_rng(seed).normal(0, 8, grid.shape)
    volume = Volume((image + noise).astype(np.float32), grid, "CT")
    return Case(volume, StructureSet((Structure("tumour", lesion), Structure("heart", heart)), grid))


class ByGray:
    """A stand-in for a model: the pixels as bright as the prior's structure; their distance is the contrast."""

    image_size = 64
    grid_size = 16

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


def dice_of(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1, int(a.sum() + b.sum()))


@pytest.fixture
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    return dice_of
