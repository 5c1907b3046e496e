"""Standard codes of structures, as DICOM SEG demands them: category, type and side of what a segment shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.sr.coding import Code

from adaptsam.image import snomed
from adaptsam.image.volume import Structure

#: Keys of ``Structure.tags`` that hold the code of what a structure is, as RTSTRUCT and SEG give it.
CODE_KEYS = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_SLICER_TAG = "TerminologyEntry"

# The first line of which the expression occurs in the structure's name decides; "Lung_L" is matched as "lung l". A
# target volume must begin the name: "Lungs-GTV" are lungs.
_BY_NAME: tuple[tuple[str, Code], ...] = (
    (r"^gtv|gross tumou?r", snomed.GROSS_TUMOR_VOLUME),
    (r"^ctv|clinical target", snomed.CLINICAL_TARGET_VOLUME),
    (r"^ptv|planning target", snomed.PLANNING_TARGET_VOLUME),
    (r"tumou?r|neoplasm|cancer|metasta|\bmets?\b|carcinoma|sarcoma", snomed.NEOPLASM),
    (r"\bnodule", snomed.NODULE),
    (r"\blesion|\bmass\b", snomed.MASS),
    (r"lymph ?node", snomed.LYMPH_NODE),
    (r"spinal ?canal", snomed.SPINAL_CANAL_STRUCTURE),
    (r"spinal ?cord|^cord\b|myelon", snomed.SPINAL_CORD),
    (r"lung", snomed.LUNG),
    (r"heart", snomed.HEART),
    (r"gall ?bladder", snomed.GALLBLADDER),
    (r"bladder", snomed.BLADDER),
    (r"liver", snomed.LIVER),
    (r"spleen", snomed.SPLEEN),
    (r"pancreas", snomed.PANCREAS),
    (r"adrenal", snomed.ADRENAL_GLAND),
    (r"kidney", snomed.KIDNEY),
    (r"o?esophag", snomed.ESOPHAGUS),
    (r"trachea", snomed.TRACHEA),
    (r"bronch", snomed.BRONCHUS),
    (r"aort", snomed.AORTA),
    (r"stomach", snomed.STOMACH),
    (r"duoden", snomed.DUODENUM),
    (r"small (bowel|intestine)|bowel small", snomed.SMALL_INTESTINE),
    (r"large (bowel|intestine)|bowel large", snomed.LARGE_INTESTINE),
    (r"colon\b", snomed.COLON),
    (r"rectum", snomed.RECTUM),
    (r"prostate", snomed.PROSTATE),
    (r"brain ?stem", snomed.BRAIN_STEM),
    (r"brain", snomed.BRAIN),
    (r"chiasm", snomed.OPTIC_CHIASM),
    (r"optic ?n", snomed.OPTIC_NERVE),
    (r"parotid", snomed.PAROTID_GLAND),
    (r"thyroid", snomed.THYROID),
    (r"larynx", snomed.LARYNX),
    (r"mandib", snomed.MANDIBLE),
    (r"fem(ur|oral) ?head|head of femur", snomed.HEAD_OF_FEMUR),
    (r"femur", snomed.FEMUR),
    (r"breast", snomed.BREAST),
    (r"vertebra|\bspine\b", snomed.VERTEBRA),
    (r"\bbone", snomed.BONE),
)
_ABNORMAL = {snomed.NEOPLASM.value, snomed.NODULE.value, snomed.MASS.value}
_VOLUMES = {snomed.GROSS_TUMOR_VOLUME.value, snomed.CLINICAL_TARGET_VOLUME.value, snomed.PLANNING_TARGET_VOLUME.value}
_SIDES = ((r"\b(l|lt|left)\b", snomed.LEFT), (r"\b(r|rt|right)\b", snomed.RIGHT))


@dataclass(frozen=True)
class Term:
    """Standard codes of a structure: ``category`` and ``kind`` (DICOM CID 7150 and 7151), ``side`` if in the name."""

    category: Code
    kind: Code
    side: Code | None = None


def term_of(structure: Structure) -> Term:
    """The codes that came with the structure, otherwise those its name stands for, otherwise plain tissue."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", structure.name).lower()
    margin = re.search(r"\bprv", words)  # an organ with a margin around it is not the organ
    side = next((code for pattern, code in _SIDES if re.search(pattern, words)), None)
    slicer = structure.tags.get(_SLICER_TAG, "").split("~")
    if len(slicer) > 3 and (category := _slicer_code(slicer[1])) and (kind := _slicer_code(slicer[2])):
        return Term(category, kind, _slicer_code(slicer[3]))
    if all(structure.tags.get(key) for key in CODE_KEYS):
        own = Code(*(structure.tags[key] for key in CODE_KEYS))
        return Term(_category(own), own, side)
    named = next((code for pattern, code in _BY_NAME if re.search(pattern, words) and not margin), None)
    if named is None and structure.interpreted_type.upper() == "GTV":
        named = snomed.GROSS_TUMOR_VOLUME
    return Term(_category(named), named, side) if named else Term(snomed.TISSUE, snomed.TISSUE)


def own_code(structure: Structure) -> tuple[str, str, str] | None:
    """Value, scheme and meaning of what a structure is; None where neither tags nor name tell."""
    kind = term_of(structure).kind
    return None if kind == snomed.TISSUE else (kind.value, kind.scheme_designator, kind.meaning)


def slicer_entry(term: Term) -> str:
    """A term as 3D Slicer writes it into a segment's tag "TerminologyEntry"."""
    side = _slicer_text(term.side) if term.side else "^^"
    kinds = f"{_slicer_text(term.category)}~{_slicer_text(term.kind)}~{side}"
    return f"Segmentation category and type - 3D Slicer General Anatomy list~{kinds}~~^^~^^"


def _slicer_text(code: Code) -> str:
    return f"{code.scheme_designator}^{code.value}^{code.meaning}"


def _category(kind: Code) -> Code:
    if kind.value in _ABNORMAL:
        return snomed.MORPHOLOGICALLY_ABNORMAL_STRUCTURE
    if kind.value in _VOLUMES:
        return snomed.SPATIAL_AND_RELATIONAL_CONCEPT
    return snomed.TISSUE if kind.value == snomed.TISSUE.value else snomed.ANATOMICAL_STRUCTURE


def _slicer_code(text: str) -> Code | None:
    """``SCT^10200004^Liver``, as 3D Slicer writes a code."""
    scheme, value, meaning, *_ = [*text.split("^"), "", "", ""]
    return Code(value, scheme, meaning) if scheme and value and meaning else None
