"""A store of embeddings: what was encoded once, by whomever, is not encoded again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adaptsam.progress import Progress, silent
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.preprocessing import resized_shape, to_rgb
from adaptsam.sam.sam_model import SamModel
from adaptsam.storage.disk_cache import KeptFolder, cache_bytes, cache_folder


class EmbeddingStore:
    """Embeddings by content: the same pixels and the same weights give the same entry, whoever asks.

    The newest entries stay in memory up to a bound. With a folder, every entry is also a file there; see
    :mod:`adaptsam.storage.disk_cache`. Nothing about the patient is kept but the features themselves.

    Args:
        model: encodes what is not there yet.
        memory_bytes: bound of what the store keeps in memory; callers keep what they were given.
        folder: where entries outlive the process; it is made if missing.
        batch_size: images in one pass of the encoder; None for 1 on the CPU and 8 elsewhere.
        disk_bytes: bound of what the folder holds; None for none.

    Attributes:
        encoded: how many images the model has encoded for this store.
        folder: where entries outlive the process; None where they do not.

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
        self.folder = None if folder is None else KeptFolder(folder, disk_bytes)
        self._batch_size = batch_size or (1 if model.device.type == "cpu" else 8)
        self._entries: OrderedDict[str, Embedding] = OrderedDict()
        self._held_bytes = 0

    def get(self, images: Sequence[NDArray[np.uint8]], progress: Progress = silent) -> list[Embedding]:
        """The embeddings of images; equal images get the same object.

        Args:
            images: uint8 (H, W, 3) in RGB order or (H, W) gray.
            progress: receives after each batch how many of the images are ready; may cancel, what was encoded stays.

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
            for key, made in zip(batch, embeddings, strict=True):
                embedding = _laid_out(made)
                found[key] = embedding
                self._remember(key, embedding)
                if self.folder is not None:
                    self.folder.write(key, {"features": embedding.features.detach().cpu().numpy()})
            progress("encode", len(found), len(wanted))
        return [found[key] for key in keys]

    def forget(self, keys: Iterable[str]) -> None:
        """Drop entries, their files too."""
        for key in keys:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._held_bytes -= entry.nbytes
            if self.folder is not None:
                self.folder.forget(key)

    def key(self, image: NDArray[np.uint8]) -> str:
        """The key of an image uint8 (H, W, 3) or (H, W): a hash of pixels, shape, weights, their use, and precision."""
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
        arrays = None if self.folder is None else self.folder.read(key)
        found = None if arrays is None else arrays.get("features")
        if found is None or not self._fits(found):
            return None
        size = (image.shape[0], image.shape[1])
        return _laid_out(Embedding(torch.from_numpy(found), resized_shape(size, self.model.image_size), size))

    def _fits(self, features: NDArray[np.float32]) -> bool:
        config = self.model.config
        shape = (config.embed_dim, config.grid_size, config.grid_size)
        return features.shape == shape and features.dtype == np.float32 and bool(np.isfinite(features).all())


def _laid_out(embedding: Embedding) -> Embedding:
    """Lay out an embedding with the channels of a place side by side in memory, as the CPU's encoder leaves them.

    Fresh or from disk: sums are taken in the order of memory, and a digit can move a point.
    """
    places = embedding.features.permute(1, 2, 0)
    if places.is_contiguous():
        return embedding
    return replace(embedding, features=places.contiguous().permute(2, 0, 1))


def lasting_store(model: SamModel, held: int | None = None, images: int = 0) -> EmbeddingStore | None:
    """The store of all who encode for users, whose entries outlive the process.

    Args:
        model: encodes what is not there yet.
        held: how many embeddings are in memory at a time, where they pass by and are not requested again.
        images: how many there will be, where that is known to be many (a video). What does not fit into half of the
            folder is not kept: it would push out what its own next run begins with, and all other scans.

    Returns:
        None where nothing is to be kept (``ADAPTSAM_CACHE_GB`` is 0), or not so many images.

    Raises:
        InputError: ``ADAPTSAM_CACHE_GB`` is no number.
    """
    most = cache_bytes()
    one = 4 * model.embed_dim * model.grid_size**2
    if not most or images * one > most / 2:
        return None
    memory = {} if held is None else {"memory_bytes": held * one}
    return EmbeddingStore(model, folder=cache_folder(), disk_bytes=most, **memory)
