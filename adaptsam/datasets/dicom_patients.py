"""Patients of DICOM collections: image series, and the SEG or RTSTRUCT drawn on them, distinguished by their headers.

Folders and files may have any names, as long as each patient has a folder. Pixels are left alone; what is kept of a
patient is where the slices lie and the masks of the one structure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from adaptsam.datasets.dataset import MaskPatch, Sample
from adaptsam.datasets.dataset_folders import subfolders
from adaptsam.errors import InputError
from adaptsam.image.intensity import Window
from adaptsam.image.volume import Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import quiet_pydicom, read_dicom
from adaptsam.io.dicom.pixel_data import rescaled, stored_frames
from adaptsam.io.dicom.rtstruct_reader import read_rtstruct, roi_names
from adaptsam.io.dicom.seg_reader import read_dicom_seg, segment_names
from adaptsam.io.dicom.series_reader import dicom_paths, dicom_source, series_geometry
from adaptsam.io.files import read_volume

_HEADER = (
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "SeriesInstanceUID",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
)
_DRAWN = ("SEG", "RTSTRUCT")
#: How many levels below the given folder the patients' folders are looked for.
_DEPTH = 3

#: Which of the names of a file's structures, by their numbers, is wanted; None where it is not there.
Choice = Callable[[Mapping[int, tuple[str, ...]]], int | None]


@dataclass(frozen=True)
class DicomSlice:
    """A slice in a file of its own, and the structure's mask on it."""

    path: Path
    window: Window
    patch: MaskPatch

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        dataset = read_dicom(self.path, pixels=True)
        return self.window.rgb(rescaled(stored_frames(dataset, self.path)[0], dataset)), self.patch.mask()


@dataclass(frozen=True)
class Series:
    """One image series of a patient, its slices in the order of k; ``grid`` has its geometry and an array of zeros."""

    uid: str
    study: str
    date: str
    time: str
    description: str
    files: tuple[Path, ...] = field(repr=False)
    grid: Volume = field(repr=False)


@dataclass(frozen=True)
class Drawing:
    """A file of structures, and the image series that it names."""

    path: Path
    modality: str
    study: str
    series: tuple[str, ...]


@dataclass(frozen=True)
class PatientFiles:
    """DICOM files in a patient's folder: series and drawings."""

    series: tuple[Series, ...]
    drawings: tuple[Drawing, ...]
    slices: int
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """A series with the structure that was drawn on it: what a patient was scanned for at one visit.

    Attributes:
        name: of the patient and, where there are several, of the visit.
        series: the image.
        drawing: the file of the structure.
        number: of the structure in it.
    """

    name: str
    series: Series
    drawing: Drawing
    number: int

    def read(self) -> tuple[Volume, StructureSet]:
        """The whole image in HU and the structure on its grid.

        Raises:
            InputError: a file is damaged.
            GeometryError: the structure does not lie on the image.
        """
        volume = read_volume(self.series.files[0].parent, self.series.uid)
        return volume, _read_drawing(self.drawing, volume, self.number)

    def samples(self, patient: str, window: Window, structure: Structure, *, shown: bool = True) -> tuple[Sample, ...]:
        """A sample for each slice that shows the structure, or for each one that does not."""
        return tuple(
            Sample(
                f"{self.name}/slice-{k:03d}",
                patient,
                DicomSlice(self.series.files[k], window, MaskPatch.of(structure.mask[k])),
            )
            for k in np.flatnonzero(structure.mask.any(axis=(1, 2)) == shown)
        )


def patient_folders(root: Path, pattern: str) -> dict[str, list[Path]]:
    """The folders of each patient, by name: those whose names match, otherwise every subfolder with DICOM in it.

    A patient has several where images and structures were downloaded by a manifest each.
    """
    found = named_folders(root, pattern) or [folder for folder in subfolders(root) if dicom_paths(folder)]
    by_name: dict[str, list[Path]] = {}
    for folder in sorted(found, key=lambda folder: folder.name):
        by_name.setdefault(folder.name, []).append(folder)
    return by_name


def named_folders(root: Path, pattern: str) -> list[Path]:
    """The folders whose names match, all on the first level that has one, which is ``root`` or at most three below."""
    level = [root]
    for _ in range(_DEPTH + 1):
        found = [folder for folder in level if re.fullmatch(pattern, folder.name)]
        if found:
            return found
        level = [folder for parent in level for folder in subfolders(parent)]
    return []


