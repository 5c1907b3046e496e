"""Telling a cone-beam CT from a fan-beam one by its DICOM header: both say modality CT."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.uid import XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage

_SOP_CLASSES = (XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage)
_SAID_IN = ("ImageType", "SeriesDescription", "ProtocolName", "StudyDescription", "ConvolutionKernel")
_SAYING = re.compile(r"\bcbct|cone.?beam", re.IGNORECASE)
# Machines that make nothing else: linacs' imagers, and dental and C-arm scanners.
_MODEL = re.compile(
    r"on.?board imager|\bobi\b|\bxvi\b|truebeam|halcyon|\bethos\b|imagingring|newtom|i-?cat\b|promax|accuitomo"
    r"|orthophos|galileos|cs ?9\d00|dyna ?ct|o-?arm\b|\bcios\b",
    re.IGNORECASE,
)


def is_cone_beam_header(header: Dataset) -> bool:
    """Whether class, descriptions or the scanner's name tell that a slice is of a cone-beam CT."""
    if header.get("SOPClassUID") in _SOP_CLASSES:
        return True
    if header.get("Modality") != "CT":
        return False
    said = " ".join(str(header.get(keyword, "")) for keyword in _SAID_IN)
    return bool(_SAYING.search(said) or _MODEL.search(str(header.get("ManufacturerModelName", ""))))
