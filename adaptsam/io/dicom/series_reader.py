"""DICOM series: which ones a folder holds, and the grid that the slices of one make up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import DicomSource, Geometry
from adaptsam.io.dicom.dicom_file import is_dicom, modality, quiet_pydicom, read_dicom
from adaptsam.io.dicom.multiframe import MULTI_FRAME, holds_frames
from adaptsam.io.dicom.odd_slices import JITTER, image_slices, slice_frame
from adaptsam.io.dicom.series_parts import TELLING, Parts, find_parts

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
    "SOPInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    *TELLING,
)
_ONE_SLICE = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage)
# Cosine of the largest tilt of a gantry that is believed, 45 degrees; scanners tilt by 30.
_LEAST_UPRIGHT = 0.7
# What lies beside slices and was none: images of other formats, pictures, videos, text, programs' files.
_OTHER_SUFFIXES = (
    *(".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".raw", ".h5", ".npy", ".npz", ".mrml", ".mrb"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".mp4", ".avi", ".mov", ".mkv", ".svg"),
    *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".md", ".pdf", ".doc", ".docx", ".xls", ".xlsx"),
    *(".log", ".yaml", ".yml", ".toml", ".ini", ".inf", ".cfg", ".db", ".py", ".sh", ".bat", ".exe", ".pth", ".pt"),
    *(".safetensors", ".bval", ".bvec", "license", "readme", "dicomdir"),
)
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
class SeriesPart:
    """One of several images in a series, at the positions of the others: what its header says of it, and its files."""

    label: str
    files: tuple[Path, ...] = field(repr=False)


@dataclass(frozen=True)
class SeriesInfo:
    """One image series of a folder, without the patient's identity.

    ``temporal`` has the temporal position of each of the ``files``, where every one tells it. ``parts`` are the images
    of a series that holds several, told apart by the attributes ``told_by``. ``remarks`` is what of it cannot be read.
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
    parts: tuple[SeriesPart, ...] = ()
    told_by: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def handle(self) -> str:
        """Number of the series, or its UID where it has none."""
        return self.uid if self.number is None else str(self.number)


@quiet_pydicom()
def list_series(folder: str | Path) -> tuple[SeriesInfo, ...]:
    """The image series in a folder and its subfolders, ordered by number; structures, doses and reports are left out.

    Raises:
        InputError: the folder does not exist.
    """
    found: dict[str, list[tuple[Path, FileDataset]]] = {}
    others: Counter[str] = Counter()
    paths = dicom_paths(folder)
    for path in paths:
        header = read_dicom(path, tags=_LISTED)
        uid = str(header.get("SeriesInstanceUID", ""))
        if is_slice(header, path):
            found.setdefault(uid, []).append((path, header))
        else:
            others[uid] += 1
    try:
        listed = [_describe(uid, files, others[uid], set(paths)) for uid, files in found.items()]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{Path(folder).name} holds a damaged slice: a number in it is none; copy it again.") from None
    return tuple(sorted(listed, key=lambda info: (info.number is None, info.number, info.uid)))


def is_slice(header: FileDataset, path: Path) -> bool:
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


def _describe(uid: str, files: Sequence[tuple[Path, FileDataset]], others: int, known: Collection[Path]) -> SeriesInfo:
    """A series of these files; ``others`` of it have no place, ``known`` are all DICOM files of its folders."""
    header = files[0][1]
    headers = [header for _, header in files]
    with quiet_pydicom():
        parts, about = (None, []) if any(holds_frames(one) for one in headers) else _parts(headers)
        about += [] if parts else _thinned(headers)
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
            temporal=_temporal(headers),
            parts=tuple(
                SeriesPart(label, tuple(files[place][0] for place in places))
                for label, places in zip(parts.labels, parts.places, strict=True)
            )
            if parts is not None
            else (),
            told_by=parts.told_by if parts is not None else "",
            remarks=(*about, *_placeless(others), *_strangers([path for path, _ in files], known)),
        )


def _placeless(count: int) -> list[Remark]:
    why = "they are no slices with a place in the patient"
    return [Remark("files of the series", count, why)] if count else []


def _thinned(headers: Sequence[FileDataset]) -> list[Remark]:
    """A word where only every second or third of the numbered slices is there; single ones that lack leave a gap."""
    numbers = sorted({int(header.get("InstanceNumber") or 0) for header in headers})
    steps = {after - before for before, after in pairwise(numbers)}
    if len(numbers) < max(3, len(headers)) or len(steps) > 1 or max(steps) < 2:
        return []
    why = f"their numbers go in steps of {steps.pop()}, as if others of the series were lacking"
    return [Remark("slices", len(headers), why, left_out=False)]


def _strangers(files: Sequence[Path], known: Collection[Path]) -> list[Remark]:
    """Remark on files beside the slices that may have been slices: empty, packed or damaged ones."""
    beside = {path for folder in {file.parent for file in files} for path in folder.iterdir()} - set(known)
    count = sum(
        1
        for path in beside
        if path.is_file() and not path.name.startswith(".") and not path.name.lower().endswith(_OTHER_SUFFIXES)
    )
    why = "they are no DICOM (packed, empty or damaged slices?)"
    return [Remark("files beside the slices", count, why)] if count else []


