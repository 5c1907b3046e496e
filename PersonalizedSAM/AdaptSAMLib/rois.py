"""Kinds of segments of a structure set: targets, organs at risk, and those that no image shows, which are not carried on."""

from __future__ import annotations

import os
import re

import slicer
import vtk

#: Kinds of regions.
TARGET, ORGAN, OTHER = "target", "organ", "other"

#: RT ROI interpreted types (DICOM PS3.3, C.8.8.8.1) that give the kind. "ORGAN" does not: some planning systems write it on all.
_TYPES = dict.fromkeys(("GTV", "CTV", "PTV", "ITV"), TARGET) | dict.fromkeys(
    (
        *(
            "EXTERNAL",
            "SUPPORT",
            "FIXATION",
            "BOLUS",
            "CONTRAST_AGENT",
            "REGISTRATION",
            "CONTROL",
            "MARKER",
            "ISOCENTER",
        ),
        *("DOSE_REGION", "DOSE_MEASUREMENT", "TREATED_VOL", "IRRAD_VOLUME"),
        *("BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD"),
    ),
    OTHER,
)

#: Words of names, one of which is enough.
_TARGETS = re.compile("i?[gcpi]tv[a-z]{0,2}|tumou?rs?|lesions?|metastas[ei]s|boost")
_NOT_ANATOMY = (
    *(
        "couch",
        "table",
        "tabletop",
        "tisch",
        "liege",
        "baseplate",
        "mattress",
        "immobilization",
        "immobilisation",
        "bolus",
    ),
    *("dose", "isodose", "isodoses", "isodosis", "isodosen", "isodosenlinie"),
    *("point", "points", "poi", "iso", "isocenter", "isocentre", "isozentrum", "isocenters", "isocentres"),
    *("marker", "markers", "fiducial", "fiducials", "clip", "clips", "laser", "crosshair"),
    *("contrast", "kontrast", "kontrastmittel", "artifact", "artifacts", "artefact", "artefacts", "override", "ring"),
)

#: Words that name the outline of the patient, where no others but the second ones stand beside them: a vertebral body is an organ.
_OUTLINE = {"body", "external", "externe", "extern", "patient", "outline", "aussenkontur", "koerper", "körper"}
_BESIDE_OUTLINE = {
    "outer",
    "contour",
    "kontur",
    "surface",
    "the",
    "of",
    "whole",
    "ct",
    "auto",
    "new",
    "plan",
    "planning",
}

_DOSE = re.compile(r"^\W*\d+([.,]\d+)?\s*(%|c?gy\b)|\[\s*(%|c?gy)\s*\]", re.IGNORECASE)
_WORD = re.compile(r"[A-ZÄÖÜ]*[a-zäöüß]+|[A-ZÄÖÜ]+|\d+")

#: What SlicerRT keeps of a region of an RTSTRUCT.
_NUMBER = "DicomRtImport.RoiNumber"
_read: dict = {}


def kinds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, str]:
    """Segment IDs to TARGET, ORGAN or OTHER: by the RTSTRUCT's types where it is in the DICOM database, by names otherwise."""
    types, segmentation = _types(segmentationNode), segmentationNode.GetSegmentation()
    found = {}
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        found[segmentId] = kind(segment.GetName() or "", types.get(tag(segment, _NUMBER), ""))
    return found


def kind(name: str, interpretedType: str = "") -> str:
    """The kind of a region by its RT ROI interpreted type, or, where that says nothing, by its name."""
    known = _TYPES.get(interpretedType.strip().upper())
    return known or _kindByName(name)


def interpretedType(name: str) -> str:
    """The RT ROI interpreted type that a region is written with, by its name: "GTV", "CTV", "PTV", "ORGAN", or ""."""
    words = [word.lower() for word in _words(name)]
    volume = next(
        (one for one in ("gtv", "ctv", "ptv") for word in words if re.fullmatch(f"i?{one}[a-z]{{0,2}}", word)), ""
    )
    return volume.upper() or ("ORGAN" if kind(name) == ORGAN else "")


def _kindByName(name: str) -> str:
    words = [word.lower() for word in _words(name)]
    if any(_TARGETS.fullmatch(word) for word in words):
        return TARGET
    letters = {word for word in words if not word.isdigit()}
    outline = letters <= _OUTLINE | _BESIDE_OUTLINE and (bool(letters & _OUTLINE) or {"outer", "contour"} <= letters)
    helper = name.startswith("_") or re.match("z[A-Z_]", name)  # AAPM TG-263: not for evaluation
    return OTHER if outline or helper or _DOSE.search(name) or letters & set(_NOT_ANATOMY) else ORGAN


def _words(name: str) -> list:
    """Words of "CouchSurface", "Dose 95[%]" and "PTV60"."""
    apart = re.sub(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])", " ", name)
    return _WORD.findall(apart)


def tag(segment: slicer.vtkSegment, name: str) -> str:
    """A tag of a segment, or ""."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _types(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, str]:
    """ROI numbers to interpreted types, of the RTSTRUCT that a segmentation was loaded from; {} where it is not known."""
    path = _rtstruct(segmentationNode)
    if path and path not in _read:
        _read[path] = _readTypes(path)
    return _read.get(path, {})


def _rtstruct(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """The file in the DICOM database, or ""."""
    database = getattr(slicer, "dicomDatabase", None)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(segmentationNode) if hierarchy else 0
    series = hierarchy.GetItemUID(item, "DICOM") if item else ""
    files = database.filesForSeries(series) if database is not None and series else ()
    return files[0] if len(files) == 1 and os.path.isfile(files[0]) else ""


def _readTypes(path: str) -> dict[str, str]:
    """Contours are left on the disk: only what is observed of the regions is read."""
    import pydicom

    try:
        dataset = pydicom.dcmread(path, specific_tags=["Modality", "RTROIObservationsSequence"])
    except (OSError, pydicom.errors.InvalidDicomError):
        return {}
    observed = dataset.get("RTROIObservationsSequence") or []
    return {str(one.get("ReferencedROINumber", "")): str(one.get("RTROIInterpretedType") or "") for one in observed}
