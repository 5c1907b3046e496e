"""Multi-frame DICOM images (enhanced, legacy converted, X-ray 3D): every frame with the header of a slice."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from adaptsam.errors import InputError
from adaptsam.io.dicom.dicom_file import quiet_pydicom

MULTI_FRAME = (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# What each functional group says in the words of a plain slice.
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    # What tells several images in one object apart.
    "FrameContentSequence": ("TemporalPositionIndex",),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
    "MRDiffusionSequence": ("DiffusionBValue",),
}


def holds_frames(header: Dataset) -> bool:
    """Whether a file is an image whose frames have places in the patient."""
    return header.get("SOPClassUID") in MULTI_FRAME


def frame_headers(dataset: FileDataset, path: Path) -> list[Dataset]:
    """One header a frame, in the order of the file, with position, orientation, spacing and rescaling of its own.

    Raises:
        InputError: the functional groups are missing or do not match the number of frames.
    """
    try:
        with quiet_pydicom():
            shared = (dataset.get(_SHARED) or [Dataset()])[0]
            frames = dataset[_PER_FRAME].value
            common = [element for element in dataset if element.keyword not in (_SHARED, _PER_FRAME, "PixelData")]
            headers = [_header(common, shared, groups) for groups in frames]
    except Exception:
        raise InputError(f"{path.name} is damaged: the places of its frames cannot be read; copy it again.") from None
    if len(headers) != int(dataset.get("NumberOfFrames") or 1):
        raise InputError(f"{path.name} is damaged: it has places for {len(headers)} of its frames; copy it again.")
    return headers


def _header(common: list, shared: Dataset, groups: Dataset) -> Dataset:
    header = Dataset()
    for element in common:
        header[element.tag] = element
    for name, keywords in _GROUPS.items():
        group = (groups.get(name) or shared.get(name) or [Dataset()])[0]
        for keyword in keywords:
            if keyword in group:
                header[keyword] = group[keyword]
    return header