def _parts(headers: Sequence[FileDataset]) -> tuple[Parts | None, list[Remark]]:
    """The images that a series holds, if there are several, and what belongs to none of them: localizers."""
    try:
        places, remarks = image_slices(headers)
    except InputError:  # reading tells
        places, remarks = list(range(len(headers))), []
    parts = find_parts([headers[n] for n in places])
    if parts is None or not parts.labels:
        return None, []
    return replace(parts, places=tuple(tuple(places[n] for n in part) for part in parts.places)), remarks


def _temporal(headers: Sequence[FileDataset]) -> tuple[int, ...]:
    told = [header.get("TemporalPositionIdentifier") for header in headers]
    return () if any(value in (None, "") for value in told) else tuple(int(value) for value in told)


@quiet_pydicom()
def find_series(path: Path, series: str | int | None = None) -> SeriesInfo:
    """The series of a folder, or the one that a file belongs to.

    Args:
        path: a folder, or any file of the series.
        series: UID or number of the series, where the folder holds several; "4#2" is the second image of series 4,
            where that holds several.

    Raises:
        InputError: no series, or several to choose from.
    """
    if path.is_dir():
        return _choose(list_series(path), series, path)
    header = read_dicom(path, tags=_LISTED)
    if not is_slice(header, path):
        raise InputError(f"{path.name} is a DICOM {modality(header)} object without slices; choose a CT or MR series.")
    uid = header.get("SeriesInstanceUID")
    siblings = []
    known = sorted(one for one in path.parent.iterdir() if one.is_file() and is_dicom(one))
    for sibling in known:
        beside = read_dicom(sibling, tags=_LISTED)
        if beside.get("SeriesInstanceUID") == uid and is_slice(beside, sibling):
            siblings.append((sibling, beside))
    info = _describe(str(uid or ""), siblings, 0, known)
    return info if series is None else _choose([info], series, path)


def _choose(listed: Sequence[SeriesInfo], series: str | int | None, folder: Path) -> SeriesInfo:
    if not listed:
        raise InputError(f"{folder.name} holds no DICOM image series; choose the folder with the slices.")
    names = "; ".join(
        f"number {info.number}, {info.modality}, {info.slices} slices, {info.description!r}, UID {info.uid}"
        for info in listed
    )
    if series is None:
        if len(listed) > 1:
            raise InputError(f"{folder.name} holds {len(listed)} series; choose one by its UID or number: {names}.")
        return _one_image(listed[0], folder)
    wanted, _, part = str(series).partition("#")
    chosen = [info for info in listed if wanted in (info.uid, str(info.number))]
    if len(chosen) != 1:
        raise InputError(f"{folder.name} holds {len(chosen)} series {wanted!r}; choose one by its UID: {names}.")
    return _one_image(chosen[0], folder, part)


def _one_image(info: SeriesInfo, folder: Path, part: str = "") -> SeriesInfo:
    """A series of one image, or the part of it that is requested."""
    if not part and not info.parts:
        return info
    if part.isdecimal() and 1 <= int(part) <= len(info.parts):
        files = info.parts[int(part) - 1].files
        return replace(info, files=files, slices=len(files), parts=(), temporal=())
    handles = [f"{info.handle}#{number}" for number in range(1, len(info.parts) + 1)]
    if not handles:
        raise InputError(f"Series {info.handle} of {folder.name} holds one image; leave out '#{part}'.")
    raise InputError(
        f"Series {info.handle} of {folder.name} holds {len(info.parts)} images of the same place, told apart by "
        f"{info.told_by} ({', '.join(one.label for one in info.parts)}); choose one as series {' or '.join(handles)} "
        "(--series, --prior-series, --target-series), or carry contours to all with --phases."
    )


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
    """The grid of a series, and the order (n,) in which its slices lie along the normal.

    Raises:
        InputError: an attribute is missing or the slices do not belong together.
        GeometryError: slices are missing, twice there, unevenly spaced or unevenly sheared.
    """
    try:
        with quiet_pydicom():
            frames = [slice_frame(dataset) for dataset in slices]
    except (AttributeError, TypeError, ValueError):
        raise InputError("A slice lacks its position, orientation or pixel spacing; export the series again.") from None
    shape, spacing = frames[0][0], frames[0][1]
    axes = np.median([frame[2] for frame in frames], axis=0)
    if any(frame[0] != shape or not np.allclose(frame[1], spacing, atol=1e-4) for frame in frames):
        raise GeometryError("The slices of the series differ in matrix or pixel size; choose a series of one kind.")
    if (np.ptp([frame[2] for frame in frames], axis=0) > 2.02 * JITTER).any():
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
            f"The series has more than one slice at {_list_mm(twice)}, and nothing in the files tells them apart (a "
            "phase or a copy?); leave one slice a position."
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
