"""Writer of CT series, and of the attributes that all written DICOM objects share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.volume import DicomSource, Geometry, Volume
from adaptsam.io.dicom.dicom_file import quiet_pydicom
from adaptsam.provenance import NOTICE, software_version
from adaptsam.storage.output_staging import staged_output

# Attributes of type 2: they must be there, even empty.
_PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_OF_THE_IMAGE = ("PatientPosition", "PositionReferenceIndicator")


def derived_dataset(source: DicomSource, sop_class: str, modality: str, *, series_uid: str, model: str) -> FileDataset:
    """A new object of the source's patient and study, with its own UIDs, to be filled.

    Args:
        source: of the image that the object is derived from.
        sop_class: SOP class UID.
        modality: of the new series.
        series_uid: of the new series.
        model: hash of the model that worked, "" for none.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    for keyword in _PATIENT_AND_STUDY:
        setattr(dataset, keyword, "")
    copy_patient_and_study(source, dataset)
    dataset.StudyInstanceUID = source.study_uid or generate_uid()
    dataset.SeriesInstanceUID = series_uid
    stamp(dataset, model)
    return dataset


def copy_patient_and_study(source: DicomSource, dataset: Dataset) -> None:
    """Copy all attributes of patient and study."""
    with quiet_pydicom():
        for keyword, value in source.header.items():
            if keyword not in _OF_THE_IMAGE:
                setattr(dataset, keyword, value)
        if "PatientIdentityRemoved" in dataset and "DeidentificationMethod" not in dataset:
            dataset.DeidentificationMethod = "As the source images"
        dataset.PatientID = source.patient_id
        dataset.StudyDate = source.study_date


def stamp(dataset: Dataset, model: str) -> None:
    """Stamp an object with time, software and version."""
    now = dt.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.SeriesDate, dataset.SeriesTime = date, time
    dataset.Manufacturer = "AdaptSAM"
    dataset.ManufacturerModelName = "AdaptSAM"
    dataset.SoftwareVersions = [software_version(), model[:64]] if model else software_version()


def write_dicom_series(
    folder: str | Path,
    volume: Volume,
    *,
    description: str = "AdaptSAM",
    series_number: int = 1,
    model: str = "",
    prefix: str = "CT",
    attributes: Mapping[str, str | int | float] | None = None,
    overwrite: bool = False,
) -> Volume:
    """Write a CT volume as DICOM, ``CT.0001.dcm``, ``CT.0002.dcm``, … in the order of k.

    Patient, study and frame of reference are those of ``volume.dicom``, the series and its instances are new. Without
    ``volume.dicom`` everything is new and the patient has no name. DICOM writes a number in at most 16 characters, so
    that the grid keeps about 14 digits.

    Args:
        folder: where the files go.
        volume: (K, J, I) in HU; fractions are rounded.
        description: of the series.
        series_number: of the series.
        model: hash of the model that worked, "" for none.
        prefix: what the files' names begin with.
        attributes: further ones of every slice, by DICOM keyword; they replace those of the same name.
        overwrite: replace files of the same names.

    Returns:
        The volume with the ``dicom`` that it has now, so that an RTSTRUCT can refer to it.

    Raises:
        InputError: the array is not a CT that 16 bits can hold.
        GeometryError: rows and columns are not perpendicular.
        OutputError: the folder cannot be written, or a file is there already.
    """
    pixels = _sixteen_bits(volume)
    source = volume.dicom or DicomSource()
    source = replace(
        source,
        study_uid=source.study_uid or generate_uid(),
        series_uid=generate_uid(),
        frame_of_reference_uid=source.frame_of_reference_uid or generate_uid(),
        sop_class_uid=CTImageStorage,
        sop_instance_uids=(),
    )
    names = [f"{prefix}.{number:04d}.dcm" for number in range(1, len(pixels) + 1)]
    uids = []
    with staged_output(folder, names, overwrite=overwrite) as staging:
        for k, name in enumerate(names):
            dataset = derived_dataset(source, CTImageStorage, "CT", series_uid=source.series_uid, model=model)
            dataset.SeriesDescription = description[:64]
            dataset.SeriesNumber = series_number
            _add_ct_image(dataset, source)
            add_plane(dataset, volume.geometry, k)
            _add_pixels(dataset, pixels[k])
            for keyword, value in (attributes or {}).items():
                setattr(dataset, keyword, value)
            dataset.save_as(staging / name, enforce_file_format=True)
            uids.append(str(dataset.SOPInstanceUID))
    return replace(volume, modality="CT", dicom=replace(source, sop_instance_uids=tuple(uids)))


def _sixteen_bits(volume: Volume) -> np.ndarray:
    array = volume.array
    if array.ndim != 3 or volume.modality not in ("", "CT", "CBCT"):
        raise InputError("Only a grey CT volume can be written as a DICOM series; write NRRD instead.")
    if not np.isfinite(array).all() or array.min() < -32768 or array.max() > 32767:
        raise InputError("The volume has values that are no Hounsfield units of 16 bits; write NRRD instead.")
    matrix = np.reshape(volume.geometry.direction, (3, 3))
    if abs(matrix[:, 0] @ matrix[:, 1]) > 1e-3:
        raise GeometryError(
            "The volume's rows and columns are not perpendicular; resample it to an upright grid first."
        )
    return np.rint(array).astype("<i2")


def _add_ct_image(dataset: Dataset, source: DicomSource) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.DerivationDescription = NOTICE
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid
    dataset.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator", "")
    dataset.PatientPosition = source.header.get("PatientPosition", "")
    dataset.AcquisitionNumber = ""
    dataset.KVP = ""
    dataset.ContentDate, dataset.ContentTime = dataset.SeriesDate, dataset.SeriesTime


def add_plane(dataset: Dataset, geometry: Geometry, k: int) -> None:
    """Add the position and orientation of slice ``k``."""
    matrix = np.reshape(geometry.direction, (3, 3))
    dataset.InstanceNumber = k + 1
    dataset.PixelSpacing = decimals([geometry.spacing[1], geometry.spacing[0]])
    dataset.SliceThickness = decimals([geometry.spacing[2] * abs(np.linalg.det(matrix))])[0]
    dataset.ImageOrientationPatient = decimals([*matrix[:, 0], *matrix[:, 1]])
    dataset.ImagePositionPatient = decimals(geometry.world(np.array([0, 0, k])))


def decimals(values: Sequence[float] | np.ndarray) -> list[str]:
    """Each number (n,) in the 16 characters that DICOM gives it, as exactly as they allow."""
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _add_pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    dataset.PixelData = pixels.tobytes()
