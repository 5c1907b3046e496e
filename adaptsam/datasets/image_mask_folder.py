"""Any folder of images with masks: pictures (PNG, JPEG, TIFF) or volumes (NIfTI, NRRD, MetaImage), matched by names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from adaptsam.datasets.dataset import Case, DataSet, MaskPatch, Sample
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.paired_images import PicturePair, picture_cases
from adaptsam.errors import InputError
from adaptsam.image.intensity import PAPERS_WINDOW, Window, intensity_range, is_ct
from adaptsam.image.orientation import Orientation, canonical_orientation
from adaptsam.image.volume import StructureSet
from adaptsam.io.files import read_structures, read_volume
from adaptsam.io.itk_images import SUFFIXES
from adaptsam.io.video.frames import is_picture, natural_key
from adaptsam.progress import Progress, silent

KIND = "folder"
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr", "original")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "labelstr", "segmentations", "annotations", "gt", "ground truth")
_IMAGE_WORDS = re.compile(r"^(image|img)([_-]|$)|[_-](image|img|0000)$", re.IGNORECASE)
_MASK_WORDS = re.compile(
    r"^(mask|label|seg|gt)([_-]|$)|[_-](mask|masks|seg|segmentation|label|labels|gt|groundtruth)$|\.seg$",
    re.IGNORECASE,
)
#: In which ways names are compared, in this order: as they are, without a mask's words, without those of both.
_WAYS = ((None, None), (None, _MASK_WORDS), (_IMAGE_WORDS, _MASK_WORDS))
_AXIAL = 2


@dataclass(frozen=True)
class VolumeSlice:
    """Slice ``k`` of a volume in anatomical order, and the mask on it. Files that can be read in part are."""

    path: Path
    k: int
    orientation: Orientation
    window: Window
    patch: MaskPatch

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        return self.window.rgb(self._plane()), self.patch.mask()

    def _plane(self) -> np.ndarray:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(self.path))
        try:
            reader.ReadImageInformation()
            size = list(reader.GetSize())[:3]
            shape = (size[2], size[1], size[0])
            axis = 2 - self.orientation.order[0]
            start = [0] * reader.GetDimension()
            start[axis] = self.orientation.stored_slice(self.k, shape)
            size[axis] = 1
            reader.SetExtractIndex(start)
            reader.SetExtractSize([*size, *[0] * (reader.GetDimension() - 3)])
            slab = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            raise InputError(f"{self.path.name} is damaged or not what its suffix says; copy it again.") from None
        return self.orientation.apply(slab)[0]


def open_folder(
    path: str | Path,
    *,
    label: int | None = None,
    window: Window | None = None,
    progress: Progress = silent,
) -> DataSet:
    """Images and masks in two folders (``images``, ``masks``, …), or side by side (``a.png``, ``a_mask.png``).

    Files belong together by their names, with or without words like "image_" and "_mask"; in folders of patients, by
    those too. One image and one mask in a folder each belong together whatever their names.
    Volumes give their axial slices that show the structure; a split keeps folders together, and volumes.

    Args:
        path: the folder.
        label: the value of the masks that counts; None for all above 0.
        window: of volumes, in their own units; None is P²SAM's for CT and percentiles 0.5 to 99.5 otherwise, for which
            every volume is read once.
        progress: receives "looking through volumes"; may cancel.

    Raises:
        InputError: there is no such folder, no image in it, or the label is no number.
    """
    if label is not None and not isinstance(label, int):
        raise InputError(f"A label is a whole number, the masks' value that counts, and not {label!r}.")
    root = existing_folder(path)
    places = folders_of_pairs(root)
    if places:
        images, masks = _files(places[0]), _files(places[1])
        keys = _keys(images, masks, places)
        if len(images) == len(masks) == 1:
            keys[masks[0]] = keys[images[0]]
    else:
        files = _files(root)
        masks = [file for file in files if _MASK_WORDS.search(_stem(file))]
        images = [file for file in files if not _MASK_WORDS.search(_stem(file))]
        keys = _keys(images, masks, (root, root))
    if not images and not masks:
        raise InputError(f"{root.name} holds no images; give a folder of images and masks (PNG, JPEG, NIfTI or NRRD).")
    cases = picture_cases(images, masks, lambda file: keys[file], patient=_patient, label=label)
    volumes = sum(_is_volume(case) for case in cases)
    done: list[Case] = []
    for case in cases:
        if _is_volume(case):
            progress("looking through volumes", len(done), volumes)
            case = _volume_case(case, label, window)
        done.append(case)
    return DataSet(KIND, root.name, tuple(done), unit="volume" if volumes else "picture")


def folders_of_pairs(root: Path) -> tuple[Path, Path] | None:
    """The folder of images and that of masks, by their usual names."""
    by_name = {folder.name.casefold(): folder for folder in subfolders(root)}
    images = [by_name[name] for name in IMAGE_FOLDERS if name in by_name]
    masks = [by_name[name] for name in MASK_FOLDERS if name in by_name]
    return (images[0], masks[0]) if images and masks else None


def holds_pairs(root: Path) -> bool:
    """Whether there are folders of images and of masks, or files side by side of which one is called a mask."""
    return folders_of_pairs(root) is not None or any(_MASK_WORDS.search(_stem(path)) for path in _files(root))


def _files(folder: Path) -> list[Path]:
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names if not name.startswith("."))
    wanted = [path for path in found if is_picture(path) or path.name.lower().endswith(SUFFIXES)]
    return sorted(wanted, key=lambda path: natural_key(str(path.relative_to(folder))))


def _stem(path: Path) -> str:
    """The name without its suffix; of ``a.seg.nrrd`` it is ``a.seg``."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def _keys(images: list[Path], masks: list[Path], places: tuple[Path, Path]) -> dict[Path, str]:
    """Common keys of images and their masks, of each file; the first way in which two fit counts."""
    keys: dict[Path, str] = {}
    for image_words, mask_words in _WAYS:
        some = {file: _key(file, places[0], image_words) for file in images if file not in keys}
        drawn = {file: _key(file, places[1], mask_words) for file in masks if file not in keys}
        shared = {*some.values()} & {*drawn.values()}
        keys |= {file: key for file, key in (some | drawn).items() if key in shared}
    return some | drawn | keys


