"""One CLIP, ready to use: texts and images in, features in the space that they share out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.alignsam.clip.clip_files import build, find
from adaptsam.alignsam.clip.image_towers import surgery_features, tower_of
from adaptsam.sam.sam_model import choose_device
from adaptsam.storage.weight_hash import hash_weights

Tokenizer = Callable[[list[str]], Tensor]
_TEXTS_AT_ONCE = 128


class ClipModel:
    """An open_clip model with its tokenizer, its pixel statistics and its device. The weights must not change in use.

    Attributes:
        clip: the open_clip model, in evaluation mode. It is only read: CLIP Surgery leaves nothing behind in it.
        tokenizer: texts to tokens int64 (texts, length).
        preprocess: ``mean`` and ``std`` of three channels for pixels in [0, 1], and ``interpolation``.
        name: what was loaded, for messages and records.
        names: what it learnt the names of, where it tells; see :mod:`adaptsam.alignsam.clip.vocabulary`.
        sha256: of the weights.
        device: where it computes.
    """

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Tokenizer,
        preprocess: dict[str, Any],
        *,
        name: str = "custom",
        names: Sequence[str] = (),
        device: str | torch.device = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.clip = clip.eval().to(self.device)
        self.tower = tower_of(self.clip.visual)  # type: ignore[arg-type]
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name
        self.names = tuple(names)
        self.sha256 = hash_weights(clip)

    @property
    def image_size(self) -> tuple[int, int]:
        """Rows and columns of the images that the tower was trained with."""
        return self.tower.image_size

    @property
    def patch_size(self) -> tuple[int, int]:
        """Rows and columns of a patch in pixels."""
        return self.tower.patch_size

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Features float32 (texts, channels) of length 1."""
        features = []
        with torch.no_grad():
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                tokens = self.tokenizer(list(texts[start : start + _TEXTS_AT_ONCE])).to(self.device)
                features.append(functional.normalize(self.clip.encode_text(tokens).float(), dim=-1))  # type: ignore[operator]
        return torch.cat(features)

    def encode_images(self, images: NDArray[np.uint8], size: tuple[int, int], blocks: int) -> Tensor:
        """Features of the class token and the patches after architecture surgery.

        Args:
            images: uint8 (n, H, W, 3), RGB, of any size.
            size: rows and columns that they are resized to, by Pillow as in the reference; whole patches.
            blocks: how many of the last blocks have the new path.

        Returns:
            float32 (n, 1 + patches, channels) of length 1.
        """
        known = Image.Resampling.__members__  # some files say "random", for training
        filter_ = known.get(str(self.preprocess.get("interpolation")).upper(), Image.Resampling.BICUBIC)
        resized = [np.asarray(Image.fromarray(image).resize(size[::-1], filter_)) for image in images]
        mean, deviation = (torch.tensor(self.preprocess[key]) for key in ("mean", "std"))
        pixels = (torch.tensor(np.stack(resized)).float() / 255 - mean) / deviation
        dtype = next(self.clip.parameters()).dtype
        with torch.no_grad():
            return surgery_features(self.tower, pixels.movedim(-1, 1).to(self.device, dtype), blocks).float()


def load_clip(
    source: str | PathLike[str], *, architecture: str | None = None, device: str | torch.device = "auto"
) -> ClipModel:
    """Load a CLIP that is on this machine; nothing is ever downloaded.

    Args:
        source: one of
            a folder as the Hugging Face hub stores it, with ``open_clip_config.json``, weights, and for text towers
            such as BiomedCLIP's the tokenizer's files;
            a file: OpenAI's ``ViT-B-16.pt`` as it is, or any other weights of open_clip together with ``architecture``;
            a name with its weights, such as "ViT-B-16:openai", or "hf-hub:ORGANISATION/MODEL", if they were fetched
            before and lie in the cache of the Hugging Face hub;
            "phantom_clip", the small one that comes with AdaptSAM: a dozen words, of phantom slices alone.
        architecture: open_clip's name of the model, such as "ViT-B-16", where the file does not tell.
        device: "auto", "cpu", "cuda", ….

    Raises:
        CheckpointError: there is no such model here (the message says how to get it), it is damaged or unsafe, or its
            image tower is not one that CLIP Surgery is defined for.
        InputError: open_clip or transformers is not installed, or there is no such device.
    """
    chosen = choose_device(device)
    files = find(source, architecture)
    clip, tokenizer = build(files)
    return ClipModel(clip, tokenizer, dict(files.preprocess), name=files.name, names=files.names, device=chosen)
