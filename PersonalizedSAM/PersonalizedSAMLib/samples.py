"""Sample data in Slicer's Sample Data module: synthetic, made by the worker, nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
import slicer.util
from AdaptSAMLib import geometry, packages, segments
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from slicer.i18n import tr as _

SAMPLES = {
    "PersonalizedSAMVisits": ("visits", "Phantom, two visits"),
    "PersonalizedSAMPhases": ("phases", "Phantom, ten phases"),
    "PersonalizedSAMEndoscopy": ("endoscopy", "Phantom endoscopy"),
}


def register() -> None:
    """Called when Slicer has started."""
    import SampleData

    icons = os.path.join(os.path.dirname(os.path.dirname(__file__)), "Resources", "Icons")
    for name in SAMPLES:
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="PersonalizedSAM",
            sampleName=name,
            uris=[],
            fileNames=[],
            customDownloader=download,
            thumbnailFileName=os.path.join(icons, f"{name}.png"),
        )


def download(source: Any) -> list:
    """Answer a click in Sample Data; a failure is shown, which Sample Data does not do itself."""
    with slicer.util.tryWithErrorDisplay(_("The sample could not be made.")):
        return load(source.sampleName)


def load(sampleName: str) -> list:
    """Make a sample and put it into the scene; returns its nodes, the prior's volume and segmentation first."""
    if packages.lacking():
        raise InputProblem(_("Open PersonalizedSAM and install its Python packages first: they make the sample."))
    engine, sample = Engine.shared(), _Sample()
    engine.waitFor(engine.request("sample", sample.take, name=SAMPLES[sampleName][0]))
    if sample.problem:
        raise InputProblem(sample.problem)
    return sample.finish()


class _Sample:
    """Collects the images of a sample: volumes of the scene, or the items of one sequence."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.problem = ""
        self.contours = None
        self.sequence = None

    def take(self, event: dict) -> None:
        if event["event"] in ("error", "lost"):
            self.problem = event["message"]
        if event["event"] != "image":
            return
        array = np.array(Engine.shared().array(event["array"]))
        kind = "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode"
        title = event["title"] if not event["label"] else f"{event['title']} {event['label']}"
        volume = slicer.util.addVolumeFromArray(array, ijkToRAS=_matrix(event), name=title, nodeClassName=kind)
        volume.CreateDefaultDisplayNodes()
        if event["structures"]:
            self.contours = event["structures"]
        if event["label"]:
            self._store(volume, event)
        else:
            self.nodes.append(volume)
            if event["structures"]:
                self.nodes.append(_contours(volume, event["structures"]))

    def _store(self, volume: slicer.vtkMRMLVolumeNode, event: dict) -> None:
        if self.sequence is None:
            self.sequence = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(event["title"])
            )
            self.sequence.SetIndexName("phase" if volume.IsA("vtkMRMLScalarVolumeNode") else "frame")
            self.sequence.SetIndexUnit("%" if volume.IsA("vtkMRMLScalarVolumeNode") else "")
        self.sequence.SetDataNodeAtValue(volume, event["label"])
        display = volume.GetDisplayNode()
        slicer.mrmlScene.RemoveNode(volume)
        if display is not None:
            slicer.mrmlScene.RemoveNode(display)

    def finish(self) -> list:
        if self.sequence is None:
            return self.nodes
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", self.sequence.GetName() + " browser")
        browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        volume = browser.GetProxyNode(self.sequence)
        return [volume, _contours(volume, self.contours), self.sequence, browser]


def _matrix(event: dict) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(event["direction"], (3, 3)) * np.asarray(event["spacing"])
    matrix[:3, 3] = event["origin"]
    return geometry.RAS_TO_LPS @ matrix


def _contours(volume: slicer.vtkMRMLVolumeNode, structures: Iterable[dict]) -> slicer.vtkMRMLSegmentationNode:
    from adaptsam.worker import wire_format as wire

    node = segments.newSegmentation(volume, volume.GetName() + " contours")
    for number, one in enumerate(structures):
        prototype = slicer.vtkSegment()
        prototype.SetName(one["name"])
        prototype.SetColor(*(value / 255 for value in one["color"]))
        inner, where = wire.unpack_box(one["mask"])
        segments.setSegment(
            node, f"segment-{number + 1}", prototype, inner, [part.start for part in reversed(where)], volume
        )
    return node
