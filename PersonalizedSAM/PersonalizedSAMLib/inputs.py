"""Whether a run can start, and why not: one sentence for the Apply button and for scripts."""

import slicer
from AdaptSAMLib import geometry, patients, segments
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Target
from slicer.i18n import tr as _


def expand(targets) -> list:
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
    return found


def browserOf(sequenceNode):
    """The browser that plays a sequence, or None."""
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if browser.IsSynchronizedSequenceNodeID(sequenceNode.GetID(), True):
            return browser
    return None


def itemOf(volumeNode, sequenceNode) -> int:
    """Which item of a sequence a volume shows now; -1 if it is not one of its browser's volumes."""
    browser = browserOf(sequenceNode)
    if browser is None or browser.GetProxyNode(sequenceNode) is not volumeNode:
        return -1
    return browser.GetSelectedItemNumber()


def segmentIds(segmentationNode) -> list:
    """All segments of a node, in order."""
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())


def problem(prior, segmentation, chosen, targets) -> str:
    """Why a run cannot start, or "". Quick: pixels are looked at when it starts."""
    if prior is None:
        return _("Choose the prior volume: the image that has contours.")
    if segmentation is None:
        return _("Choose the segmentation of the prior volume.")
    if not segmentation.GetSegmentation().GetNumberOfSegments():
        return _("{name} has no segments; draw one in the Segment Editor, or choose another segmentation.").format(
            name=segmentation.GetName()
        )
    if not chosen:
        return _("Tick at least one segment.")
    if not targets:
        return _("Tick at least one target: the images that the contours are carried to.")
    if prior in targets:
        return _("{name} is the prior and cannot be its own target; take the tick away.").format(name=prior.GetName())
    try:
        for node in [prior, *(_firstImage(one) for one in targets)]:
            geometry.pixels(node)
            geometry.grid(node)
            if geometry.isColor(node) != geometry.isColor(prior):
                return _("{name} and {prior} must both be in colour or both in gray values.").format(
                    name=node.GetName(), prior=prior.GetName()
                )
    except InputProblem as error:
        return str(error)
    return ""


def _firstImage(target):
    """A volume, or the first one of a sequence, which stands for the others until the run looks at them."""
    if not target.IsA("vtkMRMLSequenceNode"):
        return target
    if not target.GetNumberOfDataNodes():
        raise InputProblem(_("{name} holds no image; choose another sequence.").format(name=target.GetName()))
    return target.GetNthDataNode(0)


def question(prior, segmentation, targets) -> str:
    """What the user should confirm before a run, or ""."""
    for node in targets:
        if patients.samePatient(prior, node) is False:
            return _("{name} and {prior} belong to different patients. Carry the contours over all the same?").format(
                name=node.GetName(), prior=prior.GetName()
            )
    if patients.samePatient(prior, segmentation) is False:
        return _("{name} belongs to another patient than {prior}. Use it all the same?").format(
            name=segmentation.GetName(), prior=prior.GetName()
        )
    return ""


def masks(prior, segmentation, chosen):
    """Yield (segment ID, name, mask on the prior's voxels), one at a time; raises InputProblem for an empty one."""
    names = segments.segmentNames(segmentation)
    for segmentId in chosen:
        mask = segments.readMask(segmentation, segmentId, prior)
        if not mask.any():
            raise InputProblem(
                _("The segment {name} has no voxel within {prior}; draw it there, or take its tick away.").format(
                    name=names[segmentId], prior=prior.GetName()
                )
            )
        yield segmentId, names[segmentId], mask
