"""Attention maps of texts for agents of the explicit branch: one CLIP, asked in the words of each agent's images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from adaptsam.alignsam import Package, Shown
from adaptsam.autoprompting.agent_batches import TextMaps
from adaptsam.errors import CheckpointError

if TYPE_CHECKING:
    from adaptsam.alignsam.clip import ClipModel

#: The kinds of images that prompt ensembles know, by the modality of DICOM.
_ENSEMBLES = {"CT": "ct", "MR": "mr", "PT": "pet", "US": "ultrasound", "ES": "endoscopy", "CR": "x-ray", "DX": "x-ray"}


def clip_record(clip: ClipModel) -> str:
    """The record of the CLIP that made an agent's maps, as its package holds it."""
    return f"{clip.name}, SHA-256 {clip.sha256}"


def ensemble(shown: Shown) -> str:
    """The sentences around a text, the same in training and in use."""
    return _ENSEMBLES.get(shown.modality.upper(), "natural" if shown.color else "medical")


def attention_of(clip: ClipModel, shown: Shown, text: str) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A function that makes M_c (Eq. 11) of images uint8 (H, W) or (H, W, 3): float32 (H, W) each, 0 to 1.

    Raises:
        InputError: the text has words that the CLIP does not know.
    """
    from adaptsam.alignsam.clip import SurgerySettings, TextAttention, check_words

    check_words(clip, text)
    attention = TextAttention(clip, SurgerySettings(modality=ensemble(shown)))

    def maps(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        colour = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
        return [attention.maps(one[None], [text])[0, 0].cpu().numpy() for one in colour]

    return maps


def text_maps(source: str | PathLike[str] | None, agents: Sequence[Package], device: str = "auto") -> TextMaps | None:
    """Attention maps by the CLIP that was given, or by the bundled one where all agents were trained with that.

    Returns:
        None where no agent requests a text, or no CLIP was given for one that does.

    Raises:
        CheckpointError: it is another CLIP than an agent was trained with.
    """
    from adaptsam.alignsam.clip.clip_files import BUNDLED_NAME

    asking = [package for package in agents if package.text]
    if source is None and all(package.clip.startswith(f"{BUNDLED_NAME},") for package in asking):
        source = BUNDLED_NAME
    if source is None or not asking:
        return None
    from adaptsam.alignsam.clip import load_clip

    clip = load_clip(source, device=device)
    for package in asking:
        if "SHA-256" in package.clip and clip.sha256 not in package.clip:
            raise CheckpointError(
                f"The agent for {package.target.name} was trained with another CLIP ({package.clip}); give that one."
            )
    makers = {package.text: attention_of(clip, package.shown, package.text) for package in asking}
    return lambda text, images: makers[text](images)
