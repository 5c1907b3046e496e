"""Kvasir-SEG (Jha et al.): 1000 pictures of polyps with a mask each, both JPEG, of many sizes."""

from __future__ import annotations

from pathlib import Path

from adaptsam.datasets.dataset import DataSet
from adaptsam.datasets.dataset_folders import existing_folder
from adaptsam.datasets.paired_images import picture_cases
from adaptsam.errors import InputError
from adaptsam.io.video.frames import pictures_in

KIND = "kvasir-seg"
PUBLISHED = 1000
#: The file of boxes, as it is called in the download and as it was meant.
BOXES = ("kavsir_bboxes.json", "kvasir_bboxes.json")


def open_kvasir_seg(path: str | Path) -> DataSet:
    """The data set as it is unpacked: ``images/`` and ``masks/`` with the same names; the file of boxes is not needed.

    Every picture counts as a patient, since nothing says who it is of. The split is 800, 100 and 100.

    Raises:
        InputError: there is no such folder, or it lacks one of the two.
    """
    root = kvasir_root(existing_folder(path))
    if root is None:
        raise InputError(f"{Path(path).absolute().name} has no folders images and masks; give the unpacked Kvasir-SEG.")
    cases = picture_cases(pictures_in(root / "images"), pictures_in(root / "masks"), lambda file: file.stem)
    here = sum(bool(case.images) for case in cases)
    remarks = (f"{here} of the {PUBLISHED} published pictures are here.",) if here != PUBLISHED else ()
    return DataSet(KIND, root.name, cases, unit="picture", remarks=remarks)


def kvasir_root(folder: Path) -> Path | None:
    """The folder itself, or the one in it, that has both folders."""
    for root in (folder, folder / "Kvasir-SEG", folder / "kvasir-seg"):
        if (root / "images").is_dir() and (root / "masks").is_dir():
            return root
    return None
