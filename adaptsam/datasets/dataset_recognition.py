"""Recognition of the data set in a folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from adaptsam.datasets import (
    binary_benchmarks as benchmarks,
)
from adaptsam.datasets import (
    cvc_clinicdb,
    four_d_lung,
    image_mask_folder,
    kvasir_seg,
    nsclc_radiomics,
    pascal_voc,
)
from adaptsam.datasets.dataset import DataSet
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.dicom_patients import named_folders
from adaptsam.errors import InputError
from adaptsam.io.dicom.dicom_file import is_dicom
from adaptsam.progress import Progress, silent

READERS: dict[str, Callable[..., DataSet]] = {
    nsclc_radiomics.KIND: nsclc_radiomics.open_nsclc_radiomics,
    four_d_lung.KIND: four_d_lung.open_four_d_lung,
    kvasir_seg.KIND: kvasir_seg.open_kvasir_seg,
    cvc_clinicdb.KIND: cvc_clinicdb.open_cvc_clinicdb,
    **benchmarks.READERS,
    pascal_voc.KIND: pascal_voc.open_pascal_voc,
    image_mask_folder.KIND: image_mask_folder.open_folder,
}

#: The data sets that can be read, by name.
KINDS = tuple(READERS)


def open_dataset(path: str | Path, kind: str | None = None, progress: Progress = silent, **choices: object) -> DataSet:
    """The data set in a folder, with its published settings where ``choices`` has no other.

    Args:
        path: the folder.
        kind: one of :data:`KINDS`; recognised from the folder by default.
        progress: receives what is looked through; may cancel.
        choices: as the function of the kind takes them: ``structure``, ``gate``, ``window``, ``label``, ….

    Raises:
        InputError: no such folder, kind or choice, a folder of no known kind, or one without any image.
    """
    if kind is not None and kind not in READERS:
        raise InputError(f"There is no data set {kind!r}; known are {', '.join(KINDS)}.")
    kind = kind or recognise(path)
    known = dict(inspect.signature(READERS[kind]).parameters)
    for name in choices:
        if name not in known:
            has = ", ".join(one for one in known if one not in ("path", "progress")) or "none"
            raise InputError(f"The data set {kind} has no choice of a {name} (its choices: {has}); leave it out.")
    return READERS[kind](path, **choices, **({"progress": progress} if "progress" in known else {}))


def recognise(path: str | Path) -> str:
    """The kind of a data set, by the names of its folders; files are not read.

    Raises:
        InputError: there is no such folder, it is empty, or of no known kind.
    """
    root = existing_folder(path)
    if not any(root.iterdir()):
        raise InputError(f"{root.name} is empty; check the path, or download the data set again.")
    if named_folders(root, nsclc_radiomics.PATIENTS):
        return nsclc_radiomics.KIND
    if named_folders(root, four_d_lung.PATIENTS):
        return four_d_lung.KIND
    if cvc_clinicdb.cvc_root(root):
        return cvc_clinicdb.KIND
    kvasir = kvasir_seg.kvasir_root(root)
    if kvasir and ("kvasir" in kvasir.name.lower() or any((kvasir / name).is_file() for name in kvasir_seg.BOXES)):
        return kvasir_seg.KIND
    if pascal_voc.voc_root(root):
        return pascal_voc.KIND
    benchmark = benchmarks.recognised(root)
    if benchmark:
        return benchmark
    if image_mask_folder.holds_pairs(root):
        return image_mask_folder.KIND
    if _holds_dicom(root):
        raise InputError(
            f"{root.name} holds DICOM of patients whose folders have other names than a published collection; give "
            f"its layout with --kind {nsclc_radiomics.KIND} or {four_d_lung.KIND}."
        )
    raise InputError(f"{root.name} is no data set that is known ({', '.join(KINDS)}); check the path.")


def _holds_dicom(root: Path) -> bool:
    """Whether a file of the first folders is DICOM, at most five levels down."""
    level = [root]
    for _ in range(6):
        if any(is_dicom(path) for folder in level[:20] for path in sorted(folder.iterdir())[:20] if path.is_file()):
            return True
        level = [folder for parent in level[:20] for folder in subfolders(parent)]
    return False
