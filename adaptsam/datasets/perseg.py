"""PerSeg (Zhang et al., 2023): 40 objects, some pictures of each, and a mask for every picture."""

from __future__ import annotations

from pathlib import Path

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.mask_encodings import ColouredMask
from adaptsam.errors import InputError
from adaptsam.io.video.frames import pictures_in

KIND = "perseg"
IMAGES, MASKS = "Images", "Annotations"
PUBLISHED = 40


def open_perseg(path: str | Path) -> DataSet:
    """The data set as it is unpacked: ``Images/<object>/00.jpg``, … and ``Annotations/<object>/00.png``.

    A case is an object; its first picture, 00, is the one that methods are shown.

    Raises:
        InputError: there is no such folder, or it lacks one of the two.
    """
    root = next((r for r in _roots(existing_folder(path)) if (r / IMAGES).is_dir() and (r / MASKS).is_dir()), None)
    if root is None:
        name = Path(path).absolute().name
        raise InputError(f"{name} has no folders '{IMAGES}' and '{MASKS}'; give the unpacked PerSeg.")
    cases = tuple(_object(folder, root / MASKS / folder.name) for folder in subfolders(root / IMAGES))
    remarks = (f"{len(cases)} of the {PUBLISHED} published objects are here.",) if len(cases) != PUBLISHED else ()
    return DataSet(KIND, root.name, cases, unit="object", remarks=remarks)


def _roots(folder: Path) -> list[Path]:
    return [folder, *subfolders(folder)]


def _object(images: Path, masks: Path) -> Case:
    name = images.name
    samples, problems = [], []
    pictures = pictures_in(images)
    for picture in pictures:
        mask = masks / f"{picture.stem}.png"
        if mask.is_file():
            samples.append(Sample(f"{name}/{picture.stem}", name, ColouredMask(picture, mask)))
        else:
            problems.append(f"{name}/{picture.name} has no mask {mask.name}.")
    return Case(name, tuple(samples), len(pictures), tuple(problems))
