"""Pairs of visits drawn from a pool of real images: two crops of one image, or of neighbouring slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptsam.pretrain.appearance import draw_appearance
from adaptsam.pretrain.crops import Crop, draw_crop
from adaptsam.pretrain.image_pool import ImagePool, PooledImage

#: Targets of a pair.
TARGETS = 4
_FEWEST_PIXELS = 16
_OUTLINED = 0.65
_NEIGHBOUR = 0.4
_FARTHEST = 2
_SAME_LOOK = 0.3


@dataclass(frozen=True)
class Target:
    """A region of an image: plane ``number`` of its labels, or of its regions, where it is ``value``."""

    outlined: bool
    number: int
    value: int

    def plane(self, image: PooledImage) -> NDArray[np.uint8]:
        """The map (H, W) that it is a value of."""
        return (image.labels if self.outlined else image.regions)[self.number]


class PooledPairs:
    """Draws pairs from some images of a pool.

    Args:
        pool: the images.
        usable: their numbers, and how often each set is drawn from by ``weights`` of its source.
        size: of the crops, in pixels.
    """

    def __init__(self, pool: ImagePool, usable: Sequence[int], weights: dict[str, float], size: int) -> None:
        self.pool, self.size = pool, size
        self.usable = np.array(usable)
        sources = [pool.entries[i].source for i in usable]
        share = np.array([weights.get(source, 1.0) / sources.count(source) for source in set(sources)])
        each = dict(zip(set(sources), share, strict=True))
        self.chance = np.array([each[source] for source in sources])
        self.chance /= self.chance.sum()
        self.places = {(e.source, e.group, e.position): i for i, e in enumerate(pool.entries)}

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Images uint8 (2, 3, S, S) and masks bool (2, TARGETS, S, S); a mask that is not there is empty."""
        number = int(rng.choice(self.usable, p=self.chance))
        first = self.pool[number]
        focus = draw_target(rng, first)
        if focus is None:
            return self.draw(rng)
        crop = draw_crop(rng, first.image.shape[:2], focus.plane(first) == focus.value)
        second, same = self._neighbour(rng, number), False
        if second is None:
            second, same = first, True
        targets = [focus, *self._others(rng, first, crop)]
        crops = (crop, crop.again(rng))
        masks = np.zeros((2, TARGETS, self.size, self.size), bool)
        for visit, image in enumerate((first, second)):
            for k, target in enumerate(targets):
                if same or visit == 0 or (target.outlined and target.number < len(image.labels)):
                    masks[visit, k] = crops[visit].of(target.plane(image), self.size, nearest=True) == target.value
        return self._shown(rng, (first, second), crops), masks

    def _shown(
        self, rng: np.random.Generator, images: tuple[PooledImage, PooledImage], crops: tuple[Crop, Crop]
    ) -> NDArray[np.uint8]:
        colour = images[0].image.ndim == 3
        look = draw_appearance(rng, images[0].source, colour)
        shown: list[NDArray[np.uint8]] = []
        for image, crop in zip(images, crops, strict=True):
            pixels = look(rng, crop.of(image.image, self.size))
            if colour and len(shown) == 0 and rng.random() < 0.05:
                pixels = np.repeat(pixels.mean(2, keepdims=True).astype(np.uint8), 3, 2)
            shown.append(pixels.transpose(2, 0, 1) if colour else np.broadcast_to(pixels, (3, *pixels.shape)))
            if rng.random() >= _SAME_LOOK:
                look = draw_appearance(rng, image.source, colour)
        return np.stack(shown)

    def _neighbour(self, rng: np.random.Generator, number: int) -> PooledImage | None:
        entry = self.pool.entries[number]
        if not entry.labels or rng.random() >= _NEIGHBOUR:
            return None
        step = int(rng.integers(1, _FARTHEST + 1)) * (1 if rng.random() < 0.5 else -1)
        place = self.places.get((entry.source, entry.group, entry.position + step))
        other = None if place is None else self.pool[place]
        return other if other is not None and other.image.shape == (entry.height, entry.width) else None

    def _others(self, rng: np.random.Generator, image: PooledImage, crop: Crop) -> list[Target]:
        """More targets that the crop shows, one of each of some maps."""
        found: list[Target] = []
        maps = [(True, n) for n in range(len(image.labels))] + [(False, n) for n in range(len(image.regions))]
        for place in rng.permutation(len(maps))[: TARGETS - 1]:
            outlined, number = maps[place]
            plane = Target(outlined, number, 0).plane(image)
            value = _draw_value(rng, crop.of(plane, self.size, nearest=True))
            if value is not None:
                found.append(Target(outlined, number, value))
        return found


def draw_target(rng: np.random.Generator, image: PooledImage) -> Target | None:
    """An outlined structure in two of three cases where there is one, else a region; None where nothing is usable."""
    for outlined in (rng.random() < _OUTLINED, False):
        maps = image.labels if outlined else image.regions
        if len(maps):
            number = int(rng.integers(len(maps)))
            value = _draw_value(rng, maps[number])
            if value is not None:
                return Target(outlined, number, value)
    return None


def _draw_value(rng: np.random.Generator, plane: NDArray[np.uint8]) -> int | None:
    """A value of a map, larger regions by the root of their pixels more likely; None for an empty map."""
    count = np.bincount(plane.ravel(), minlength=2).astype(float)
    count[0] = 0
    count[count < _FEWEST_PIXELS] = 0
    if not count.any():
        return None
    weight = np.sqrt(count)
    return int(rng.choice(len(weight), p=weight / weight.sum()))
