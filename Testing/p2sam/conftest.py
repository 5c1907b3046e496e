"""A tiny SAM with random weights, and pairs of pictures of one blob that moves, for every test of p2sam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from tiny_sam import tiny_model

from adaptsam.p2sam import Job, Prior
from adaptsam.sam import SamModel


@dataclass(frozen=True)
class Pair:
    """A reference with its mask, and a target where the same blob lies elsewhere."""

    reference: np.ndarray
    mask: np.ndarray
    target: np.ndarray

    def job(self, model: SamModel, region: np.ndarray | None = None) -> Job:
        reference, target = (model.embed([image])[0] for image in (self.reference, self.target))
        return Job(Prior.from_mask(model, reference, self.mask), target, region)


def moving_blob(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> Pair:
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 60, (2, *shape, 3))
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    images = []
    for picture, centre in zip(noise, ((0.5, 0.4), (0.55, 0.6)), strict=True):
        blob = ((rows - centre[0]) / 0.3) ** 2 + ((columns - centre[1]) / 0.25) ** 2 < 1
        stripes = 60 * (np.sin(25 * columns + 10 * rows) > 0)
        picture[blob] += 100 + stripes[blob][:, None]
        images.append((picture.clip(0, 255).astype(np.uint8), blob))
    return Pair(images[0][0], images[0][1], images[1][0])


@pytest.fixture(scope="session")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture
def pair() -> Pair:
    return moving_blob()


@pytest.fixture(scope="session")
def make_model() -> Callable[[int], SamModel]:
    return partial(tiny_model, spread=2.0)


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    return moving_blob
