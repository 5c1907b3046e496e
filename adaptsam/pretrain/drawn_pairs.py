"""Synthetic pairs that are drawn once and used often: a phantom costs a processor as much as a step of the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from adaptsam.pretrain.phantom_slices import draw_pairs
from adaptsam.pretrain.pooled_pairs import TARGETS
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.random_scenes import draw_scenes

#: Side of the images that are drawn, in pixels.
DRAWN_SIZE = 256


@dataclass(frozen=True)
class DrawnPairs:
    """Pairs mapped from files.

    Attributes:
        images: uint8 (N, 2, S, S) or (N, 2, 3, S, S).
        bits: uint8 (N, 2, K, S, S / 8), masks with eight pixels a byte.
    """

    images: NDArray[np.uint8]
    bits: NDArray[np.uint8]

    @classmethod
    def mapped(cls, folder: Path, name: str) -> DrawnPairs:
        """The pairs that :meth:`write` left in a folder."""
        images, bits = (np.load(path, mmap_mode="r") for path in _files(folder, name))
        return cls(images, bits)

    def write(self, folder: Path, name: str) -> None:
        """Two files in a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(_files(folder, name), (self.images, self.bits), strict=True):
            np.save(path, array)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Images (2, 3, size, size) and masks (2, TARGETS, size, size) of one pair, mirrored and turned."""
        number = int(rng.integers(len(self.images)))
        images = self.images[number]
        if images.ndim == 3:
            images = np.broadcast_to(images[:, None], (2, 3, *images.shape[1:]))
        masks = np.unpackbits(self.bits[number], axis=-1).astype(bool)
        shown = np.flatnonzero(masks[0].sum((1, 2)) > 0)
        chosen = rng.permutation(shown)[:TARGETS]
        targets = np.zeros((2, TARGETS, *masks.shape[2:]), bool)
        targets[:, : len(chosen)] = masks[:, chosen]
        if rng.random() < 0.5:
            images, targets = images[..., ::-1], targets[..., ::-1]
        turns = int(rng.integers(4)) if rng.random() < 0.3 else 0
        images, targets = np.rot90(images, turns, (-2, -1)), np.rot90(targets, turns, (-2, -1))
        if size == images.shape[-1]:
            return images, targets
        return _resized(images, size, cv2.INTER_AREA), _resized(targets.view(np.uint8), size, cv2.INTER_NEAREST) > 0


def _resized(planes: NDArray[np.uint8], size: int, method: int) -> NDArray[np.uint8]:
    """Planes (2, K, S, S) brought to another size."""
    flat = planes.reshape(-1, *planes.shape[-2:])
    resized = [cv2.resize(np.ascontiguousarray(plane), (size, size), interpolation=method) for plane in flat]
    return np.stack(resized).astype(np.uint8).reshape(*planes.shape[:2], size, size)


def drawn_phantoms(count: int, seed: int) -> DrawnPairs:
    """Slices of phantom patients at two visits."""
    return DrawnPairs(*draw_pairs(np.random.default_rng(seed), count, DRAWN_SIZE))


def drawn_scenes(count: int, seed: int) -> DrawnPairs:
    """Scenes of random shapes at two visits."""
    images, bits = [], []
    for number in range(count):
        scene = draw_scenes(generator("cpu", seed, number), 1, DRAWN_SIZE, torch.device("cpu"))
        images.append(scene.images[0].numpy().astype(np.uint8))
        bits.append(np.packbits(scene.masks[0].numpy(), axis=-1))
    return DrawnPairs(np.stack(images), np.stack(bits))


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}_images.npy", folder / f"{name}_bits.npy"
