"""The text-guided attention map M_c of AlignSAM's explicit branch (Section 3.3, Eq. 11), by CLIP Surgery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adaptsam.alignsam.clip.clip_model import ClipModel
from adaptsam.alignsam.clip.feature_surgery import feature_surgery, feature_surgery_against, similarity_maps
from adaptsam.alignsam.clip.prompt_templates import templates_for
from adaptsam.errors import InputError


@dataclass(frozen=True)
class SurgerySettings:
    """Settings of the attention maps; the defaults are the reference's.

    Attributes:
        blocks: how many of the last blocks have the new path.
        temperature: of the softmax that weights the texts, with several.
        against: what is redundant: "prompts", what the texts of one call share; "empty", what the empty string says;
            "auto", the empty string for a single text and the prompts for more.
        modality: whose sentences the prompts are put into; see :data:`.templates.MODALITIES`.
        templates: sentences of your own, each with one ``{}``, instead of the modality's.
        size: rows and columns, in pixels, that images are resized to, or one number for a square; None for the size
            that the model was trained with. 512 shows more detail. Rounded to whole patches.
        keep_aspect: images keep their shape: ``size`` is then the shorter side.
        batch: images in one pass.
    """

    blocks: int = 6
    temperature: float = 2.0
    against: Literal["auto", "empty", "prompts"] = "auto"
    modality: str = "natural"
    templates: tuple[str, ...] = ()
    size: int | tuple[int, int] | None = None
    keep_aspect: bool = False
    batch: int = 8

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.batch < 1:
            raise InputError(f"blocks and batch must be at least 1, not {self.blocks} and {self.batch}.")
        if self.against not in ("auto", "empty", "prompts"):
            raise InputError(f"against must be auto, empty or prompts, not {self.against!r}.")
        if self.keep_aspect and isinstance(self.size, tuple):
            raise InputError("With keep_aspect, size is one number, the shorter side.")
        wrong = [template for template in self.templates if template.count("{}") != 1]
        if wrong:
            raise InputError(f"The template {wrong[0]!r} needs exactly one {{}} where the prompt shall stand.")


class TextAttention:
    """Attention maps of texts on images: one CLIP, its settings, and the text features computed so far.

    Examples:
        >>> attention = TextAttention(load_clip("biomedclip"), SurgerySettings(modality="ct"))
        >>> maps = attention.maps(slices, ["left lung", "heart", "spine"])  # (n, 3, H, W) in [0, 1]
    """

    def __init__(self, clip: ClipModel, settings: SurgerySettings | None = None) -> None:
        self.clip = clip
        self.settings = settings or SurgerySettings()
        self.templates = self.settings.templates or templates_for(self.settings.modality)
        self._texts: dict[str, Tensor] = {}

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Features float32 (prompts, channels) of length 1: the mean over the ensemble. Computed once for each prompt.

        Raises:
            InputError: there is no prompt.
        """
        if isinstance(prompts, str) or not len(prompts):
            raise InputError("Give the prompts as a sequence of at least one text, such as ['left lung'].")
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if new:
            # str.replace: a prompt may itself contain braces.
            texts = [template.replace("{}", prompt) for prompt in new for template in self.templates]
            features = self.clip.encode_texts(texts).reshape(len(new), len(self.templates), -1)
            self._texts |= dict(zip(new, functional.normalize(features.mean(1), dim=-1), strict=True))
        return torch.stack([self._texts[prompt] for prompt in prompts])

    def similarity(self, images: NDArray[np.uint8], prompts: Sequence[str]) -> Tensor:
        """The raw similarity of every patch, after both surgeries.

        Args:
            images: uint8 (n, H, W, 3), RGB, of any size.
            prompts: what to look for. Several are distinguished from each other: include what else is in the images.

        Returns:
            float32 (n, prompts, rows, columns) on the grid of patches, on the model's device.

        Raises:
            InputError: the images are not uint8 (n, H, W, 3), or there is no prompt.
        """
        size = self._input_size(images)
        texts = self.text_features(prompts)
        rows, columns = (pixels // patch for pixels, patch in zip(size, self.clip.patch_size, strict=True))
        parts = []
        for start in range(0, len(images), self.settings.batch):
            batch = images[start : start + self.settings.batch]
            features = self.clip.encode_images(batch, size, self.settings.blocks)
            patches = self._feature_surgery(features, texts)[:, 1:]
            parts.append(patches.transpose(1, 2).reshape(len(batch), len(prompts), rows, columns))
        return torch.cat(parts)

    def maps(self, images: NDArray[np.uint8], prompts: Sequence[str], size: tuple[int, int] | None = None) -> Tensor:
        """M_c of Eq. 11: one map for each image and prompt, scaled to [0, 1] by itself.

        Args:
            images: uint8 (n, H, W, 3), RGB, of any size.
            prompts: what to look for; see :meth:`similarity`.
            size: rows and columns of the maps; None for those of the images.

        Returns:
            float32 (n, prompts, H, W), on the model's device.

        Raises:
            InputError: the images are not uint8 (n, H, W, 3), or there is no prompt.
        """
        similarity = self.similarity(images, prompts)
        return similarity_maps(similarity, size or (images.shape[1], images.shape[2]))

    def _feature_surgery(self, images: Tensor, texts: Tensor) -> Tensor:
        against = self.settings.against
        if against == "empty" or (against == "auto" and len(texts) == 1):
            return feature_surgery_against(images, texts, self.text_features([""])[0])
        return feature_surgery(images, texts, self.settings.temperature)

    def _input_size(self, images: NDArray[np.uint8]) -> tuple[int, int]:
        """Rows and columns of what the model sees, in pixels: whole patches, at least one."""
        array = np.asarray(images)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not array.size:
            raise InputError(f"Images must be uint8 (n, rows, columns, 3), not {array.dtype} {array.shape}.")
        size = self.settings.size or self.clip.image_size
        if self.settings.keep_aspect:
            shorter = size if isinstance(size, int) else min(size)
            scale = shorter / min(array.shape[1:3])
            wanted = tuple(pixels * scale for pixels in array.shape[1:3])
        else:
            wanted = (size, size) if isinstance(size, int) else size
        patch = self.clip.patch_size
        return (_whole(wanted[0], patch[0]), _whole(wanted[1], patch[1]))


def _whole(pixels: float, patch: int) -> int:
    return max(1, round(pixels / patch)) * patch
