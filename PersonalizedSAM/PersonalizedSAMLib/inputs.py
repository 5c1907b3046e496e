"""Whether a run can start, and why not: one sentence for the Apply button and for scripts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import slicer
from AdaptSAMLib import images, patients, rois, segments
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _


def segmentIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list:
    """All segments of a node, in order."""
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())


def likelySegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, kinds: Collection[str] = (rois.TARGET, rois.ORGAN)
) -> list:
    """The segments of some kinds; targets and organs by default: no outline of the patient, couch, isodose or point."""
    return [one for one, kind in rois.kinds(segmentationNode).items() if kind in kinds]


def check(
    prior: slicer.vtkMRMLVolumeNode | None,
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    chosen: Sequence[str],
    targets: Sequence[slicer.vtkMRMLNode],
) -> None:
    """Raises InputProblem where a run cannot start. Quick: pixels are looked at when it starts."""
    message = _lack(prior, segmentation, chosen, targets)
    if message:
        raise InputProblem(message)
    for node in [prior, *(images.firstImage(one) for one in targets)]:
        images.check(node)
        images.checkKind(node, prior)


def _lack(
    prior: slicer.vtkMRMLVolumeNode | None,
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    chosen: Sequence[str],
    targets: Sequence[slicer.vtkMRMLNode],
) -> str:
    """Sentence about an input that is missing or wrong; "" where nothing is."""
    if prior is None:
        return _("Choose the contoured image.")
    if segmentation is None:
        return _("Choose the contours of {name}.").format(name=prior.GetName())
    if not segmentation.GetSegmentation().GetNumberOfSegments():
        return _("{name} has no segments; draw one in the Segment Editor, or choose another segmentation.").format(
            name=segmentation.GetName()
        )
    if not chosen:
        return _("Tick at least one structure.")
    if not targets:
        return _("Tick at least one image that the contours are carried to.")
    if prior in targets:
        return _("{name} is the contoured image itself; take its tick away.").format(name=prior.GetName())
    return ""


def question(
    prior: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, targets: Sequence[slicer.vtkMRMLNode]
) -> str:
    """Question for the user before a run, or ""."""
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


#: Attribute of contours: the item of a sequence on which they were used.
_ITEM = "AdaptSAM.drawnOn"


def remember(
    segmentation: slicer.vtkMRMLSegmentationNode, shown: tuple[slicer.vtkMRMLSequenceNode, int] | None
) -> None:
    """Keep on which item of a sequence contours were used; they stay when another item is shown."""
    if shown is not None and images.shownFrom(segmentation) is None:
        sequence, item = shown
        segmentation.SetAttribute(_ITEM, f"{sequence.GetID()} {item}")


def otherItem(prior: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> str:
    """Question for the user where another item of the sequence is shown than the contours were used on, or ""."""
    shown, known = images.shownFrom(prior), segmentation.GetAttribute(_ITEM)
    if shown is None or not known or images.shownFrom(segmentation) is not None:
        return ""
    (sequence, item), (other, before) = shown, known.split(" ")
    if other != sequence.GetID() or int(before) == item:
        return ""
    return _(
        "{name} was used as the contours of {before} in {sequence} the last time, and now {now} is shown. Is it drawn on {now}?"
    ).format(
        name=segmentation.GetName(),
        sequence=sequence.GetName(),
        before=sequence.GetNthIndexValue(int(before)),
        now=sequence.GetNthIndexValue(item),
    )


def masks(
    prior: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, chosen: Sequence[str]
) -> Iterator[tuple | None]:
    """Yield (segment ID, name, mask on the prior's voxels), one at a time, and None after each short step on the way.

    Raises InputProblem for an empty one.
    """
    names = segments.segmentNames(segmentation)
    for segmentId in chosen:
        mask = yield from segments.readingMask(segmentation, segmentId, prior)
        if not mask.any():
            raise InputProblem(
                _("The segment {name} has no voxel within {prior}; draw it there, or take its tick away.").format(
                    name=names[segmentId], prior=prior.GetName()
                )
            )
        yield segmentId, names[segmentId], mask
