"""DICOM SEG in: one frame per segment and slice, or one frame of labels per slice."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.patient_identity import identity_remarks, same_person
from adaptsam.image.remarks import Remark
from adaptsam.image.structure_names import told_apart
from adaptsam.image.terminology import CODE_KEYS
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import quiet_pydicom, read_dicom
from adaptsam.io.labelmaps import distinct_color, gap_remarks

_log = logging.getLogger(__name__)

# In voxels: how far a frame's pixel may lie from a voxel's centre, in the plane and, as contours may, between slices.
_TOLERANCE = (0.05, 0.05, 0.1)


def segment_names(path: Path) -> dict[int, tuple[str, str]]:
    """Label and description of the segments of a DICOM SEG by their numbers; pixels are not read.

    Raises:
        InputError: the file cannot be read or its segments are damaged.
    """
    dataset = read_dicom(path, tags=["SegmentSequence"])
    try:
        with quiet_pydicom():
            return {
                int(segment.SegmentNumber): (
                    str(segment.get("SegmentLabel", "") or ""),
                    str(segment.get("SegmentDescription", "") or ""),
                )
                for segment in dataset.SegmentSequence
            }
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path.name} is damaged: its segments cannot be read; export it again.") from None


@quiet_pydicom()
def read_dicom_seg(path: Path, reference: Volume, numbers: Collection[int] | None = None) -> StructureSet:
    """The segments of a DICOM SEG on the grid of the image that they were made on; they may overlap.

    Frames may be cropped or turned, as long as their pixels are voxels of the image. Of a fractional SEG, a voxel
    belongs to a segment from half the highest value on, and the log says so. ``numbers``: only these segments.

    Raises:
        InputError: the file is damaged or of no known type.
        GeometryError: a frame does not lie on a slice of ``reference``, or the file belongs to another patient or
            to a series with another frame of reference.
    """
    dataset = read_dicom(path, pixels=True)
    if dataset.get("SegmentationType") not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(f"{path.name} is a DICOM SEG of no known type; convert it to .seg.nrrd first.")
    try:
        with quiet_pydicom():
            masks = [(number, grid, mask) for number, grid, mask in _frames(dataset)]
            _check_numbers(dataset, numbers, path)
            segments = {
                int(segment.SegmentNumber): _empty_structure(segment, reference.geometry)
                for segment in dataset.SegmentSequence
                if int(segment.SegmentNumber) not in _background(dataset)
                and (numbers is None or int(segment.SegmentNumber) in numbers)
            }
            source = _source(dataset)
            named = seg_series(dataset)
    except InputError:
        raise
    except Exception:
        raise InputError(f"{path.name} is damaged: its segments cannot be read; export it again.") from None
    _check_origin(source, named, reference, path)
    for number, grid, mask in masks:
        if number in segments:
            voxels = _voxels(mask, grid, reference.geometry, path)
            segments[number].mask[tuple(voxels.T)] = True
    structures = told_apart(tuple(segments.values()))
    remarks = [*_remarks(dataset, masks), *gap_remarks(structures), *identity_remarks(source, reference.dicom)]
    remarks += _frame_remarks(source, named, reference)
    return StructureSet(structures, reference.geometry, source, tuple(remarks))


def _frame_remarks(source: DicomSource, named: Sequence[str], reference: Volume) -> list[Remark]:
    """A word where the file names another series or frame of reference than the image's."""
    image = reference.dicom
    if image is None or (not named and source.frame_of_reference_uid == image.frame_of_reference_uid):
        return []
    if not named:
        other = "another" if source.frame_of_reference_uid else "no"
        why = f"the file names no series and {other} frame of reference, and their position was trusted"
    elif image.series_uid not in named:
        _log.warning("The DICOM SEG names another series than the image; its segments are matched by position.")
        why = "the file names another series than the image, and their position was trusted"
    elif source.frame_of_reference_uid not in ("", image.frame_of_reference_uid):
        why = "the file names the image's series and another frame of reference, and their position was trusted"
    else:
        return []
    return [Remark("segments", 1, why, left_out=False)]


def _check_numbers(dataset: FileDataset, numbers: Collection[int] | None, path: Path) -> None:
    labels: dict[int, list[str]] = {}
    for segment in dataset.SegmentSequence:
        labels.setdefault(int(segment.SegmentNumber), []).append(str(segment.get("SegmentLabel", "") or "a segment"))
    for number, alike in labels.items():
        if len(alike) > 1 and (numbers is None or number in numbers):
            raise InputError(
                f"{path.name} gives {' and '.join(map(repr, alike))} one segment number, {number}, so that they cannot "
                "be told apart; export it again."
            )


def _remarks(dataset: FileDataset, masks: Sequence[tuple[int, Geometry, np.ndarray]]) -> list[Remark]:
    """Remarks on frames that belong to no segment, and on fractions."""
    remarks = []
    known = {int(segment.SegmentNumber) for segment in dataset.SegmentSequence} | {0} | _background(dataset)
    lost = Counter(number for number, _, mask in masks if number not in known and mask.any())
    for number, count in lost.items():
        remarks.append(Remark(f"frames of segment number {number}", count, "no segment has this number"))
    places = Counter((number, *grid.origin) for number, grid, mask in masks if mask.any())
    twice = sum(1 for count in places.values() if count > 1)
    if twice:
        why = "several frames of one segment lie on one slice, and were taken together"
        remarks.append(Remark("slices of segments", twice, why, left_out=False))
    if dataset.SegmentationType == "FRACTIONAL":
        _log.warning("The DICOM SEG is fractional; what is at least half inside a segment counts as inside.")
        why = "they are fractions, and what is at least half inside counts as inside"
        remarks.append(Remark("segments", len(known - {0}), why, left_out=False))
    return remarks


