"""A store of embeddings: what was encoded once, by whomever, is not encoded again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adaptsam.progress import Progress, silent
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.embedding_folder import EmbeddingFolder
from adaptsam.sam.model import SamModel
from adaptsam.sam.preprocess import resized_shape, to_rgb


class EmbeddingStore:
    """Embeddings by content: the same pixels and the same weights give the same entry, whoever asks.

    The newest entries stay in memory up to a bound. With a folder, every entry is also a file there; see
    :mod:`adaptsam.sam.embedding_folder`. Nothing about the patient is kept but the features themselves.

    Args:
        model: encodes what is not there yet.
        memory_bytes: bound of what the store keeps in memory; callers keep what they were given.
        folder: where entries outlive the process; it is made if missing.
        batch_size: images in one pass of the encoder; None for 1 on the CPU and 8 elsewhere.
        disk_bytes: bound of what the folder holds; None for none.

    Attributes:
        encoded: how many images the model has encoded for this store.

    Example:
        >>> store = EmbeddingStore(load_sam())
        >>> first, second = store.get([slice_a, slice_b])
    """

    def __init__(
        self,
        model: SamModel,
        memory_bytes: int = 256 * 2**20,
        folder: str | Path | None = None,
        batch_size: int | None = None,
        disk_bytes: int | None = None,
    ) -> None:
        self.model = model
        self.encoded = 0
        self._memory_bytes = memory_bytes
        self._folder = None if folder is None else EmbeddingFolder(folder, disk_bytes)
        self._batch_size = batch_size or (1 if model.device.type == "cpu" else 8)
        self._entries: OrderedDict[str, Embedding] = OrderedDict()
        self._held_bytes = 0

    def get(self, images: Sequence[NDArray[np.uint8]], progress: Progress = silent) -> list[Embedding]:
        """The embeddings of images; equal images get the same object.

        Args:
            images: uint8 (H, W, 3) in RGB order or (H, W) gray.
            progress: told after each batch how many of the images are ready; may cancel, what was encoded stays.

        Returns:
            One embedding for each image, in their order, on the CPU.

        Raises:
            InputError: an image is not of 8-bit pixels or has another shape.
        """
        keys = [self.key(image) for image in images]
        wanted = dict(zip(keys, images, strict=True))
        found: dict[str, Embedding] = {}
        for key in wanted:
            entry = self._look_up(key, wanted[key])
            if entry is not None:
                found[key] = entry
        missing = [key for key in wanted if key not in found]
        progress("encode", len(found), len(wanted))
        for start in range(0, len(missing), self._batch_size):
            batch = missing[start : start + self._batch_size]
            embeddings = self.model.embed([wanted[key] for key in batch], self._batch_size)
            self.encoded += len(batch)
            for key, embedding in zip(batch, embeddings, strict=True):
                found[key] = embedding
                self._remember(key, embedding)
                if self._folder is not None:
                    self._folder.write(key, embedding.features)
            progress("encode", len(found), len(wanted))
        return [found[key] for key in keys]

    def forget(self, keys: Iterable[str]) -> None:
        """Drop entries, their files too."""
        for key in keys:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._held_bytes -= entry.nbytes
            if self._folder is not None:
                self._folder.forget(key)

    def key(self, image: NDArray[np.uint8]) -> str:
        """What an image is stored under: a hash of pixels, shape, weights, how they are used, and precision."""
        pixels = to_rgb(image)
        digest = hashlib.sha256(pixels.tobytes())
        model = self.model
        # One file gives several models: MedSAM's scaling or SAM's, adapters applied once or twice.
        digest.update(f"{pixels.shape} {model.sha256} {model.kind} {model.config} {model.precision}".encode())
        return digest.hexdigest()

    def _look_up(self, key: str, image: NDArray[np.uint8]) -> Embedding | None:
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        embedding = self._read(key, image)
        if embedding is not None:
            self._remember(key, embedding)
        return embedding

    def _remember(self, key: str, embedding: Embedding) -> None:
        if embedding.nbytes > self._memory_bytes:
            return
        self._entries[key] = embedding
        self._held_bytes += embedding.nbytes
        while self._held_bytes > self._memory_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._held_bytes -= oldest.nbytes

    def _read(self, key: str, image: NDArray[np.uint8]) -> Embedding | None:
        features = None if self._folder is None else self._folder.read(key)
        if features is None or not self._fits(features):
            return None
        size = (image.shape[0], image.shape[1])
        return Embedding(features, resized_shape(size, self.model.image_size), size)

    def _fits(self, features: torch.Tensor) -> bool:
        config = self.model.config
        shape = (config.embed_dim, config.grid_size, config.grid_size)
        return features.shape == shape and features.dtype == torch.float32 and bool(features.isfinite().all())
