"""The pictures that AlignSAM was published on (Table 1): blur, shadow, mirrors and glass, and saliency.

Every data set has a folder of pictures and one of masks, white where the target is; most have them once to train with
and once to test with. PASCAL VOC is in :mod:`~adaptsam.datasets.pascal_voc`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adaptsam.datasets.dataset import DataSet
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.paired_images import picture_cases
from adaptsam.errors import InputError
from adaptsam.io.video.frames import pictures_in

PUBLISHED_PARTS = ("train", "test")


@dataclass(frozen=True)
class Layout:
    """Layout of a benchmark: pairs of image and mask folders; for each part the first pair that exists counts."""

    title: str
    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...] = ()

    def pairs(self, part: str) -> tuple[tuple[str, str], ...]:
        """The folders of a part; of a data set without parts, all of it."""
        return self.test if part == "test" else self.train


LAYOUTS: Mapping[str, Layout] = {
    "cuhk-blur": Layout(
        "CUHK's blur detection data set (Shi et al., 2014)",
        (("BlurDatasetImage/image", "BlurDatasetGT/gt"), ("BlurDatasetImage", "BlurDatasetGT")),
    ),
    "sbu-shadow": Layout(
        "SBU's shadows (Vicente et al., 2016)",
        (
            ("SBUTrain4KRecoveredSmall/ShadowImages", "SBUTrain4KRecoveredSmall/ShadowMasks"),
            ("SBU-Train/ShadowImages", "SBU-Train/ShadowMasks"),
        ),
        (
            ("SBU-Test/ShadowImages", "SBU-Test/ShadowMasks"),
            ("SBU-Test_rename/ShadowImages", "SBU-Test_rename/ShadowMasks"),
        ),
    ),
    "msd-glass": Layout(
        "MSD, mirrors and glass (Yang et al., 2019)",
        (("train/image", "train/mask"),),
        (("test/image", "test/mask"),),
    ),
    "duts": Layout(
        "DUTS, salient objects (Wang et al., 2017)",
        (("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),),
        (("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),),
    ),
}


def open_benchmark(kind: str, path: str | Path, *, part: str = "train") -> DataSet:
    """One part of a data set as it is unpacked, in the given folder or one in it.

    Every picture counts as a patient. CUHK was published without parts: "train" is all of it.

    Args:
        kind: one of :data:`LAYOUTS`.
        path: the folder.
        part: "train" or "test", as published.

    Raises:
        InputError: there is no such folder or part, or the folders of pictures and masks are not in it.
    """
    layout = LAYOUTS[kind]
    check_part(part)
    if not layout.pairs(part):
        raise InputError(f"{layout.title} has no published test part; leave 'part' out.")
    root = existing_folder(path)
    found = find_pair(root, layout.pairs(part))
    if found is None:
        images, masks = layout.pairs(part)[0]
        raise InputError(f"{root.name} has no folders {images} and {masks}; give the unpacked {layout.title}.")
    cases = picture_cases(pictures_in(found[0]), pictures_in(found[1]), lambda file: file.stem)
    return DataSet(kind, root.name, cases, unit="picture", remarks=(f"These are the pictures of {found[0].name}.",))


def find_pair(root: Path, pairs: tuple[tuple[str, str], ...]) -> tuple[Path, Path] | None:
    """The first pair of folders that both are in the folder, or in one that lies directly in it."""
    for place in (root, *subfolders(root)):
        for images, masks in pairs:
            if (place / images).is_dir() and (place / masks).is_dir():
                return place / images, place / masks
    return None


def recognised(root: Path) -> str | None:
    """The benchmark in a folder, recognised by the names of its folders."""
    for kind, layout in LAYOUTS.items():
        if find_pair(root, (*layout.train, *layout.test)):
            return kind
    return None


def check_part(part: str) -> None:
    """Raise :class:`InputError` unless there is such a part."""
    if part not in PUBLISHED_PARTS:
        raise InputError(f"A data set has the published parts {' and '.join(PUBLISHED_PARTS)}, not {part!r}.")


#: By kind, what opens it.
READERS: Mapping[str, Callable[..., DataSet]] = {kind: partial(open_benchmark, kind) for kind in LAYOUTS}
