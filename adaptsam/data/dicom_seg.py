"""DICOM SEG in: one binary frame per segment and slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from adaptsam.data.dicom_files import quiet_pydicom, read_dicom
from adaptsam.data.labelmaps import distinct_color
from adaptsam.data.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.errors import GeometryError, InputError

_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")


def read_dicom_seg(path: Path, reference: Volume) -> StructureSet:
    """The segments of a binary DICOM SEG on the grid of the image that they were made on; they may overlap.

    Raises:
        InputError: the file is damaged or not binary.
        GeometryError: a frame does not lie on a slice of ``reference``.
    """
    dataset = read_dicom(path, pixels=True)
    if dataset.get("SegmentationType") != "BINARY":
        raise InputError(f"{path.name} is not a binary DICOM SEG; convert it to .seg.nrrd first.")
    try:
        with quiet_pydicom():
            frames = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns)).astype(bool)
            places = [_place(dataset, item) for item in dataset.PerFrameFunctionalGroupsSequence]
            segments = [_empty_structure(segment, reference.geometry) for segment in dataset.SegmentSequence]
            source = _source(dataset)
    except Exception:
        raise InputError(f"{path.name} is damaged: its segments cannot be read; export it again.") from None
    by_number = {structure.number: structure for structure in segments}
    for frame, (number, grid) in zip(frames, places, strict=True):
        structure = by_number.get(number)
        if structure is not None:
            structure.mask[_slice_of(grid, reference.geometry, path)] |= frame
    return StructureSet(tuple(segments), reference.geometry, source)


def _place(dataset: Dataset, frame: Dataset) -> tuple[int, Geometry]:
    """The segment's number and the grid of one frame."""
    shared = dataset.SharedFunctionalGroupsSequence[0]

    def item(name: str) -> Dataset:
        return (frame.get(name) or shared[name].value)[0]

    row, column = np.array(item("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    spacing = [float(value) for value in item("PixelMeasuresSequence").PixelSpacing]
    x, y, z = (float(value) for value in item("PlanePositionSequence").ImagePositionPatient)
    grid = Geometry(
        shape=(1, int(dataset.Rows), int(dataset.Columns)),
        spacing=(spacing[1], spacing[0], 1.0),
        origin=(x, y, z),
        direction=tuple(np.column_stack([row, column, np.cross(row, column)]).ravel().tolist()),
    )
    return int(item("SegmentIdentificationSequence").ReferencedSegmentNumber), grid


def _slice_of(frame: Geometry, image: Geometry, path: Path) -> int:
    """The slice on which all corners of a frame lie."""
    corners = np.array([[0, 0, 0], [frame.shape[2] - 1, 0, 0], [0, frame.shape[1] - 1, 0]])
    index = image.index(frame.world(corners))
    k = int(np.rint(index[0, 2]))
    fits = frame.shape[1:] == image.shape[1:] and np.abs(index - corners - np.array([0, 0, k])).max() < 0.01
    if not fits or not 0 <= k < image.shape[0]:
        raise GeometryError(f"{path.name} lies on another grid than the image; choose the series that it was made on.")
    return k


def _empty_structure(segment: Dataset, geometry: Geometry) -> Structure:
    number = int(segment.SegmentNumber)
    code = (segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    return Structure(
        name=str(segment.get("SegmentLabel", "") or f"segment-{number}"),
        mask=np.zeros(geometry.shape, bool),
        color=distinct_color(number - 1),
        number=number,
        tags={
            key: str(code[key].value) for key in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning") if key in code
        },
    )


def _source(dataset: FileDataset) -> DicomSource:
    series = dataset.get("ReferencedSeriesSequence") or [Dataset()]
    return DicomSource(
        patient_id=str(dataset.get("PatientID", "")),
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        series_uid=str(series[0].get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
        study_date=str(dataset.get("StudyDate", "")),
    )
