"""DICOM series: which ones a folder holds, and a series as a volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.volume import DicomSource, Geometry, Volume
from adaptsam.io.dicom.cone_beam import is_cone_beam_header
from adaptsam.io.dicom.dicom_file import is_dicom, modality, quiet_pydicom, read_dicom
from adaptsam.io.dicom.multiframe import MULTI_FRAME, frame_headers, holds_frames
from adaptsam.io.dicom.pixel_data import rescaled, stored_frames

_LISTED = (
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "StudyDate",
    "StudyTime",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "TemporalPositionIdentifier",
    "ImagePositionPatient",
    "Rows",
    "NumberOfFrames",
)
_ONE_SLICE = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage)
# Cosine of the largest tilt of a gantry that is believed, 45 degrees; scanners tilt by 30.
_LEAST_UPRIGHT = 0.7
# What an object that is derived from the image must repeat.
_HEADER = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "PatientPosition",
)


@dataclass(frozen=True)
class SeriesInfo:
    """One image series of a folder, without the patient's identity.

    ``temporal`` has the temporal position of each of the ``files``, where every one tells it.
    """

    uid: str
    modality: str
    description: str
    slices: int
    study_date: str
    number: int | None = None
    files: tuple[Path, ...] = field(default=(), repr=False)
    study_uid: str = ""
    study_time: str = ""
    frame_of_reference_uid: str = ""
    temporal: tuple[int, ...] = field(default=(), repr=False)


@quiet_pydicom()
def list_series(folder: str | Path) -> tuple[SeriesInfo, ...]:
    """The image series in a folder and its subfolders, ordered by number; structures, doses and reports are left out.

    Raises:
        InputError: the folder does not exist.
    """
    found: dict[str, list[tuple[Path, FileDataset]]] = {}
    for path in dicom_paths(folder):
        header = read_dicom(path, tags=_LISTED)
        if _is_slice(header, path):
            found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    try:
        listed = [_describe(uid, files) for uid, files in found.items()]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{Path(folder).name} holds a damaged slice: a number in it is none; copy it again.") from None
    return tuple(sorted(listed, key=lambda info: (info.number is None, info.number, info.uid)))


def _is_slice(header: FileDataset, path: Path) -> bool:
    """Whether a file is a slice of an image. A slice that lost its position to damage must not go missing silently."""
    placed = "ImagePositionPatient" in header or holds_frames(header)
    complete = placed and "Rows" in header and "SeriesInstanceUID" in header
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if kind in (*_ONE_SLICE, *MULTI_FRAME) and not complete:
        raise InputError(f"{path.name} is damaged or truncated: it lacks its position or size; copy it again.")
    return complete and header.get("Modality") != "RTDOSE"


def dicom_paths(folder: str | Path) -> list[Path]:
    """Every DICOM file in a folder and its subfolders, in the order of their names."""
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"{folder.name} is not a folder; check the path.")
    paths = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if is_dicom(path))


def _describe(uid: str, files: Sequence[tuple[Path, FileDataset]]) -> SeriesInfo:
    header = files[0][1]
    with quiet_pydicom():
        number = header.get("SeriesNumber")
        return SeriesInfo(
            uid=uid,
            modality=str(header.get("Modality", "")),
            description=str(header.get("SeriesDescription", "")),
            slices=sum(int(header.get("NumberOfFrames") or 1) for _, header in files),
            study_date=str(header.get("StudyDate", "")),
            number=None if number in (None, "") else int(number),
            files=tuple(path for path, _ in files),
            study_uid=str(header.get("StudyInstanceUID", "")),
            study_time=str(header.get("StudyTime", "")),
            frame_of_reference_uid=str(header.get("FrameOfReferenceUID", "")),
            temporal=_temporal([header for _, header in files]),
        )


def _temporal(headers: Sequence[FileDataset]) -> tuple[int, ...]:
    told = [header.get("TemporalPositionIdentifier") for header in headers]
    return () if any(value in (None, "") for value in told) else tuple(int(value) for value in told)


@quiet_pydicom()
def find_series(path: Path, series: str | int | None = None) -> tuple[Path, ...]:
    """The files of the series of a folder, or of the one that a file belongs to; see :func:`read_dicom_series`."""
    if path.is_dir():
        return _choose(list_series(path), series, path).files
    header = read_dicom(path, tags=_LISTED)
    if not _is_slice(header, path):
        raise InputError(f"{path.name} is a DICOM {modality(header)} object without slices; choose a CT or MR series.")
    siblings = sorted(sibling for sibling in path.parent.iterdir() if sibling.is_file() and is_dicom(sibling))
    uid = header.get("SeriesInstanceUID")
    return tuple(sibling for sibling in siblings if read_dicom(sibling, tags=_LISTED).get("SeriesInstanceUID") == uid)


def read_dicom_series(path: str | Path, series: str | int | None = None) -> Volume:
    """The series of a folder, or the one that a file belongs to.

    Args:
        path: a folder, or any file of the series.
        series: UID or number of the series, where the folder holds several.

    Raises:
        InputError: no series, several to choose from, or files that cannot be used.
        GeometryError: slices that do not make up an even grid.
    """
    return read_series_files(find_series(Path(path), series))


def _choose(listed: Sequence[SeriesInfo], series: str | int | None, folder: Path) -> SeriesInfo:
    if not listed:
        raise InputError(f"{folder.name} holds no DICOM image series; choose the folder with the slices.")
    names = "; ".join(
        f"number {info.number}, {info.modality}, {info.slices} slices, {info.description!r}, UID {info.uid}"
        for info in listed
    )
    if series is None:
        if len(listed) == 1:
            return listed[0]
        raise InputError(f"{folder.name} holds {len(listed)} series; choose one by its UID or number: {names}.")
    chosen = [info for info in listed if str(series) in (info.uid, str(info.number))]
    if len(chosen) != 1:
        raise InputError(f"{folder.name} holds {len(chosen)} series {series!r}; choose one by its UID: {names}.")
    return chosen[0]


@quiet_pydicom()
def read_series_files(files: Sequence[Path]) -> Volume:
    """The volume that the files of one series make up; see :func:`read_dicom_series`."""
    datasets = [(read_dicom(path, pixels=True), path) for path in files]
    headers = [header for dataset, path in datasets for header in _headers(dataset, path)]
    geometry, order = series_geometry(headers)
    stored = [frame for dataset, path in datasets for frame in stored_frames(dataset, path)]
    array = _smallest_type(np.stack([rescaled(stored[number], headers[number]) for number in order]))
    ordered = [headers[number] for number in order]
    numbers = [number for dataset, _ in datasets for number in _frame_numbers(dataset)]
    with quiet_pydicom():
        source = dicom_source(ordered, [numbers[number] for number in order])
        modality = "CBCT" if is_cone_beam_header(ordered[0]) else str(ordered[0].get("Modality", ""))
    return Volume(array, geometry, modality, source)


def _headers(dataset: FileDataset, path: Path) -> Sequence[Dataset]:
    """One header a slice: the file's own, or one for each of its frames."""
    if holds_frames(dataset):
        return frame_headers(dataset, path)
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        raise InputError(f"{path.name} holds several frames without their places; export it as slices, or to NRRD.")
    return [dataset]


