"""RTSTRUCT in: the contours of a DICOM structure set as masks on an image."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.patient_identity import same_person
from adaptsam.image.rasterisation import fill_contours
from adaptsam.image.terminology import CODE_KEYS
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import modality, quiet_pydicom, read_dicom
from adaptsam.io.labelmaps import distinct_color

_log = logging.getLogger(__name__)

_FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# In slices: contours of two planes closer than this belong together, and a contour may tilt by as much.
_ONE_PLANE = 0.1
# In slices: files round, and contours half-way between slices must not fall on every second one.
_ROUNDED = 1e-3


@dataclass(frozen=True)
class _Roi:
    """One ROI of the file, its contours as LPS points (n, 3)."""

    number: int
    name: str
    color: tuple[int, int, int] | None
    interpreted_type: str
    codes: dict[str, str]
    contours: tuple[np.ndarray, ...]


def roi_names(path: Path) -> dict[int, str]:
    """The names of the ROIs of an RTSTRUCT by their numbers, in the order of the file; contours are not read.

    Raises:
        InputError: the file cannot be read or its ROIs are damaged.
    """
    dataset = read_dicom(path, tags=["StructureSetROISequence"])
    try:
        with quiet_pydicom():
            return {int(item.ROINumber): _name(item) for item in dataset.StructureSetROISequence}
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its structures cannot be read; export it again.") from None


@quiet_pydicom()
def read_rtstruct(path: Path, reference: Volume, numbers: Collection[int] | None = None) -> StructureSet:
    """The ROIs of an RTSTRUCT on the grid of the image that they were drawn on; of ``numbers`` alone where given.

    ``Structure.contoured`` holds the slices with contours. A contour between two slices counts for the nearest, right
    in the middle for the next one along k; where the contours lie denser than the slices, each slice takes the plane
    nearest to it. Points and open contours enclose nothing and are left out.

    Raises:
        InputError: the file is no RTSTRUCT, is damaged, or holds no closed contour.
        GeometryError: the contours do not lie on the slices of ``reference``, or belong to another patient.
    """
    dataset = read_dicom(path)
    if dataset.get("Modality") != "RTSTRUCT":
        raise InputError(f"{path.name} is a DICOM {modality(dataset)} object; choose an RTSTRUCT or SEG.")
    try:
        with quiet_pydicom():
            rois = _rois(dataset, numbers)
            source = _source(dataset)
    except (AttributeError, TypeError, ValueError, IndexError):
        raise InputError(f"{path.name} is damaged: its contours cannot be read; export it again.") from None
    if not any(roi.contours for roi in rois):
        if numbers is None:
            raise InputError(f"{path.name} holds no closed contour; choose another structure set.")
        asked = " or ".join(repr(roi.name) for roi in rois)
        raise InputError(f"{path.name} holds no closed contour of {asked}; choose another structure.")
    same_frame = _check_frame(dataset, source, reference, path)
    structures = tuple(
        _structure(roi, place, reference.geometry, strict=not same_frame) for place, roi in enumerate(rois)
    )
    return StructureSet(structures, reference.geometry, source)


def _rois(dataset: Dataset, numbers: Collection[int] | None) -> list[_Roi]:
    contours = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence", [])}
    observed = {int(item.ReferencedROINumber): item for item in dataset.get("RTROIObservationsSequence", [])}
    rois = []
    for item in dataset.StructureSetROISequence:
        number = int(item.ROINumber)
        if numbers is not None and number not in numbers:
            continue
        drawn, seen = contours.get(number, Dataset()), observed.get(number, Dataset())
        color = [int(value) for value in drawn.get("ROIDisplayColor") or ()]
        rois.append(
            _Roi(
                number=number,
                name=_name(item),
                color=(color[0], color[1], color[2]) if len(color) == 3 else None,
                interpreted_type=str(seen.get("RTROIInterpretedType", "") or ""),
                codes=_codes(seen),
                contours=_closed_contours(drawn),
            )
        )
    return rois


def _name(item: Dataset) -> str:
    return str(item.get("ROIName", "") or f"ROI-{item.ROINumber}")


def _codes(observation: Dataset) -> dict[str, str]:
    code = (observation.get("RTROIIdentificationCodeSequence") or [Dataset()])[0]
    return {key: str(code[key].value) for key in CODE_KEYS if key in code}


def _closed_contours(drawn: Dataset) -> tuple[np.ndarray, ...]:
    """Each closed contour once: a copy of a contour would undo it, wherever it begins and whichever way it goes."""
    closed: dict[bytes, np.ndarray] = {}
    for contour in drawn.get("ContourSequence") or ():
        if contour.get("ContourGeometricType") not in _FILLED:
            continue
        points = _numbers(contour).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError
        if len(points) > 2:
            closed[np.unique(points, axis=0).tobytes()] = points
    return tuple(closed.values())


def _numbers(contour: Dataset) -> np.ndarray:
    """The contour's coordinates; parsing the bytes is many times faster than pydicom's number objects."""
    raw = contour.get_item("ContourData").value
    if isinstance(raw, bytes):
        return np.array(raw.decode("ascii").strip(" \0").split("\\"), float)
    return np.array(raw, float)


def _source(dataset: Dataset) -> DicomSource:
    frames, series = _references(dataset)
    return DicomSource(
        patient_id=str(dataset.get("PatientID", "")),
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        series_uid=series[0] if series else "",
        frame_of_reference_uid=frames[0] if frames else "",
        study_date=str(dataset.get("StudyDate", "")),
    )


@quiet_pydicom()
def rtstruct_series(dataset: Dataset) -> list[str]:
    """The UIDs of the image series that an RTSTRUCT names."""
    return _references(dataset)[1] if "StructureSetROISequence" in dataset else []


def _references(dataset: Dataset) -> tuple[list[str], list[str]]:
    """The frames of reference and the image series that the file names."""
    frames = [str(roi.get("ReferencedFrameOfReferenceUID", "")) for roi in dataset.StructureSetROISequence]
    series = []
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frames.append(str(frame.get("FrameOfReferenceUID", "")))
        for study in frame.get("RTReferencedStudySequence") or ():
            series += [str(item.SeriesInstanceUID) for item in study.get("RTReferencedSeriesSequence") or ()]
    return [frame for frame in dict.fromkeys(frames) if frame], series


def _check_frame(dataset: Dataset, source: DicomSource, reference: Volume, path: Path) -> bool:
    """Whether contours and image share a frame of reference; without one, position alone has to tell."""
    image = reference.dicom
    if image is None:
        return False
    frames, series = _references(dataset)
    same_frame = image.frame_of_reference_uid in frames
    if not same_frame and same_person(source, image) is False:
        raise GeometryError(f"{path.name} belongs to another patient than the image; choose the matching pair.")
    if image.series_uid not in series:
        _log.warning("The RTSTRUCT names another series than the image; its contours are matched by position.")
    return same_frame


def _structure(roi: _Roi, place: int, geometry: Geometry, *, strict: bool) -> Structure:
    by_slice = _contours_by_slice(roi, geometry, strict=strict)
    mask = np.zeros(geometry.shape, bool)
    contoured = np.zeros(geometry.shape[0], bool)
    for k, contours in by_slice.items():
        mask[k] = fill_contours(contours, geometry.shape[1:])
        contoured[k] = True
    return Structure(
        name=roi.name,
        mask=mask,
        color=roi.color or distinct_color(place),
        number=roi.number,
        interpreted_type=roi.interpreted_type,
        contoured=contoured,
        tags=roi.codes,
    )


def _contours_by_slice(roi: _Roi, geometry: Geometry, *, strict: bool) -> dict[int, list[np.ndarray]]:
    """The contours of each slice, in pixels (n, 2)."""
    indices = [geometry.index(points) for points in roi.contours]
    heights = np.array([index[:, 2].mean() for index in indices])
    if any(np.ptp(index[:, 2]) > 2 * _ONE_PLANE for index in indices):
        raise GeometryError(
            f"The contours of {roi.name!r} are not parallel to the slices; choose their own image, or other structures."
        )
    _check_planes(roi, heights, geometry, strict=strict)
    if strict and any(_misses_image(index, geometry) for index in indices):
        raise GeometryError(
            f"The contours of {roi.name!r} lie beside the image; choose their own image, or other structures."
        )
    slices = np.clip(np.floor(heights + 0.5 + _ROUNDED), 0, geometry.shape[0] - 1).astype(int)
    found: dict[int, list[np.ndarray]] = {}
    for k in np.unique(slices):
        here = np.flatnonzero(slices == k)
        nearest = heights[here[np.abs(heights[here] - k).argmin()]]
        found[int(k)] = [indices[n][:, :2] for n in here if abs(heights[n] - nearest) <= _ONE_PLANE]
    return found


def _check_planes(roi: _Roi, heights: np.ndarray, geometry: Geometry, *, strict: bool) -> None:
    """Every contour must lie within half a slice of a slice; right on it where position alone has to tell."""
    farthest = _ONE_PLANE if strict else 0.5 + _ROUNDED
    off = np.abs(heights - np.clip(np.rint(heights), 0, geometry.shape[0] - 1)) > farthest
    if not off.any():
        return
    axes = np.reshape(geometry.direction, (3, 3))
    normal = np.cross(axes[:, 0], axes[:, 1])
    positions = sorted({round(float(roi.contours[n].mean(axis=0) @ normal), 2) for n in np.flatnonzero(off)})
    shown = ", ".join(f"{position:g}" for position in positions[:5]) + (" mm, …" if len(positions) > 5 else " mm")
    raise GeometryError(
        f"{roi.name!r} has contours on {len(positions)} planes where the image has no slice (at {shown}); "
        "choose the series that they were drawn on, or other structures."
    )


def _misses_image(index: np.ndarray, geometry: Geometry) -> bool:
    last = np.array([geometry.shape[2], geometry.shape[1]]) - 0.5
    return bool((index[:, :2].max(axis=0) < -0.5).any() or (index[:, :2].min(axis=0) > last).any())
