"""Whether agents can be used on images, and why not: one sentence for the Apply button and for scripts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import slicer.util
import vtk
from AdaptSAMLib import geometry, images, rois, segments
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _


def check(targets: Sequence[slicer.vtkMRMLNode], agents: Sequence[dict]) -> None:
    """Raises InputProblem where a run cannot start. ``agents`` are descriptions, as the worker gives them."""
    message = _lack(targets, agents)
    if message:
        raise InputProblem(message)
    for node in map(images.firstImage, targets):
        images.check(node)
        for agent in agents:
            if agent["shown"]["color"] != geometry.isColor(node):
                kind = _("colour pictures") if agent["shown"]["color"] else _("gray values")
                raise InputProblem(
                    _("The agent for {name} was trained on {kind}, and {image} has others.").format(
                        name=agent["target"]["name"], kind=kind, image=node.GetName()
                    )
                )


def _lack(targets: Sequence[slicer.vtkMRMLNode], agents: Sequence[dict]) -> str:
    """Sentence about an input that is missing or wrong; "" where nothing is."""
    if not targets:
        return _("Tick at least one image.")
    if not agents:
        return _("Tick at least one structure to find.")
    for agent in agents:
        if agent["problem"]:
            return agent["problem"]
    names = [agent["target"]["name"] for agent in agents]
    for name in names:
        if names.count(name) > 1:
            return _("Two agents find {name}; tick one of them.").format(name=name)
    return ""


def question(targets: Sequence[slicer.vtkMRMLNode], agents: Sequence[dict]) -> str:
    """Question for the user before a run, or ""."""
    for node in targets:
        image = images.firstImage(node)
        here = images.modality(image)
        for agent in agents:
            trained = agent["shown"]["modality"]
            if trained and here and trained.upper() != here.upper():
                return _(
                    "The agent for {name} was trained on {trained}, and {image} is {here}. Use it all the same?"
                ).format(name=agent["target"]["name"], trained=trained, image=node.GetName(), here=here)
    return ""


def checkTraining(name: str, examples: Sequence[tuple], folder: str | None, branch: str, text: str) -> None:
    """Raises InputProblem where a training cannot start. ``examples`` are tuples of volume, segmentation, segment ID."""
    if not examples and not folder:
        raise InputProblem(_("Tick at least one image with the structure outlined, or choose a folder."))
    if not name.strip():
        raise InputProblem(_("Give the agent a name, as the structure that it will find."))
    if branch == "explicit" and not text.strip():
        raise InputProblem(_("Say what CLIP shall look for, or take the implicit branch."))
    for volume, _segmentation, _segmentId in examples:
        images.check(volume)
        if geometry.isColor(volume) != geometry.isColor(examples[0][0]):
            raise InputProblem(_("Images to learn from must all be in colour or all in gray values."))


def outlined() -> dict:
    """Outlined segments by their names: tuples of volume, segmentation and segment ID.

    A segmentation lies on the volume that it refers to; one that refers to none may lie on any. Targets and organs come
    first, and what no agent can learn to see (couch, isodoses) last.
    """
    found: dict = {}
    last: set = set()
    volumes = images.nodesOf(images.VOLUMES)
    for node in images.nodesOf(["vtkMRMLSegmentationNode"]):
        own = node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
        kinds = rois.kinds(node)
        for segmentId, name in segments.segmentNames(node).items():
            last |= {name} if kinds[segmentId] == rois.OTHER else set()
            for volume in [own] if own in volumes else volumes:
                found.setdefault(name, []).append((volume, node, segmentId))
    return dict(sorted(found.items(), key=lambda one: one[0] in last))


def examples(
    volumes: Sequence[slicer.vtkMRMLVolumeNode], segmentations: Sequence[slicer.vtkMRMLSegmentationNode], segment: str
) -> list:
    """Volumes with the segment of that name in the segmentation of each."""
    if len(volumes) != len(segmentations):
        raise InputProblem(
            _("There are {volumes} volumes and {segmentations} segmentations; give each volume its own.").format(
                volumes=len(volumes), segmentations=len(segmentations)
            )
        )
    found = []
    for volume, node in zip(volumes, segmentations):
        byName = {name: segmentId for segmentId, name in segments.segmentNames(node).items()}
        if segment not in byName:
            raise InputProblem(
                _("{node} has no segment {name}; it has {known}.").format(
                    node=node.GetName(), name=segment, known=", ".join(byName) or _("none")
                )
            )
        found.append((volume, node, byName[segment]))
    return found


def box(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLVolumeNode) -> list:
    """The 4×4 matrix from voxels (i, j, k, 1) to the ROI's own axes, along which it reaches from -1 to 1."""
    size = roiNode.GetSize()
    if min(size) <= 0:
        raise InputProblem(
            _("The region {name} has no size; draw it again, or choose none.").format(name=roiNode.GetName())
        )
    toWorld = vtk.vtkMatrix4x4()
    toWorld.DeepCopy(roiNode.GetObjectToWorldMatrix())
    toRoi = np.linalg.inv(slicer.util.arrayFromVTKMatrix(toWorld)) @ geometry.ijkToWorld(volumeNode)
    return (np.diag([2 / size[0], 2 / size[1], 2 / size[2], 1.0]) @ toRoi).tolist()
