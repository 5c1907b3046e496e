"""Whether two images are of one patient. The identity itself leaves this file for nobody."""

from __future__ import annotations

from adaptsam.data.volume import Volume


def same_patient(a: Volume, b: Volume) -> bool | None:
    """Whether two images are of one patient; ``None`` when an image does not say.

    The patient IDs decide; where they agree, two birth dates that differ tell that one ID was given twice.
    """
    if a.dicom is None or b.dicom is None:
        return None
    first, second = a.dicom.patient_id.strip(), b.dicom.patient_id.strip()
    if not first or not second:
        return None
    if first.casefold() != second.casefold():
        return False
    births = {source.header.get("PatientBirthDate", "").strip() for source in (a.dicom, b.dicom)} - {""}
    return len(births) < 2
