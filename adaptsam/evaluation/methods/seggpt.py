"""SegGPT (Wang et al., 2023) through transformers: another model than SAM, that paints an image as it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from adaptsam.errors import CheckpointError, NotInstalledError
from adaptsam.evaluation.methods.evaluated_method import NotApplicable, Pair, Workbench
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod


class SegGpt(PictureMethod):
    """Its weights come from a folder as they are published (``BAAI/seggpt-vit-large``); nothing is fetched.

    Args:
        folder: with ``config.json``, ``preprocessor_config.json`` and the weights as safetensors; None leaves the row
            empty.
    """

    name, title = "seggpt", "SegGPT"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._loaded: tuple[Any, Any] | None = None

    @property
    def settings(self) -> object:
        return {"weights": None if self.folder is None else self.folder.name}

    def prepare(self, bench: Workbench) -> None:
        if self.folder is None:
            raise NotApplicable(
                "SegGPT needs its own weights: download BAAI/seggpt-vit-large and give the folder with --seggpt."
            )
        self._loaded = load_seggpt(self.folder, bench.model.device)

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        if self._loaded is None:
            raise CheckpointError("SegGPT was not prepared.")
        return [self._one(*self._loaded, pair) for pair in pairs]

    @staticmethod
    def _one(model: Any, processor: Any, pair: Pair) -> np.ndarray:
        inputs = processor(
            images=pair.image,
            prompt_images=pair.prior.image,
            prompt_masks=pair.prior.mask.astype(np.uint8),
            num_labels=1,
            return_tensors="pt",
        ).to(model.device)
        with torch.no_grad():
            outputs = model(**inputs, embedding_type="semantic")
        size = [(pair.image.shape[0], pair.image.shape[1])]
        [classes] = processor.post_process_semantic_segmentation(outputs, target_sizes=size, num_labels=1)
        return np.asarray((classes == 1).cpu().numpy())


def load_seggpt(folder: Path, device: torch.device) -> tuple[Any, Any]:
    """Model and image processor.

    Raises:
        CheckpointError: the folder is missing, or holds something else.
        NotInstalledError: transformers is not installed.
    """
    try:
        from transformers import SegGptForImageSegmentation, SegGptImageProcessor
    except ImportError:
        raise NotInstalledError('SegGPT needs the extra "text": pip install "adaptsam[text]".') from None
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder.name} holds no config.json; give the folder of BAAI/seggpt-vit-large.")
    try:
        model = SegGptForImageSegmentation.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        processor = SegGptImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise CheckpointError(f"SegGPT cannot be read from {folder.name} ({reason}); download it again.") from error
    return model.eval().to(device), processor
