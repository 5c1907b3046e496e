"""4D-Lung (Hugo et al., The Cancer Imaging Archive): the breathing phases of several visits, an RTSTRUCT each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder, listed
from adaptsam.datasets.dicom_patients import (
    Drawing,
    PatientFiles,
    Scan,
    Series,
    draw,
    find_structure,
    patient_folders,
    read_patient,
)
from adaptsam.errors import InputError
from adaptsam.image.intensity import PAPERS_WINDOW, Window
from adaptsam.progress import Progress, silent

KIND = "4d-lung"
PATIENTS = r"1[01]\d_HM10395"
PUBLISHED = tuple(f"{number}_HM10395" for number in range(100, 120))
#: Left out unless requested, and why.
EXCLUDED = {"118_HM10395": "its contours are wrong, and the published evaluation leaves it out"}
_PERCENT = re.compile(r"gated[\s,_]*(\d+(?:\.\d+)?)", re.IGNORECASE)


def open_four_d_lung(
    path: str | Path,
    *,
    gate: int = 0,
    structure: str = "Tumor",
    excluded: Mapping[str, str] = EXCLUDED,
    window: Window = PAPERS_WINDOW,
    progress: Progress = silent,
) -> DataSet:
    """The collection as the NBIA Data Retriever leaves it; visits in the order of their dates, one gate of each.

    Args:
        path: the collection, a folder above it, or one patient.
        gate: the breathing phase, 0 for the first (0 %), 1 for the next (10 %), …; the publication takes the first.
        structure: the first ROI whose name contains this is the tumour.
        excluded: patients that are left out, and why; ``{}`` for none.
        window: in Hounsfield units.
        progress: receives "looking through patients"; may cancel.

    Returns:
        Samples are named ``100_HM10395/visit-1/slice-025``.

    Raises:
        InputError: there is no such folder, or no patient in it.
    """
    root, folders = _folders(path)
    cases = []
    for number, (name, places) in enumerate(folders.items()):
        progress("looking through patients", number, len(folders))
        if name in excluded:
            cases.append(Case(name, remarks=(f"Left out: {excluded[name]}.",)))
            continue
        cases.append(_case(name, places, gate, structure, window))
    progress("looking through patients", len(folders), len(folders))
    lacking = [name for name in PUBLISHED if name not in folders]
    remarks = [f"{len(lacking)} of the {len(PUBLISHED)} published patients are not here: {listed(lacking)}."]
    return DataSet(KIND, root.name, tuple(cases), remarks=tuple(remarks if 0 < len(lacking) < len(PUBLISHED) else ()))


def patients(path: str | Path) -> dict[str, list[Path]]:
    """The folders of each patient of the collection, by name; images and contours may lie in one each.

    Raises:
        InputError: there is no such folder, or no patient in it.
    """
    return _folders(path)[1]


def visits(*folders: str | Path, gate: int = 0, structure: str = "Tumor") -> tuple[Scan, ...]:
    """The visits of one patient's folders that can be used, by date: whole images and tumours, for an evaluation.

    Raises:
        InputError: there is no such folder.
    """
    places = [existing_folder(folder) for folder in folders]
    found = (_visit(*one, gate, structure) for one in _studies(places[0].name, read_patient(places)))
    return tuple(scan for scan, _ in found if scan is not None)


def _folders(path: str | Path) -> tuple[Path, dict[str, list[Path]]]:
    root = existing_folder(path)
    folders = patient_folders(root, PATIENTS)
    if not folders:
        raise InputError(f"{root.name} holds no patient's folder with DICOM; give the folder with 100_HM10395, ….")
    return root, folders


def _case(patient: str, folders: list[Path], gate: int, structure: str, window: Window) -> Case:
    files = read_patient(folders)
    problems = list(files.problems)
    samples: list[Sample] = []
    remarks = list(files.remarks)
    good = 0
    for name, series, drawings in _studies(patient, files):
        scan, reason = _visit(name, series, drawings, gate, structure)
        if scan is None:
            problems.append(reason)
            continue
        try:
            drawn = draw(scan.drawing, scan.series, scan.number)
        except InputError as error:
            problems.append(f"{_last(name)}: {error}")
            continue
        good += 1
        samples += scan.samples(patient, window, drawn)
        if reason:
            remarks.append(reason)
    if not files.series:
        problems.append("There is no image series that can be used.")
    elif good == 1:
        remarks.append("There is one usable visit only: nothing to carry contours to.")
    return Case(patient, tuple(samples), files.slices, tuple(problems), tuple(remarks))


def _studies(patient: str, files: PatientFiles) -> Iterator[tuple[str, list[Series], list[Drawing]]]:
    """Each study as a visit, by date and time: its name, its series and files of structures."""
    first = {series.study: (series.date, series.time, series.study) for series in files.series}
    for number, study in enumerate(sorted(first, key=lambda study: first[study]), start=1):
        here = [series for series in files.series if series.study == study]
        drawings = [one for one in files.drawings if any(series.uid in one.series for series in here)]
        yield f"{patient}/visit-{number}", here, drawings


def _visit(
    name: str, series: Sequence[Series], drawings: Sequence[Drawing], gate: int, structure: str
) -> tuple[Scan | None, str]:
    """The scan of one gate, or None and why not; beside a scan, a sentence where there was a choice."""
    gates = sort_gates(series)
    if gate not in gates:
        return None, f"{_last(name)} has no gate {gate}: it has {listed([str(number) for number in gates])}."
    reasons = []
    for one in gates[gate]:
        for drawing in (drawing for drawing in drawings if one.uid in drawing.series):
            try:
                number, names = find_structure(drawing, lambda names: first_containing(names, structure))
            except InputError as error:
                reasons.append(str(error))
                continue
            if number is not None:
                several = len(gates[gate]) > 1
                choice = f"{_last(name)} has {len(gates[gate])} series of gate {gate}; the first contoured is taken."
                return Scan(name, one, drawing, number), choice if several else ""
            reasons.append(f"no ROI's name contains {structure!r}, it has {listed(names) or 'none'}")
    why = "; ".join(reasons) or "no RTSTRUCT names this series; download it too"
    return None, f"{_last(name)}, gate {gate}: {why.rstrip('.')}."


def sort_gates(series: Sequence[Series]) -> dict[int, list[Series]]:
    """The series of a visit by gate: what the descriptions say ("Gated, 20.0%"); where none does, their order.

    Gate n is the one at 10·n %: the folder ``Gated_0n`` of the publication, which counts them in this order.
    """
    gates: dict[int, list[Series]] = {}
    for one in series:
        found = _PERCENT.search(one.description)
        if found:
            gates.setdefault(round(float(found[1]) / 10), []).append(one)
    if gates:
        return dict(sorted(gates.items()))
    return {number: [one] for number, one in enumerate(sorted(series, key=lambda one: (one.description, one.uid)))}


def first_containing(names: Mapping[int, tuple[str, ...]], structure: str) -> int | None:
    """The number of the first structure whose name contains a word, whatever the capitals."""
    wanted = structure.casefold()
    return next((number for number, words in names.items() if wanted in words[-1].casefold()), None)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
