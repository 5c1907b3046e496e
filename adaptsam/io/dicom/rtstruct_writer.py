"""RTSTRUCT out: masks as contours on the slices of a DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from adaptsam.errors import InputError
from adaptsam.image.rasterisation import trace_contours
from adaptsam.image.terminology import CODE_KEYS
from adaptsam.image.volume import DicomSource, Structure, StructureSet, Volume
from adaptsam.io.dicom.series_writer import derived_dataset
from adaptsam.provenance import NOTICE, software, software_version
from adaptsam.storage.output_staging import staged_file

_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"


def write_rtstruct(
    path: Path, structures: StructureSet, reference: Volume, *, model: str = "", overwrite: bool = False
) -> None:
    """Write the structures as an unapproved RTSTRUCT that refers to the slices of ``reference``.

    Holes hang on the outer contour by keyholes, so that a reader that adds contours and one that excludes them agree.
    A structure without a voxel becomes an ROI without contours.

    Args:
        path: the file.
        structures: on the grid of ``reference``.
        reference: the image, read from DICOM.
        model: hash of the model that made the structures.
        overwrite: replace an existing file.

    Raises:
        InputError: ``reference`` is not from DICOM.
        OutputError: the file is there already or cannot be written.
    """
    source = reference.dicom
    if source is None or len(source.sop_instance_uids) != reference.geometry.shape[0]:
        raise InputError(
            "An RTSTRUCT must refer to a DICOM series and this image is not one; write a .seg.nrrd instead."
        )
    source = replace(source, frame_of_reference_uid=source.frame_of_reference_uid or generate_uid())
    dataset = derived_dataset(source, RTStructureSetStorage, "RTSTRUCT", series_uid=generate_uid(), model=model)
    # With explicit VRs, a contour of more than 65,534 characters becomes UN, which other software does not read.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SeriesNumber = ""
    dataset.SeriesDescription = "AdaptSAM, research use only"
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid
    dataset.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator", "")
    dataset.StructureSetLabel = "AdaptSAM"
    dataset.StructureSetName = "AdaptSAM, research use only"
    dataset.StructureSetDescription = f"{NOTICE} {software(model)}"
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.SeriesDate, dataset.SeriesTime
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(source)]
    numbers = _roi_numbers(structures.structures)
    numbered = list(zip(numbers, structures.structures, strict=True))
    dataset.StructureSetROISequence = [_roi(number, structure, source) for number, structure in numbered]
    dataset.ROIContourSequence = [_roi_contours(number, structure, reference, source) for number, structure in numbered]
    dataset.RTROIObservationsSequence = [_observation(number, structure) for number, structure in numbered]
    dataset.ApprovalStatus = "UNAPPROVED"
    with staged_file(path, overwrite=overwrite) as staged:
        dataset.save_as(staged, enforce_file_format=True)


def _referenced_frame(source: DicomSource) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = source.series_uid
    firsts = {uid: k for k, uid in reversed(list(enumerate(source.sop_instance_uids)))}
    series.ContourImageSequence = [_image(source, k, whole=True) for k in sorted(firsts.values())]
    study = Dataset()
    study.ReferencedSOPClassUID = _DETACHED_STUDY
    study.ReferencedSOPInstanceUID = source.study_uid
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = source.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(source: DicomSource, k: int, *, whole: bool = False) -> Dataset:
    """Slice ``k``, or the ``whole`` multi-frame object that it is a frame of."""
    image = Dataset()
    image.ReferencedSOPClassUID = source.sop_class_uid
    image.ReferencedSOPInstanceUID = source.sop_instance_uids[k]
    if source.frame_numbers and not whole:
        image.ReferencedFrameNumber = source.frame_numbers[k]
    return image


def _roi_numbers(structures: Sequence[Structure]) -> list[int]:
    """The structures' own numbers; those without one, or with another's, get the next free."""
    numbers: list[int] = []
    own = {structure.number for structure in structures if structure.number is not None}
    for structure in structures:
        number = structure.number
        if number is None or number in numbers:
            number = 1 + max([0, *own, *numbers])
        numbers.append(number)
    return numbers


def _roi(number: int, structure: Structure, source: DicomSource) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
    roi.ROIName = structure.name.replace("\\", "/")[:64]
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = f"AdaptSAM {software_version()}, research use only"[:64]
    return roi


def _roi_contours(number: int, structure: Structure, reference: Volume, source: DicomSource) -> Dataset:
    drawn = Dataset()
    drawn.ROIDisplayColor = [int(value) for value in structure.color]
    drawn.ReferencedROINumber = number
    contours = [
        _contour(points, int(k), reference, source)
        for k in np.flatnonzero(structure.mask.any(axis=(1, 2)))
        for points in trace_contours(structure.mask[k])
    ]
    if contours:
        drawn.ContourSequence = contours
    for place, contour in enumerate(contours):
        contour.ContourNumber = place + 1
    return drawn


def _contour(points: np.ndarray, k: int, reference: Volume, source: DicomSource) -> Dataset:
    world = reference.geometry.world(np.column_stack([points, np.full(len(points), k)]))
    contour = Dataset()
    contour.ContourImageSequence = [_image(source, k)]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [f"{value:.4f}" for value in (world + 0.0).ravel()]
    return contour


def _observation(number: int, structure: Structure) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = structure.interpreted_type
    observation.ROIInterpreter = ""
    if all(structure.tags.get(key) for key in CODE_KEYS):
        code = Dataset()
        for key in CODE_KEYS:
            setattr(code, key, structure.tags[key])
        observation.RTROIIdentificationCodeSequence = [code]
    return observation