def _frame_numbers(dataset: FileDataset) -> Sequence[int | None]:
    return range(1, int(dataset.get("NumberOfFrames") or 1) + 1) if holds_frames(dataset) else [None]


def _smallest_type(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    fits = np.iinfo(np.int16).min <= array.min() and array.max() <= np.iinfo(np.int16).max
    return array.astype(np.int16 if fits else np.int32)


@quiet_pydicom()
def dicom_source(slices: Sequence[Dataset], frame_numbers: Sequence[int | None] = ()) -> DicomSource:
    """Link of a volume to these slices, given in the order of k, and to the frames that some of them are."""
    first = slices[0]
    return DicomSource(
        patient_id=str(first.get("PatientID", "")),
        study_uid=str(first.get("StudyInstanceUID", "")),
        series_uid=str(first.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "")),
        sop_class_uid=str(first.get("SOPClassUID", "")),
        sop_instance_uids=tuple(str(dataset.get("SOPInstanceUID", "")) for dataset in slices),
        study_date=str(first.get("StudyDate", "")),
        header={keyword: _text(first.get(keyword)) for keyword in _HEADER if first.get(keyword) is not None},
        frame_numbers=tuple(number or 1 for number in frame_numbers) if any(frame_numbers) else (),
    )


def _text(value: object) -> str:
    return "\\".join(str(part) for part in value) if isinstance(value, MultiValue) else str(value)