def _frames(dataset: FileDataset) -> Iterator[tuple[int, Geometry, np.ndarray]]:
    """The segment's number, the grid (1, J, I), and the mask (J, I) of every frame that shows something."""
    kind = dataset.SegmentationType
    frames = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for values, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        grid = _grid(dataset, groups, shared)
        if kind == "LABELMAP":
            for number in np.unique(values):
                yield int(number), grid, values == number
            continue
        identification = _group(groups, shared, "SegmentIdentificationSequence")
        mask = values > 0 if kind == "BINARY" else 2 * values.astype(int) >= int(dataset.MaximumFractionalValue)
        yield int(identification.ReferencedSegmentNumber), grid, mask


def _background(dataset: Dataset) -> set[int]:
    """Values of a labelmap that are no segment."""
    if dataset.SegmentationType != "LABELMAP":
        return set()
    padding = dataset.get("PixelPaddingValue")
    return {0} if padding in (None, "") else {0, int(padding)}


def _group(groups: Dataset, shared: Dataset, name: str) -> Dataset:
    """A functional group of one frame: its own, otherwise the shared one."""
    return (groups.get(name) or shared[name].value)[0]


def _grid(dataset: Dataset, groups: Dataset, shared: Dataset) -> Geometry:
    orientation = _group(groups, shared, "PlaneOrientationSequence").ImageOrientationPatient
    row, column = np.array(orientation, float).reshape(2, 3)
    spacing = [float(value) for value in _group(groups, shared, "PixelMeasuresSequence").PixelSpacing]
    x, y, z = (float(value) for value in _group(groups, shared, "PlanePositionSequence").ImagePositionPatient)
    return Geometry(
        shape=(1, int(dataset.Rows), int(dataset.Columns)),
        spacing=(spacing[1], spacing[0], 1.0),
        origin=(x, y, z),
        direction=tuple(np.column_stack([row, column, np.cross(row, column)]).ravel().tolist()),
    )


def _voxels(mask: np.ndarray, frame: Geometry, image: Geometry, path: Path) -> np.ndarray:
    """Indices (n, 3) in the order k, j, i of the image's voxels that a frame's mask covers."""
    to_image = np.linalg.inv(image.index_to_world) @ frame.index_to_world
    steps, start = np.rint(to_image[:3, :2]), np.rint(to_image[:3, 3])
    drift = np.abs(to_image[:3, :2] - steps) @ mask.shape[::-1] + np.abs(to_image[:3, 3] - start)
    if (np.abs(steps).sum(axis=0) != 1).any() or (drift > _TOLERANCE).any():
        raise GeometryError(f"{path.name} lies on another grid than the image; choose the series that it was made on.")
    voxels = (np.argwhere(mask)[:, ::-1] @ steps.T + start).astype(int)[:, ::-1]
    if ((voxels < 0) | (voxels >= image.shape)).any():
        raise GeometryError(f"{path.name} has segments outside the image; choose the series that it was made on.")
    return voxels


def _empty_structure(segment: Dataset, geometry: Geometry) -> Structure:
    import highdicom as hd  # which a run on other files does not need

    number = int(segment.SegmentNumber)
    code = (segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    lab = segment.get("RecommendedDisplayCIELabValue")
    return Structure(
        name=str(segment.get("SegmentLabel", "") or f"segment-{number}"),
        mask=np.zeros(geometry.shape, bool),
        color=hd.color.CIELabColor.from_dicom_value(lab).to_rgb(clip=True) if lab else distinct_color(number - 1),
        number=number,
        tags={key: str(code[key].value) for key in CODE_KEYS if key in code},
        description=str(segment.get("SegmentDescription", "") or ""),
    )


def _source(dataset: FileDataset) -> DicomSource:
    named = seg_series(dataset)
    return DicomSource(
        patient_id=str(dataset.get("PatientID", "")),
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        series_uid=named[0] if named else "",
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
        study_date=str(dataset.get("StudyDate", "")),
    )


@quiet_pydicom()
def seg_series(dataset: Dataset) -> list[str]:
    """The series that the file names, in its own study and in others."""
    studies = [dataset, *(dataset.get("StudiesContainingOtherReferencedInstancesSequence") or ())]
    items = [item for study in studies for item in study.get("ReferencedSeriesSequence") or ()]
    return [str(item.get("SeriesInstanceUID", "")) for item in items]


def _check_origin(source: DicomSource, named: list[str], reference: Volume, path: Path) -> None:
    """A SEG of another series must share the frame of reference; then position decides."""
    image = reference.dicom
    if image is None or image.series_uid in named:
        return
    same_frame = bool(image.frame_of_reference_uid) and image.frame_of_reference_uid == source.frame_of_reference_uid
    if not same_frame and same_person(source, image) is False:
        raise GeometryError(f"{path.name} belongs to another patient than the image; choose the matching pair.")
    if named and not same_frame:
        raise GeometryError(
            f"{path.name} was made on another series with another frame of reference; choose that series as the image."
        )
