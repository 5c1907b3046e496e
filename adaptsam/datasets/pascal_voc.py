"""PASCAL VOC's semantic segmentation (Everingham et al.): one of its twenty classes against everything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptsam.datasets.binary_benchmarks import check_part
from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.paired_images import PicturePair
from adaptsam.errors import InputError
from adaptsam.io.mask_images import read_gray
from adaptsam.progress import Progress, silent

KIND = "pascal-voc"
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_BORDER = 255
_LISTS = {"train": "train.txt", "test": "val.txt"}


def open_pascal_voc(
    path: str | Path, *, structure: str = "person", part: str = "train", progress: Progress = silent
) -> DataSet:
    """The pictures with a class in one part, as unpacked: ``VOCdevkit/VOC2012/JPEGImages``, ``SegmentationClass``, ….

    The border that the masks leave undecided (255) counts as background. The published test part is the list "val",
    whose masks are public.

    Args:
        path: the folder of the year, or one above it.
        structure: one of :data:`CLASSES`.
        part: "train" or "test".
        progress: receives "looking through masks", each of which is read once; may cancel.

    Raises:
        InputError: there is no such folder, class or part, or a file is missing or damaged.
    """
    check_part(part)
    name = structure.strip().casefold()
    if name not in CLASSES:
        raise InputError(f"PASCAL VOC has no class {structure!r}; it has {', '.join(CLASSES)}.")
    root = voc_root(existing_folder(path))
    if root is None:
        raise InputError(
            f"{Path(path).name} has no folders JPEGImages and SegmentationClass; give the unpacked VOC2012."
        )
    listed = root / "ImageSets" / "Segmentation" / _LISTS[part]
    try:
        names = listed.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{root.name} has no list {_LISTS[part]} in ImageSets/Segmentation; unpack it again."
        ) from None
    cases = []
    for number, one in enumerate(names):
        progress("looking through masks", number, len(names))
        cases.append(_case(root, one, CLASSES.index(name) + 1))
    return DataSet(KIND, root.name, tuple(case for case in cases if case.samples or case.problems), unit="picture")


def scored_pixels(sample: Sample) -> np.ndarray:
    """Pixels that a sample's mask decides, bool (H, W): all but its border (255).

    Raises:
        InputError: the mask has a value that is no class.
    """
    pair = sample.source
    assert isinstance(pair, PicturePair)
    values = read_gray(pair.mask)
    unknown = [int(value) for value in np.unique(values) if len(CLASSES) < value < _BORDER]
    if unknown:
        raise InputError(f"{pair.mask.name} has the value {unknown[0]}, but classes go to {len(CLASSES)}.")
    return np.asarray(values != _BORDER)


def voc_root(folder: Path) -> Path | None:
    """The folder of a year: itself, or at most two levels down."""
    below = subfolders(folder)
    for root in (folder, *below, *(one for parent in below[:10] for one in subfolders(parent))):
        if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
            return root
    return None


def _case(root: Path, name: str, label: int) -> Case:
    pair = PicturePair(root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png", label)
    for file in (pair.image, pair.mask):
        if not file.is_file():
            return Case(name, problems=(f"{file.name} is missing; unpack it again.",))
    try:
        there = bool(np.any(read_gray(pair.mask) == label))
    except InputError as error:
        return Case(name, images=1, problems=(str(error),))
    sample = Sample(name, name, pair)
    return Case(name, (sample,), 1) if there else Case(name, (), 1, without=(sample,))
