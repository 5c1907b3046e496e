"""Images that the bundled model is never trained on, and its scores on them while it is trained."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from adaptsam.metrics.simulated_clicks import boxed, clicked, ellipse
from adaptsam.pretrain.image_pool import ImagePool
from adaptsam.sam import LITE, SamModel

#: Sets with one patient alone, of which nothing can be held back.
_ONE_PATIENT = ("4d-lung", "ms-visits")
_SHARE = 12
_IMAGES = 20
_FEWEST_PIXELS = 20


def held_out(source: str, group: str) -> bool:
    """Whether a patient, sequence or frame is kept for validation: one of twelve, by its name."""
    return source not in _ONE_PATIENT and sha256(f"{source}/{group}".encode()).digest()[0] % _SHARE == 0


def parted_pools(data: Path) -> tuple[list[tuple[str, list[int]]], list[tuple[str, list[int]]]]:
    """The pools of a folder with the numbers of the images that are trained on, and of those that are held out."""
    training, validation = [], []
    for folder in sorted(path for path in data.glob("pool_*") if path.is_dir()):
        kept = [held_out(entry.source, entry.group) for entry in ImagePool(folder).entries]
        training.append((str(folder), [i for i, out in enumerate(kept) if not out]))
        validation.append((str(folder), [i for i, out in enumerate(kept) if out]))
    return [pool for pool in training if pool[1]], [pool for pool in validation if pool[1]]


def validation_scores(sam: Sam, pools: list[tuple[str, list[int]]], size: int) -> dict[str, dict[str, float]]:
    """Mean Dice on outlined structures of held-out images, by data set.

    Args:
        sam: the model, in evaluation mode, for images of ``size`` pixels.
        pools: folders of pools, with the numbers of what is held out.
        size: of the model's input, in pixels.
    """
    model = SamModel(sam, replace(LITE, image_size=size), kind="lite", sha256="validation", device=sam.device)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for folder, numbers in pools:
        pool = ImagePool(folder)
        labelled: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            if pool.entries[number].labels:
                labelled[pool.entries[number].source].append(number)
        for source, some in labelled.items():
            spread = np.unique(np.linspace(0, len(some) - 1, _IMAGES).round().astype(int))
            for place in spread:
                item = pool[some[place]]
                truth = _largest(item.labels[0])
                if truth.sum() >= _FEWEST_PIXELS:
                    [embedding] = model.embed([np.ascontiguousarray(item.image)])
                    clicks = clicked(model, embedding, truth, (1, 5))
                    rows[source].append(
                        {
                            "box": boxed(model, embedding, truth),
                            "1": clicks[1],
                            "5": clicks[5],
                            "ellipse": ellipse(truth),
                        }
                    )
    return {
        source: {"images": len(some), **{key: round(float(np.mean([r[key] for r in some])), 3) for key in some[0]}}
        for source, some in sorted(rows.items())
    }


def _largest(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The structure of a map of labels that has most pixels; empty where there is none."""
    count = np.bincount(labels.ravel(), minlength=2)
    return labels == 1 + int(count[1:].argmax())