def series_geometry(slices: Sequence[Dataset]) -> tuple[Geometry, np.ndarray]:
    """The grid of a series, and the order in which its slices lie along the normal.

    Raises:
        InputError: an attribute is missing or the slices do not belong together.
        GeometryError: slices are missing, twice there, unevenly spaced or unevenly sheared.
    """
    try:
        with quiet_pydicom():
            frames = [_frame(dataset) for dataset in slices]
    except (AttributeError, TypeError, ValueError):
        raise InputError("A slice lacks its position, orientation or pixel spacing; export the series again.") from None
    shape, spacing, axes = frames[0][0], frames[0][1], frames[0][2]
    if any(frame[0] != shape or not np.allclose(frame[1], spacing, atol=1e-4) for frame in frames):
        raise GeometryError("The slices of the series differ in matrix or pixel size; choose a series of one kind.")
    if any(not np.allclose(frame[2], axes, atol=1e-4) for frame in frames):
        raise GeometryError("The slices of the series differ in orientation (a scout?); choose a series of one kind.")
    row, column = axes
    normal = np.cross(row, column)
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=2e-3):
        raise InputError("The image orientation of the series is invalid; export it again.")
    normal /= np.linalg.norm(normal)
    origins = np.array([frame[3] for frame in frames])
    order = np.argsort(origins @ normal, kind="stable")
    step, along = _slice_step(origins[order], normal, slices[0])
    geometry = Geometry(
        shape=(len(slices), *shape),
        spacing=(float(spacing[1]), float(spacing[0]), step),
        origin=tuple(float(value) for value in origins[order[0]]),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in np.column_stack([row, column, along]).ravel()),
    )
    return geometry, order


def _frame(dataset: Dataset) -> tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]:
    """Shape (J, I), spacing (j, i), the axes i and j (2, 3), and the position of one slice."""
    return (
        (int(dataset.Rows), int(dataset.Columns)),
        np.array([float(value) for value in dataset.PixelSpacing]).reshape(2),
        np.array([float(value) for value in dataset.ImageOrientationPatient]).reshape(2, 3),
        np.array([float(value) for value in dataset.ImagePositionPatient]).reshape(3),
    )


def _slice_step(origins: np.ndarray, normal: np.ndarray, first: Dataset) -> tuple[float, np.ndarray]:
    """The even distance in mm between sorted slices, and its direction: the normal, unless the gantry was tilted."""
    if len(origins) == 1:
        thickness = first.get("SpacingBetweenSlices") or first.get("SliceThickness")
        if not thickness:
            raise GeometryError("The single slice has no thickness; export the whole series.")
        return abs(float(thickness)), normal
    positions = origins @ normal
    gaps = np.diff(positions)
    if gaps.min() < 0.01:
        twice = positions[:-1][gaps < 0.01]
        raise GeometryError(
            f"The series has more than one slice at {_list_mm(twice)} (a phase or a copy?); leave one slice a position."
        )
    _check_even(positions, gaps)
    step = round(float((positions[-1] - positions[0]) / (len(positions) - 1)), 9)  # 3.27, not 3.2700000000000014
    sideways = origins - origins[0] - np.outer(positions - positions[0], normal)
    tolerance = 0.05 * max(step, 1.0)
    if np.abs(sideways).max() <= tolerance:
        return step, normal
    shear = sideways[-1] / (len(positions) - 1)
    if np.abs(sideways - np.outer(np.arange(len(positions)), shear)).max() > tolerance:
        raise GeometryError(
            "The slices of the series are unevenly shifted sideways; resample it to an upright grid first."
        )
    along = step * normal + shear
    length = float(np.linalg.norm(along))
    if step < _LEAST_UPRIGHT * length:
        raise GeometryError(
            f"The slices of the series are sheared by {np.degrees(np.arccos(step / length)):.0f} degrees, which is no "
            "gantry's tilt; export the series again."
        )
    return round(length, 9), along / length


def _check_even(positions: np.ndarray, gaps: np.ndarray) -> None:
    typical = float(np.median(gaps))
    tolerance = max(0.05, 0.02 * typical)
    even = np.linspace(positions[0], positions[-1], len(positions))
    if np.abs(positions - even).max() <= tolerance:
        return
    times = np.rint(gaps / typical)
    if (times >= 1).all() and np.abs(gaps - times * typical).max() <= tolerance:
        missing = [
            start + gap * number / count
            for start, gap, count in zip(positions, gaps, times.astype(int), strict=False)
            for number in range(1, count)
        ]
        raise GeometryError(
            f"The series lacks the slices at {_list_mm(missing)} (one every {typical:g} mm); copy it whole."
        )
    raise GeometryError(
        f"The slices of the series are unevenly spaced, {gaps.min():.4g} to {gaps.max():.4g} mm apart; "
        "resample it to even spacing first."
    )


def _list_mm(positions: Sequence[float] | np.ndarray) -> str:
    shown = ", ".join(f"{position:.2f}" for position in positions[:10])
    return f"{shown} mm" + (f" and {len(positions) - 10} more" if len(positions) > 10 else "")
