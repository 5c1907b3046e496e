"""Standard codes of structures, as DICOM SEG demands them: category, type and side of what a segment shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from adaptsam.image.volume import Structure

_SCT = codes.SCT
#: Keys of ``Structure.tags`` that hold the code of what a structure is, as RTSTRUCT and SEG give it.
CODE_KEYS = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_SLICER_TAG = "TerminologyEntry"

# The first line of which the expression occurs in the structure's name decides; "Lung_L" is matched as "lung l". A
# target volume must begin the name: "Lungs-GTV" are lungs.
_BY_NAME: tuple[tuple[str, Code], ...] = (
    (r"^gtv|gross tumou?r", _SCT.GrossTumorVolume),
    (r"^ctv|clinical target", _SCT.ClinicalTargetVolume),
    (r"^ptv|planning target", _SCT.PlanningTargetVolume),
    (r"tumou?r|neoplasm|cancer|metasta|\bmets?\b|carcinoma|sarcoma", _SCT.Neoplasm),
    (r"\bnodule", _SCT.Nodule),
    (r"\blesion|\bmass\b", _SCT.Mass),
    (r"lymph ?node", _SCT.LymphNode),
    (r"spinal ?canal", _SCT.SpinalCanalStructure),
    (r"spinal ?cord|^cord\b|myelon", _SCT.SpinalCord),
    (r"lung", _SCT.Lung),
    (r"heart", _SCT.Heart),
    (r"gall ?bladder", _SCT.Gallbladder),
    (r"bladder", _SCT.Bladder),
    (r"liver", _SCT.Liver),
    (r"spleen", _SCT.Spleen),
    (r"pancreas", _SCT.Pancreas),
    (r"adrenal", _SCT.AdrenalGland),
    (r"kidney", _SCT.Kidney),
    (r"o?esophag", _SCT.Esophagus),
    (r"trachea", _SCT.Trachea),
    (r"bronch", _SCT.Bronchus),
    (r"aort", _SCT.Aorta),
    (r"stomach", _SCT.Stomach),
    (r"duoden", _SCT.Duodenum),
    (r"small (bowel|intestine)|bowel small", _SCT.SmallIntestine),
    (r"large (bowel|intestine)|bowel large", _SCT.LargeIntestine),
    (r"colon\b", _SCT.Colon),
    (r"rectum", _SCT.Rectum),
    (r"prostate", _SCT.Prostate),
    (r"brain ?stem", _SCT.BrainStem),
    (r"brain", _SCT.Brain),
    (r"chiasm", _SCT.OpticChiasm),
    (r"optic ?n", _SCT.OpticNerve),
    (r"parotid", _SCT.ParotidGland),
    (r"thyroid", _SCT.Thyroid),
    (r"larynx", _SCT.Larynx),
    (r"mandib", _SCT.Mandible),
    (r"fem(ur|oral) ?head|head of femur", _SCT.HeadOfFemur),
    (r"femur", _SCT.Femur),
    (r"breast", _SCT.Breast),
    (r"vertebra|\bspine\b", _SCT.Vertebra),
    (r"\bbone", _SCT.Bone),
)
_ABNORMAL = {_SCT.Neoplasm.value, _SCT.Nodule.value, _SCT.Mass.value}
_VOLUMES = {_SCT.GrossTumorVolume.value, _SCT.ClinicalTargetVolume.value, _SCT.PlanningTargetVolume.value}
_SIDES = ((r"\b(l|lt|left)\b", _SCT.Left), (r"\b(r|rt|right)\b", _SCT.Right))


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
        named = _SCT.GrossTumorVolume
    return Term(_category(named), named, side) if named else Term(_SCT.Tissue, _SCT.Tissue)


def own_code(structure: Structure) -> tuple[str, str, str] | None:
    """Value, scheme and meaning of what a structure is; None where neither tags nor name tell."""
    kind = term_of(structure).kind
    return None if kind == _SCT.Tissue else (kind.value, kind.scheme_designator, kind.meaning)


def slicer_entry(term: Term) -> str:
    """A term as 3D Slicer writes it into a segment's tag "TerminologyEntry"."""
    side = _slicer_text(term.side) if term.side else "^^"
    kinds = f"{_slicer_text(term.category)}~{_slicer_text(term.kind)}~{side}"
    return f"Segmentation category and type - 3D Slicer General Anatomy list~{kinds}~~^^~^^"


def _slicer_text(code: Code) -> str:
    return f"{code.scheme_designator}^{code.value}^{code.meaning}"


def _category(kind: Code) -> Code:
    if kind.value in _ABNORMAL:
        return _SCT.MorphologicallyAbnormalStructure
    if kind.value in _VOLUMES:
        return _SCT.SpatialAndRelationalConcept
    return _SCT.Tissue if kind.value == _SCT.Tissue.value else _SCT.AnatomicalStructure


def _slicer_code(text: str) -> Code | None:
    """``SCT^10200004^Liver``, as 3D Slicer writes a code."""
    scheme, value, meaning, *_ = [*text.split("^"), "", "", ""]
    return Code(value, scheme, meaning) if scheme and value and meaning else None
