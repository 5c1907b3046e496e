"""Whether two images are of one patient. The identity itself leaves this file for nobody."""

from __future__ import annotations

from adaptsam.image.remarks import Remark
from adaptsam.image.volume import DicomSource, Volume


def same_patient(a: Volume, b: Volume) -> bool | None:
    """Whether two images are of one patient; ``None`` when an image does not say."""
    return None if a.dicom is None or b.dicom is None else same_person(a.dicom, b.dicom)


def same_person(a: DicomSource, b: DicomSource) -> bool | None:
    """Whether two DICOM objects are of one patient; ``None`` when one does not say.

    The patient IDs decide; where they agree, two birth dates that differ tell that one ID was given twice.
    """
    first, second = a.patient_id.strip(), b.patient_id.strip()
    if not first or not second:
        return None
    if first.casefold() != second.casefold():
        return False
    births = {source.header.get("PatientBirthDate", "").strip() for source in (a, b)} - {""}
    return len(births) < 2


def identity_remarks(structures: DicomSource, image: DicomSource | None) -> list[Remark]:
    """A word where structures name another patient than their image, and were trusted for what else they name."""
    if image is None or same_person(structures, image) is not False:
        return []
    why = "it has another patient ID than the image, whose series or frame of reference it names; is it the right one?"
    return [Remark("files of structures", 1, why, left_out=False)]
