"""DICOM SEG out: masks as binary segments that may overlap, on the slices of a DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, generate_uid

from adaptsam.errors import InputError
from adaptsam.image.terminology import Term, term_of
from adaptsam.image.volume import DicomSource, Structure, StructureSet, Volume
from adaptsam.io.dicom.dicom_file import quiet_pydicom
from adaptsam.io.dicom.series_writer import add_plane, copy_patient_and_study, derived_dataset, stamp
from adaptsam.provenance import NOTICE, software_version
from adaptsam.storage.output_staging import staged_file


def write_dicom_seg(
    path: Path, structures: StructureSet, reference: Volume, *, model: str = "", overwrite: bool = False
) -> None:
    """Write the structures as a binary SEG that refers to the slices of ``reference``; only frames with voxels.

    A structure without a voxel becomes a segment without frames. Every segment is marked automatic, with our name and
    version, and with the code of what it shows (:mod:`adaptsam.image.terminology`).

    Args:
        path: the file.
        structures: on the grid of ``reference``.
        reference: the image, read from DICOM.
        model: hash of the model that made the structures.
        overwrite: replace an existing file.

    Raises:
        InputError: ``reference`` is not from DICOM, or there is no structure.
        OutputError: the file is there already or cannot be written.
    """
    source = reference.dicom
    if source is None or len(source.sop_instance_uids) != reference.geometry.shape[0]:
        raise InputError(
            "A DICOM SEG must refer to a DICOM series and this image is not one; write a .seg.nrrd instead."
        )
    if not structures.structures:
        raise InputError("There is no structure to write; a DICOM SEG needs at least one.")
    source = replace(
        source,
        frame_of_reference_uid=source.frame_of_reference_uid or generate_uid(),
        study_uid=source.study_uid or generate_uid(),
    )
    terms = [term_of(structure) for structure in structures.structures]
    with quiet_pydicom():
        slices = _slices(source, reference)
        dataset = hd.seg.Segmentation(
            source_images=slices,
            pixel_array=np.stack([structure.mask for structure in structures.structures], axis=-1),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, structure, term, model)
                for number, (structure, term) in enumerate(zip(structures.structures, terms, strict=True), start=1)
            ],
            series_instance_uid=generate_uid(),
            series_number=1,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="AdaptSAM",
            manufacturer_model_name="AdaptSAM",
            software_versions=software_version(),
            device_serial_number="0",
            content_label="ADAPTSAM",
            content_description=NOTICE,
        )
        _add_sides(dataset, terms)
        copy_patient_and_study(source, dataset)
        stamp(dataset, model)
        dataset.SeriesDescription = "AdaptSAM, research use only"
        if source.frame_numbers:
            _refer_to_frames(dataset, source, slices)
    with staged_file(path, overwrite=overwrite) as staged:
        dataset.save_as(staged, enforce_file_format=True)


def _slices(source: DicomSource, reference: Volume) -> list[Dataset]:
    """The headers of the image's slices, as highdicom wants them; a frame stands as a slice of its own for now.

    The patient comes later: highdicom quotes the values that it cannot parse.
    """
    nobody = replace(source, patient_id="", study_date="", header={})
    slices: list[Dataset] = []
    for k, uid in enumerate(source.sop_instance_uids):
        kind = CTImageStorage if source.frame_numbers else source.sop_class_uid
        dataset = derived_dataset(nobody, kind, reference.modality, series_uid=source.series_uid, model="")
        if not source.frame_numbers:
            dataset.SOPInstanceUID = uid
        del dataset.Manufacturer  # ours, and not the scanner's
        dataset.FrameOfReferenceUID = source.frame_of_reference_uid
        dataset.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator", "")
        dataset.Rows, dataset.Columns = reference.geometry.shape[1:]
        add_plane(dataset, reference.geometry, k)
        slices.append(dataset)
    return slices


def _segment(number: int, structure: Structure, term: Term, model: str) -> hd.seg.SegmentDescription:
    label = structure.name.replace("\\", "/")[:64]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=term.category,
        segmented_property_type=term.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="AdaptSAM",
            family=codes.cid7162.ArtificialIntelligence,
            version=software_version(),
            parameters={"model SHA-256": model} if model else None,
        ),
        tracking_uid=generate_uid(),
        tracking_id=label,
        display_color=hd.color.CIELabColor.from_rgb(*structure.color),
    )


def _add_sides(dataset: Dataset, terms: Sequence[Term]) -> None:
    """Left or right, which highdicom has no argument for."""
    for segment, term in zip(dataset.SegmentSequence, terms, strict=True):
        if term.side:
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [hd.sr.CodedConcept.from_code(term.side)]


def _refer_to_frames(dataset: Dataset, source: DicomSource, slices: Sequence[Dataset]) -> None:
    """Put the multi-frame objects and the numbers of their frames in the places of the slices that stood for them."""
    stood_for = {str(one.SOPInstanceUID): k for k, one in enumerate(slices)}
    objects = [_instance(source, uid) for uid in dict.fromkeys(source.sop_instance_uids)]
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = objects
    if "SourceImageSequence" in dataset:
        dataset.SourceImageSequence = objects
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for image in derivation.SourceImageSequence:
                k = stood_for[str(image.ReferencedSOPInstanceUID)]
                image.update(_instance(source, source.sop_instance_uids[k]))
                image.ReferencedFrameNumber = source.frame_numbers[k]


def _instance(source: DicomSource, uid: str) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.sop_class_uid, uid
    return instance
