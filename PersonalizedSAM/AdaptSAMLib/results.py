"""Targets of a run, and their outcomes with the worker's reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import geometry


@dataclass
class Target:
    """An image to segment: a volume of the scene, or one item of a sequence."""

    key: str
    title: str
    volumeNode: object
    sequenceNode: object = None
    browserNode: object = None
    item: int = -1
    dimensions: tuple = ()


@dataclass
class Outcome:
    """Result of one target: a segmentation, and for each segment ID the report of the worker."""

    target: Target
    segmentationNode: object
    reports: dict = field(default_factory=dict)
    warnings: list = field(default_factory=list)


def there(target: Target) -> bool:
    """Whether a target is still in the scene, with the voxels that it had when the run began."""
    nodes = [target.sequenceNode, target.browserNode] if target.sequenceNode is not None else [target.volumeNode]
    image = target.volumeNode.GetImageData()
    same = image is not None and target.dimensions in ((), image.GetDimensions())
    return same and all(one is None or one.GetScene() is slicer.mrmlScene for one in nodes)


def check(target: Target) -> None:
    """Raises InputProblem where a target is gone, or has other voxels than its result."""
    if not there(target):
        raise geometry.InputProblem(
            _("{name} was removed from the scene or resampled since the run; press Apply again.").format(
                name=target.title
            )
        )


def setAmount(report: dict, count: int, volumeNode: slicer.vtkMRMLVolumeNode) -> None:
    """Set the number of voxels of a structure that was changed by hand; how far it has moved is unknown then."""
    report["status"] = "corrected"
    if "pixels" in report:
        report["pixels"], report["centroid_shift_pixels"] = count, float("nan")
        return
    voxel = abs(np.linalg.det(geometry.ijkToWorld(volumeNode)[:3, :3]))
    report["volume_cm3"], report["centroid_shift_mm"] = count * voxel / 1000, float("nan")


def setSlice(report: dict, event: dict, accepted: bool) -> None:
    """Put the worker's report of a slice that was run again into the report of its structure."""
    known = next((one for one in report["slices"] if one["index"] == event["index"]), None)
    if known is None:
        known = {"index": event["index"]}
        report["slices"].append(known)
    known.update(accepted=accepted, interpolated=False, touches_limit=False, confidence=event["confidence"])
    known.update(points=event["points"], labels=event["labels"], clicked=event.get("clicked", []))


def amounts(report: dict) -> tuple:
    """Amounts in the target and in the prior: in cm³, or on a frame of a video in pixels."""
    if "pixels" in report:
        return report["pixels"], report["prior_pixels"]
    return report["volume_cm3"], report["prior_volume_cm3"]


def bringUp(target: Target) -> slicer.vtkMRMLVolumeNode:
    """The volume of a target as it can be seen: of a sequence, its browser is moved to the item first."""
    check(target)
    if target.browserNode is None:
        return target.volumeNode
    target.browserNode.SetSelectedItemNumber(target.item)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(target.browserNode)
    return target.browserNode.GetProxyNode(target.sequenceNode)
