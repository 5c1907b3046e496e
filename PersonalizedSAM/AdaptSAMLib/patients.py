"""Patient and study date of volumes, from the subject hierarchy. They stay inside Slicer."""

from __future__ import annotations

from collections.abc import Iterable

import slicer


def _hierarchy() -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _attribute(node: slicer.vtkMRMLNode | None, name: str, level: str) -> str:
    """An attribute of the patient or study that a node lies in; empty where it lies in none."""
    hierarchy = _hierarchy()
    item = hierarchy.GetItemByDataNode(node) if hierarchy and node else 0
    return hierarchy.GetAttributeFromItemAncestor(item, name, level) if item else ""


def studyDate(node: slicer.vtkMRMLNode) -> str:
    """The study date of a node, as YYYYMMDD, or "" where it is not known."""
    date = _attribute(node, "DICOM.StudyDate", "Study").strip().replace("-", "")
    return date if len(date) == 8 and date.isdigit() else ""


def modality(node: slicer.vtkMRMLNode) -> str:
    """DICOM's modality of a volume, or ""."""
    hierarchy = _hierarchy()
    item = hierarchy.GetItemByDataNode(node) if hierarchy and node else 0
    return hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""


def isDose(node: slicer.vtkMRMLNode) -> bool:
    """Whether a volume is a dose distribution, by SlicerRT's attribute or DICOM's modality."""
    return node.GetAttribute("DicomRtImport.DoseVolume") is not None or modality(node) == "RTDOSE"


def samePatient(first: slicer.vtkMRMLNode, second: slicer.vtkMRMLNode) -> bool | None:
    """Whether two nodes are of one patient; None where one of them does not say."""
    patients = [_attribute(node, "DICOM.PatientID", "Patient").strip().casefold() for node in (first, second)]
    return None if "" in patients else patients[0] == patients[1]


def putBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """File a node in the study (or folder) that a volume lies in."""
    hierarchy = _hierarchy()
    item, beside = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
    if item and beside:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(beside))


def byDate(nodes: Iterable[slicer.vtkMRMLNode]) -> list:
    """Nodes by their study dates, those without one last; otherwise in their order."""
    return sorted(nodes, key=lambda node: studyDate(node) or "99999999")


def laterThan(prior: slicer.vtkMRMLVolumeNode, nodes: Iterable[slicer.vtkMRMLNode]) -> list:
    """The other volumes of the prior's patient, from its day on, by date; all others where no patient is known."""
    others = [node for node in nodes if node is not prior and samePatient(prior, node) is not False]
    day = studyDate(prior)
    later = [node for node in others if not day or not studyDate(node) or studyDate(node) >= day]
    return byDate(later)
