"""LVIS-92i (Liu et al., 2024): 920 classes of LVIS in ten folds, 92 to test in each, as Matcher publishes its lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder
from adaptsam.datasets.pickled_lists import read_plain_pickle
from adaptsam.errors import InputError
from adaptsam.io.video.frames import read_picture

KIND = "lvis-92i"
FOLDS = 10


@dataclass(frozen=True)
class OutlinedPicture:
    """A picture and the polygons or run lengths of all objects of a class on it."""

    image: Path
    outlines: tuple[Any, ...] = field(repr=False)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        image = read_picture(self.image)
        return image, filled(self.outlines, (image.shape[0], image.shape[1]))


def open_lvis_92i(path: str | Path, *, fold: int = 0) -> DataSet:
    """The data set as it is published: ``coco/train2017/``, ``coco/val2017/`` and ``lvis_val.pkl``.

    A case is a class of the fold, its samples in the order of the published list.

    Raises:
        InputError: there is no such folder or fold, or it lacks the list.
    """
    root = existing_folder(path)
    root = root / "LVIS" if (root / "LVIS").is_dir() else root
    if not 0 <= fold < FOLDS:
        raise InputError(f"LVIS-92i has the folds 0 to {FOLDS - 1}, not {fold}.")
    if not (root / "coco").is_dir():
        raise InputError(f"{root.name} has no folder coco with the images of COCO 2017; download those too.")
    listing = read_plain_pickle(root / "lvis_val.pkl")
    if not isinstance(listing, dict):
        raise InputError("lvis_val.pkl does not list images by class; download it again.")
    often = [number for number, images in listing.items() if isinstance(images, dict) and len(images) > 1]
    wanted = [often[fold + FOLDS * number] for number in range(len(often) // FOLDS)]
    return DataSet(KIND, root.name, tuple(_class(root, n, listing[n]) for n in wanted), unit="class")


def _class(root: Path, number: Any, images: dict[str, Any]) -> Case:
    name = f"class-{int(number):04d}"
    samples = []
    for place, one in images.items():
        outlines = tuple(entry["segmentation"] for entry in one.get("annotations", ()))
        samples.append(Sample(f"{name}/{Path(place).stem}", name, OutlinedPicture(root / "coco" / place, outlines)))
    return Case(name, tuple(samples), len(samples))


def filled(outlines: tuple[Any, ...], size: tuple[int, int]) -> np.ndarray:
    """All outlines of a picture (H, W) together, bool: lists of polygons, or COCO's run lengths.

    Raises:
        InputError: pycocotools is not installed, or an outline is none.
    """
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise InputError('LVIS needs the extra "coco": pip install "adaptsam[coco]".') from None
    marked = np.zeros(size, bool)
    try:
        for outline in outlines:
            packed = isinstance(outline, dict) and isinstance(outline.get("counts"), bytes | str)
            runs = outline if packed else coco.frPyObjects(outline, *size)
            marked |= coco.decode(coco.merge(runs) if isinstance(runs, list) else runs).astype(bool)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"an outline in the list cannot be read ({error}).") from None
    return marked
