"""A small thorax with known answers: body, lungs, spine, heart and a lung tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume

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


def dice_of(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1, int(a.sum() + b.sum()))
