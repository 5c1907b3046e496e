"""Volumes and sequences of volumes as the images that a run goes through."""

from __future__ import annotations

from collections.abc import Iterable

import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import geometry, patients
from AdaptSAMLib.results import Target


def listed(nodes: slicer.vtkMRMLNode | Iterable[slicer.vtkMRMLNode | None]) -> list:
    """One node, or several, as a list; without those that are gone, whose places a parameter keeps."""
    several = [nodes] if isinstance(nodes, slicer.vtkMRMLNode) else nodes
    return [one for one in several if one is not None and one.GetScene() is slicer.mrmlScene]


def expand(targets: Iterable[slicer.vtkMRMLNode]) -> list:
    """Volumes and sequences of volumes as single images."""
    found = []
    for node in targets:
        if node.IsA("vtkMRMLSequenceNode"):
            browser = browserOf(node)
            for item in range(node.GetNumberOfDataNodes()):
                title = f"{node.GetName()} {node.GetNthIndexValue(item)}"
                found.append(Target(f"{node.GetID()}:{item}", title, node.GetNthDataNode(item), node, browser, item))
        else:
            found.append(Target(node.GetID(), node.GetName(), node))
    for one in found:
        one.dimensions = one.volumeNode.GetImageData().GetDimensions() if one.volumeNode.GetImageData() else ()
    return found


def browserOf(sequenceNode: slicer.vtkMRMLSequenceNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """The browser that plays a sequence, or None."""
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if browser.IsSynchronizedSequenceNodeID(sequenceNode.GetID(), True):
            return browser
    return None


def itemOf(volumeNode: slicer.vtkMRMLVolumeNode, sequenceNode: slicer.vtkMRMLSequenceNode) -> int:
    """Number of the item of a sequence that a volume shows now; -1 if it is not one of its browser's volumes."""
    browser = browserOf(sequenceNode)
    if browser is None or browser.GetProxyNode(sequenceNode) is not volumeNode:
        return -1
    return browser.GetSelectedItemNumber()


def shownFrom(node: slicer.vtkMRMLNode) -> tuple[slicer.vtkMRMLSequenceNode, int] | None:
    """The sequence that a node shows an item of, and which item; None for a node of its own."""
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return sequence, browser.GetSelectedItemNumber()
    return None


def firstImage(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLVolumeNode:
    """A volume, or the first one of a sequence, which stands for the others until a run looks at them."""
    if not node.IsA("vtkMRMLSequenceNode"):
        return node
    if not node.GetNumberOfDataNodes():
        raise geometry.InputProblem(_("{name} holds no image; choose another sequence.").format(name=node.GetName()))
    return node.GetNthDataNode(0)


def check(volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """Raises InputProblem where it cannot be used: its pixels, or where they lie."""
    geometry.pixels(volumeNode)
    geometry.grid(volumeNode)


def checkKind(volumeNode: slicer.vtkMRMLVolumeNode, other: slicer.vtkMRMLVolumeNode, name: str = "") -> None:
    """Raises InputProblem where one is in colour and the other is not; ``name`` is the first one's."""
    if geometry.isColor(volumeNode) != geometry.isColor(other):
        raise geometry.InputProblem(
            _("{name} and {prior} must both be in colour or both in gray values.").format(
                name=name or volumeNode.GetName(), prior=other.GetName()
            )
        )


def described(volumeNode: slicer.vtkMRMLVolumeNode, kind: str = "") -> dict:
    """A volume as the worker wants it; ``kind`` is the modality where the volume does not say."""
    return {
        "array": geometry.pixels(volumeNode),
        "geometry": geometry.grid(volumeNode),
        "modality": patients.modality(volumeNode) or kind or modality(volumeNode),
    }


def modality(volumeNode: slicer.vtkMRMLVolumeNode) -> str:
    """The modality that DICOM gives or the values give away, or ""."""
    return patients.modality(volumeNode) or ("CT" if looksLikeCT(volumeNode) else "")


def looksLikeCT(volumeNode: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether values reach down to air in Hounsfield units, as those of CT alone do."""
    if geometry.isColor(volumeNode) or volumeNode.GetImageData() is None:
        return False
    some = geometry.pixels(volumeNode)[::2, ::4, ::4]  # air is everywhere around a patient; all voxels take a while
    return bool(some.min() <= -500 and some.max() <= 32767)


#: What an image can be.
VOLUMES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")


def nodesOf(kinds: Iterable[str]) -> list:
    """The nodes of some classes that users see; labelmaps are no images."""
    found = []
    for kind in kinds:
        for number in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind)):
            node = slicer.mrmlScene.GetNthNodeByClass(number, kind)
            if node not in found and not node.GetHideFromEditors() and not node.IsA("vtkMRMLLabelMapVolumeNode"):
                found.append(node)
    return found


def candidates() -> list:
    """Possible targets: sequences of volumes, and volumes that no sequence shows; a dose distribution is no image."""
    sequences = [
        one
        for one in nodesOf(["vtkMRMLSequenceNode"])
        if one.GetNumberOfDataNodes() and one.GetNthDataNode(0).IsA("vtkMRMLVolumeNode")
    ]
    shown = [browserOf(one).GetProxyNode(one) for one in sequences if browserOf(one) is not None]
    return sequences + [one for one in nodesOf(VOLUMES) if one not in shown and not patients.isDose(one)]


def followUps(prior: slicer.vtkMRMLVolumeNode) -> list:
    """The candidates that the contours of an image are likely meant for: its patient's, of its modality, from its day on."""
    return [one for one in patients.laterThan(prior, candidates()) if sameModality(prior, firstImage(one))]


def sameModality(volumeNode: slicer.vtkMRMLVolumeNode, other: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether two images are of one modality, as far as DICOM or their values show; MR and an unknown one may be the same."""
    if geometry.isColor(volumeNode) != geometry.isColor(other):
        return False
    first, second = modality(volumeNode), modality(other)
    return first == second or ("" in (first, second) and "CT" not in (first, second))
