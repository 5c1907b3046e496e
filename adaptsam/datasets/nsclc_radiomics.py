"""NSCLC-Radiomics (Aerts et al., The Cancer Imaging Archive): one planning CT a patient, with SEG and RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from adaptsam.datasets.dataset import Case, DataSet
from adaptsam.datasets.dataset_folders import existing_folder, listed
from adaptsam.datasets.dicom_patients import (
    Drawing,
    PatientFiles,
    Scan,
    draw,
    drawn_on,
    find_structure,
    patient_folders,
    read_patient,
)
from adaptsam.errors import InputError
from adaptsam.image.intensity import PAPERS_WINDOW, Window
from adaptsam.progress import Progress, silent

KIND = "nsclc-radiomics"
PATIENTS = r"LUNG1-\d{3}"
PUBLISHED = tuple(f"LUNG1-{number:03d}" for number in range(1, 423))
#: The one published patient without a contour of the tumour; 421 are left.
WITHOUT_TUMOUR = "LUNG1-128"


def open_nsclc_radiomics(
    path: str | Path, *, structure: str = "GTV-1", window: Window = PAPERS_WINDOW, progress: Progress = silent
) -> DataSet:
    """The collection as the NBIA Data Retriever leaves it: ``…/LUNG1-001/<date and study>/<series>/1-001.dcm``.

    A structure is a segment described so (SEG, which the paper uses), otherwise labelled so, or an ROI of that name
    (RTSTRUCT), whatever the capitals. The SEG is taken where a patient has both and both are good.

    Args:
        path: the collection, a folder above it, or one patient.
        structure: which.
        window: in Hounsfield units.
        progress: receives "looking through patients"; may cancel.

    Raises:
        InputError: there is no such folder, or no patient in it.
    """
    root = existing_folder(path)
    folders = patient_folders(root, PATIENTS)
    if not folders:
        raise InputError(f"{root.name} holds no patient's folder with DICOM; give the folder with LUNG1-001, ….")
    cases = []
    for number, (name, places) in enumerate(folders.items()):
        progress("looking through patients", number, len(folders))
        cases.append(_case(name, places, structure, window))
    progress("looking through patients", len(folders), len(folders))
    return DataSet(KIND, root.name, tuple(cases), remarks=_missing(list(folders)))


def _missing(names: list[str]) -> tuple[str, ...]:
    lacking = [name for name in PUBLISHED if name not in names]
    if len(lacking) == len(PUBLISHED) or not lacking:
        return ()
    return (f"{len(lacking)} of the {len(PUBLISHED)} published patients are not here: {listed(lacking)}.",)


def _case(name: str, folders: list[Path], structure: str, window: Window) -> Case:
    files = read_patient(folders)
    case = Case(name, (), files.slices, files.problems, files.remarks)
    if not files.series:
        return replace(case, problems=(*case.problems, "There is no image series that can be used."))
    if not files.drawings:
        return replace(case, problems=(*case.problems, "There is no SEG or RTSTRUCT; download it too."))
    tried: list[str] = []
    for drawing in sorted(files.drawings, key=lambda drawing: drawing.modality != "SEG"):
        found, doubts = _from_drawing(name, files, drawing, structure, window)
        if found is not None:
            kind, place = drawing.modality, f"{drawing.path.parent.name}/{drawing.path.name}"
            remarks = [*case.remarks, *(f"The {kind} is used instead: {reason}" for reason in tried)]
            if any(_shows(one, structure) for one in files.drawings if one.modality == kind and one is not drawing):
                remarks.append(f"There is more than one {kind} with {structure!r}; {place} is taken.")
            return replace(found, images=files.slices, problems=(*case.problems, *doubts), remarks=tuple(remarks))
        tried += doubts
    if name == WITHOUT_TUMOUR:
        tried.append("This patient is published without a contour of the tumour.")
    return replace(case, problems=(*case.problems, *tried))


def _shows(drawing: Drawing, structure: str) -> bool:
    try:
        return find_structure(drawing, lambda names: by_name(names, structure))[0] is not None
    except InputError:
        return False


def _from_drawing(
    patient: str, files: PatientFiles, drawing: Drawing, structure: str, window: Window
) -> tuple[Case | None, list[str]]:
    """A case with the samples that a file gives, or None and why not; doubts in both."""
    series, doubt = drawn_on(drawing, files)
    doubts = [doubt] if doubt else []
    if series is None:
        return None, doubts
    try:
        number, names = find_structure(drawing, lambda names: by_name(names, structure))
        if number is None:
            has = f"it has {listed(names)}" if names else "it has none"
            return None, [*doubts, f"{drawing.path.name} ({drawing.modality}) has no structure {structure!r}: {has}."]
        scan = Scan(patient, series, drawing, number)
        mask = draw(drawing, series, number)
        without = scan.samples(patient, window, mask, shown=False)
        return Case(patient, scan.samples(patient, window, mask), without=without), doubts
    except InputError as error:
        return None, [*doubts, str(error)]


def by_name(names: Mapping[int, tuple[str, ...]], structure: str) -> int | None:
    """The number of the structure that is called so, by description before label."""
    wanted = structure.strip().casefold()
    for place in (-1, 0):
        for number, words in names.items():
            if words[place].strip().casefold() == wanted:
                return number
    return None