def read_patient(folders: Sequence[Path]) -> PatientFiles:
    """Every series and file of structures in a patient's folders; what cannot be used is said, and never raised."""
    slices: dict[str, dict[str, tuple[Path, FileDataset]]] = {}
    drawings, problems, remarks = [], [], []
    copies = 0
    for path in (path for folder in folders for path in dicom_paths(folder)):
        try:
            header = read_dicom(path, tags=_HEADER)
            with quiet_pydicom():
                if header.get("Modality") in _DRAWN:
                    drawings.append(_drawing(path, header))
                elif "ImagePositionPatient" in header and "Rows" in header and header.get("Modality") != "RTDOSE":
                    files = slices.setdefault(str(header.get("SeriesInstanceUID", "")), {})
                    copies += str(header.get("SOPInstanceUID", path)) in files
                    files.setdefault(str(header.get("SOPInstanceUID", path)), (path, header))
                elif header.get("Modality") in ("CT", "MR", "PT", None):
                    problems.append(f"{path.name} is damaged: it lacks its position or size; copy it again.")
        except InputError as error:
            problems.append(str(error))
        except (AttributeError, TypeError, ValueError):
            problems.append(f"{path.name} is damaged: its header cannot be read; copy it again.")
    if copies:
        remarks.append(f"{copies} files are copies of slices that are there already; they are left out.")
    series = []
    for files in slices.values():
        try:
            series.append(_series(list(files.values())))
        except InputError as error:
            problems.append(str(error))
    count = sum(len(files) for files in slices.values())
    return PatientFiles(tuple(series), tuple(drawings), count, tuple(problems), tuple(remarks))


def _series(files: list[tuple[Path, FileDataset]]) -> Series:
    headers = [header for _, header in files]
    if any(int(header.get("NumberOfFrames") or 1) > 1 for header in headers):
        raise InputError("The series is multi-frame, which the published collections are not; give it to read_volume.")
    geometry, order = series_geometry(headers)
    first = headers[order[0]]
    # Zeros that take no memory: the structures only need the grid.
    array = np.broadcast_to(np.int16(0), geometry.shape)
    source = dicom_source([headers[n] for n in order])
    return Series(
        uid=str(first.get("SeriesInstanceUID", "")),
        study=str(first.get("StudyInstanceUID", "")),
        date=str(first.get("StudyDate", "")),
        time=str(first.get("StudyTime", "")),
        description=str(first.get("SeriesDescription", "")),
        files=tuple(files[n][0] for n in order),
        grid=Volume(array, geometry, str(first.get("Modality", "")), source),
    )


def _drawing(path: Path, header: FileDataset) -> Drawing:
    named = list(header.get("ReferencedSeriesSequence") or ())
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            named += study.get("RTReferencedSeriesSequence") or ()
    series = tuple(str(item.get("SeriesInstanceUID", "")) for item in named)
    return Drawing(path, str(header.Modality), str(header.get("StudyInstanceUID", "")), series)


def drawn_on(drawing: Drawing, files: PatientFiles) -> tuple[Series | None, str]:
    """The series that a file of structures was drawn on, and a sentence where that is in doubt.

    The series that it names; otherwise, where the patient has only one, that one: position then has to tell.
    """
    for series in files.series:
        if series.uid in drawing.series:
            return series, ""
    what = f"{drawing.path.name} ({drawing.modality}) names"
    if len(files.series) == 1:
        return files.series[0], f"{what} {'another series than the one here' if drawing.series else 'no series'}."
    return None, f"{what} {'a series that is not here; download it too' if drawing.series else 'none of the series'}."


def find_structure(drawing: Drawing, choice: Choice) -> tuple[int | None, tuple[str, ...]]:
    """The number (SEG) or place (RTSTRUCT) of the wanted structure in a file, or None, and the names of all.

    Raises:
        InputError: the file is damaged.
    """
    names: dict[int, tuple[str, ...]] = (
        dict(segment_names(drawing.path))
        if drawing.modality == "SEG"
        else {place: (name,) for place, name in enumerate(roi_names(drawing.path))}
    )
    return choice(names), tuple(words[-1] or words[0] for words in names.values())


def draw(drawing: Drawing, series: Series, number: int) -> Structure:
    """The structure of a file on the grid of a series.

    Raises:
        InputError: the file is damaged, or nothing is drawn.
        GeometryError: it does not lie on the series.
    """
    structure = _read_drawing(drawing, series.grid, number).structures[0]
    if not structure.mask.any():
        raise InputError(f"{drawing.path.name} has the structure {structure.name!r}, but it is empty.")
    return structure


def _read_drawing(drawing: Drawing, volume: Volume, number: int) -> StructureSet:
    read = read_dicom_seg if drawing.modality == "SEG" else read_rtstruct
    return read(drawing.path, volume, (number,))
