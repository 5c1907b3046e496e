"""A tiny SAM with random weights, and pictures of one blob, for every test of alignsam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tiny_sam import tiny_model

from adaptsam.alignsam import AgentImage, AlignSamSettings, EnvironmentSettings, TrainingImage, TrainingSettings
from adaptsam.sam import EmbeddingStore, SamModel

SHAPES = ((48, 64), (64, 64), (90, 40))


def picture(seed: int, shape: tuple[int, int] = (48, 64)) -> TrainingImage:
    """A bright blob somewhere on noise."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 60, shape)
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    centre = random.uniform(0.3, 0.7, 2)
    blob = ((rows - centre[0]) / 0.3) ** 2 + ((columns - centre[1]) / 0.25) ** 2 < 1
    image[blob] += 150
    return TrainingImage(image.astype(np.uint8), blob)


@pytest.fixture(scope="session")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture(scope="session")
def store(model: SamModel) -> EmbeddingStore:
    return EmbeddingStore(model)


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., TrainingImage]:
    return picture


@pytest.fixture(scope="session")
def pictures() -> list[TrainingImage]:
    """Three images of three sizes."""
    return [picture(seed, shape) for seed, shape in enumerate(SHAPES)]


@pytest.fixture(scope="session")
def cases(store: EmbeddingStore, pictures: list[TrainingImage]) -> list[AgentImage]:
    return [
        AgentImage(embedding, one.mask)
        for embedding, one in zip(store.get([one.image for one in pictures]), pictures, strict=True)
    ]


@pytest.fixture
def short() -> AlignSamSettings:
    """A training of seconds: 4×4 patches, three steps, two images at a time."""
    return AlignSamSettings(
        environment=EnvironmentSettings(canvas=64, patch=16, steps=3),
        training=TrainingSettings(episodes=3, epochs=2, batch=2, learning_rate=1e-3),
    )