def _key(path: Path, root: Path, words: re.Pattern[str] | None) -> str:
    place, stem = path.parent.relative_to(root).as_posix(), _stem(path)
    left = words.sub("", stem) if words else stem
    return "/".join(part for part in (place, left) if part not in ("", ".")) or stem


def _patient(key: str) -> str:
    return key.split("/")[0]


def _is_volume(case: Case) -> bool:
    return any(
        isinstance(sample.source, PicturePair) and sample.source.image.name.lower().endswith(SUFFIXES)
        for sample in case.samples
    )


def _volume_case(case: Case, label: int | None, window: Window | None) -> Case:
    """A sample for each axial slice of the volume that shows the structure."""
    [whole] = case.samples
    pair = whole.source
    assert isinstance(pair, PicturePair)
    try:
        volume = read_volume(pair.image)
        if window is None and volume.array.dtype != np.uint8:
            window = PAPERS_WINDOW if is_ct(volume) else Window(*intensity_range(volume.array))
        mask = _union(read_structures(pair.mask, volume), label)
    except InputError as error:
        return replace(case, samples=(), images=0, problems=(*case.problems, str(error)))
    orientation = canonical_orientation(volume.geometry, _AXIAL)
    turned = orientation.apply(mask)
    slices = [
        Sample(
            f"{case.name}/slice-{k:03d}",
            whole.patient,
            VolumeSlice(pair.image, k, orientation, window or Window(), MaskPatch.of(plane)),
        )
        for k, plane in enumerate(turned)
    ]
    shown = {int(k) for k in np.flatnonzero(turned.any(axis=(1, 2)))}
    samples = tuple(one for k, one in enumerate(slices) if k in shown)
    without = tuple(one for k, one in enumerate(slices) if k not in shown)
    empty = () if samples else (f"{pair.mask.name} does not show the structure.",)
    problems = (*case.problems, *empty)
    return replace(case, samples=samples, images=len(slices), problems=problems, without=without)


def _union(structures: StructureSet, label: int | None) -> np.ndarray:
    chosen = [one for one in structures.structures if label is None or one.number == label]
    return np.any([one.mask for one in chosen], axis=0) if chosen else np.zeros(structures.geometry.shape, bool)
