"""COCO-20i (Nguyen and Todorovic, 2019): the 80 classes of COCO 2014 in four folds, 20 to test in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder
from adaptsam.datasets.mask_encodings import ClassMask
from adaptsam.datasets.pickled_lists import read_plain_pickle
from adaptsam.errors import InputError

KIND = "coco-20i"
CLASSES, FOLDS = 80, 4


def open_coco_20i(path: str | Path, *, fold: int = 0) -> DataSet:
    """The data set as few-shot methods keep it: ``val2014/``, ``train2014/``, ``annotations/``, ``splits/val/``.

    ``annotations/val2014/<image>.png`` has class + 1 at each pixel. A case is a class of the fold, its samples in the
    order of the published list; files are looked for when a sample is read.

    Raises:
        InputError: there is no such folder or fold, or it lacks the list or the annotations.
    """
    root = existing_folder(path)
    root = root / "COCO2014" if (root / "COCO2014").is_dir() else root
    if not 0 <= fold < FOLDS:
        raise InputError(f"COCO-20i has the folds 0 to {FOLDS - 1}, not {fold}.")
    if not (root / "annotations").is_dir():
        raise InputError(f"{root.name} has no folder annotations with a mask for each image; download those too.")
    listing = read_plain_pickle(root / "splits" / "val" / f"fold{fold}.pkl")
    wanted = [fold + FOLDS * number for number in range(CLASSES // FOLDS)]
    if not isinstance(listing, dict) or not all(isinstance(listing.get(n), list) for n in wanted):
        raise InputError(f"fold{fold}.pkl does not list the images of its 20 classes; download it again.")
    return DataSet(KIND, root.name, tuple(_class(root, n, listing[n]) for n in wanted), unit="class")


def _class(root: Path, number: int, names: list[Any]) -> Case:
    name = f"class-{number:02d}"
    samples = tuple(
        Sample(
            f"{name}/{Path(str(one)).stem}",
            name,
            ClassMask(root / str(one), root / "annotations" / Path(str(one)).with_suffix(".png"), number + 1, CLASSES),
        )
        for one in names
    )
    return Case(name, samples, len(samples))
