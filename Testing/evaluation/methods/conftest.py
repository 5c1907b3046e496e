"""Small models and pairs whose answer is known, for the methods of the tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_sam import tiny_model

from adaptsam.evaluation.methods import Outlined, Pair, Workbench
from adaptsam.sam import Embedding, EmbeddingStore, SamModel


class PaintedStore(EmbeddingStore):
    """Embeddings that are the image's own mean colours, patch by patch: what is alike is known by hand."""

    def get(self, images, progress=None):
        return [self._paint(image) for image in images]

    def _paint(self, image: np.ndarray) -> Embedding:
        model = self.model
        side = model.image_size // model.grid_size
        colour = torch.from_numpy(image).permute(2, 0, 1).float()[None]
        scale = model.image_size / max(image.shape[:2])
        size = tuple(round(length * scale) for length in image.shape[:2])
        resized = torch.nn.functional.interpolate(colour, size=size, mode="area")
        framed = torch.zeros(1, 3, model.image_size, model.image_size)
        framed[..., : size[0], : size[1]] = resized
        features = torch.nn.functional.avg_pool2d(framed, side)[0] / 255 + 0.01
        padded = torch.zeros(model.embed_dim, *features.shape[1:])
        padded[:3] = features
        return Embedding(padded, size, (image.shape[0], image.shape[1]))


@pytest.fixture(scope="session")
def make_model() -> Callable[[int], SamModel]:
    return lambda seed: tiny_model(seed, spread=2.0)


@pytest.fixture
def bench(make_model: Callable[[int], SamModel]) -> Workbench:
    return Workbench(EmbeddingStore(make_model(0)))


@pytest.fixture
def painted(make_model: Callable[[int], SamModel]) -> Workbench:
    return Workbench(PaintedStore(make_model(0)))


def blob_pair(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> Pair:
    """A striped blob on noise that lies elsewhere on the image."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 60, (2, *shape, 3))
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    images, masks = [], []
    for picture, centre in zip(noise, ((0.5, 0.4), (0.55, 0.6)), strict=True):
        blob = ((rows - centre[0]) / 0.3) ** 2 + ((columns - centre[1]) / 0.25) ** 2 < 1
        picture[blob] += 100 + (60 * (np.sin(25 * columns + 10 * rows) > 0))[blob][:, None]
        images.append(picture.clip(0, 255).astype(np.uint8))
        masks.append(blob)
    return Pair(f"blob-{seed}", Outlined(images[0], masks[0]), images[1])


def colour_pair() -> tuple[Pair, np.ndarray]:
    """A red square of whole patches on green that moves from the left to the right; and where it is then."""
    first, second = (np.zeros((64, 64, 3), np.uint8) for _ in range(2))
    first[..., 1], second[..., 1] = 200, 200
    mask, truth = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    mask[16:40, 8:32], truth[24:48, 32:56] = True, True
    first[mask], second[truth] = (200, 0, 0), (200, 0, 0)
    return Pair("colours", Outlined(first, mask), second), truth


@pytest.fixture
def make_pair() -> Callable[..., Pair]:
    return blob_pair


@pytest.fixture
def colours() -> tuple[Pair, np.ndarray]:
    return colour_pair()
