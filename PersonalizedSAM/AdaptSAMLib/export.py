"""A result as an RTSTRUCT file. It refers to the slices of the image's own series in Slicer's DICOM database, and to nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import geometry, results, rois, segments
from AdaptSAMLib.engine import ENDS, Engine, elsewhere
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.results import Outcome


def files(volumeNode: slicer.vtkMRMLVolumeNode) -> list:
    """The DICOM files that a volume was loaded from.

    Raises:
        InputProblem: it was not, or they are not there any more.
    """
    database = getattr(slicer, "dicomDatabase", None)
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    found = [database.fileForInstance(one) for one in instances] if database is not None else []
    if not found or not all(one and os.path.isfile(one) for one in found):
        raise InputProblem(
            _(
                "{name} was not loaded from Slicer's DICOM database, and an RTSTRUCT must refer to a DICOM series; save the segmentation with File > Save instead."
            ).format(name=volumeNode.GetName())
        )
    return found


def suggested(outcome: Outcome) -> str:
    """A name for the file."""
    words = "".join(one if one.isalnum() else "_" for one in outcome.target.title).strip("_")
    return f"RS_{words}_AdaptSAM.dcm"


def write(engine: Engine, outcome: Outcome, names: dict, path: str, told: Callable[[str, str], None]) -> None:
    """Write the structures of an outcome; ``told`` is called with "done" or "error", and a sentence.

    Raises:
        InputProblem: see :func:`files`; or the worker is on another machine.
    """
    if elsewhere():
        raise InputProblem(
            _("The worker is on another machine, which has no files of this one; take its address away.")
        )
    results.check(outcome.target)
    volume, node = outcome.target.volumeNode, outcome.segmentationNode
    content = {
        "files": files(volume),
        "path": path,
        "geometry": geometry.grid(volume),
        "structures": [_structure(node, one, names[one], volume) for one in outcome.reports],
    }

    def handle(event: dict) -> None:
        if event["event"] in ENDS:
            done = event["event"] == "done"
            told("done" if done else "error", "" if done else event.get("message", _("Cancelled.")))

    engine.request("write_structures", handle, **content)


def _structure(
    node: slicer.vtkMRMLSegmentationNode, segmentId: str, name: str, volumeNode: slicer.vtkMRMLVolumeNode
) -> dict:
    segment = node.GetSegmentation().GetSegment(segmentId)
    return {
        "name": name,
        "mask": segments.readMask(node, segmentId, volumeNode),
        "color": [round(255 * value) for value in segment.GetColor()],
        "type": rois.interpretedType(name),
        "terminology": segments.terminology(segment),
    }
