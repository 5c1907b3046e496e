"""Display of results beside the contours that they came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import slicer.util

#: Of the outlines of contours that a result was made from; results are filled.
PALE = 0.4


def pale(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Callable[[], None]:
    """Contours as a pale outline without filling; returns what shows them as they were."""
    display = segmentationNode.GetDisplayNode()
    if display is None:
        return lambda: None
    before = display.GetVisibility2DFill(), display.GetOpacity2DOutline()
    display.SetVisibility2DFill(False)
    display.SetOpacity2DOutline(PALE)

    def restore() -> None:
        if display.GetScene() is slicer.mrmlScene:
            display.SetVisibility2DFill(before[0])
            display.SetOpacity2DOutline(before[1])

    return restore


def showSurfaces(segmentationNode: slicer.vtkMRMLSegmentationNode, shown: bool) -> None:
    """A segmentation in the 3D views, or not; its surfaces are made where there are none yet, and follow what changes."""
    if shown:
        segmentationNode.CreateClosedSurfaceRepresentation()
    segmentationNode.GetDisplayNode().SetVisibility3D(shown)
    if shown:
        slicer.util.resetThreeDViews()


class Comparison:
    """Two linked views side by side: an image with its result in red, the contoured image with its contours in yellow.

    Args:
        prior, contours: volume and segmentation node.
        image, result: of the target, as they are shown.
    """

    def __init__(
        self,
        prior: slicer.vtkMRMLVolumeNode,
        contours: slicer.vtkMRMLSegmentationNode,
        image: slicer.vtkMRMLVolumeNode,
        result: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self._undo: list = []
        self._arrange()
        red, yellow = self._views()
        if red is None or yellow is None:
            return
        self._turn(yellow[0], red[0])
        for (_node, composite), volume in ((red, image), (yellow, prior)):
            self._set(composite, "BackgroundVolumeID", volume.GetID())
            self._set(composite, "LinkedControl", True)
            self._set(composite, "HotLinkedControl", True)
        self._only(contours, [yellow[0]])
        self._only(result, [one for one in self._all() if one is not yellow[0]])

    def end(self) -> None:
        """The views as they were before."""
        for step in reversed(self._undo):
            step()
        self._undo.clear()

    @staticmethod
    def _views() -> list:
        """The red and the yellow slice view, each with its composite node; None where a layout has it not."""
        found = []
        for name in ("Red", "Yellow"):
            nodes = [slicer.mrmlScene.GetSingletonNode(name, f"vtkMRMLSlice{kind}Node") for kind in ("", "Composite")]
            found.append(nodes if None not in nodes else None)
        return found

    @staticmethod
    def _all() -> list:
        scene, kinds = slicer.mrmlScene, ("vtkMRMLSliceNode", "vtkMRMLViewNode")
        return [scene.GetNthNodeByClass(n, one) for one in kinds for n in range(scene.GetNumberOfNodesByClass(one))]

    def _arrange(self) -> None:
        if not slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLLayoutNode"):
            return
        layout = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLLayoutNode")
        self._set(layout, "ViewArrangement", slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)

    def _set(self, node: slicer.vtkMRMLNode, what: str, value: Any) -> None:
        """A property of a node, and how to take it back."""
        before = getattr(node, f"Get{what}")()
        getattr(node, f"Set{what}")(value)
        self._undo.append(lambda: getattr(node, f"Set{what}")(before))

    def _turn(self, view: slicer.vtkMRMLSliceNode, like: slicer.vtkMRMLSliceNode) -> None:
        """A view to the plane of another one."""
        before = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        self._place(view, slicer.util.arrayFromVTKMatrix(like.GetSliceToRAS()))
        self._undo.append(lambda: self._place(view, before))

    @staticmethod
    def _place(view: slicer.vtkMRMLSliceNode, plane: np.ndarray) -> None:
        view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(plane))
        view.UpdateMatrices()

    def _only(self, segmentationNode: slicer.vtkMRMLSegmentationNode, views: list) -> None:
        """A segmentation in some views alone."""
        display = segmentationNode.GetDisplayNode()
        if display is None:
            return
        before = [display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs())]
        self._restrict(display, [one.GetID() for one in views])
        self._undo.append(lambda: self._restrict(display, before))

    @staticmethod
    def _restrict(display: slicer.vtkMRMLDisplayNode, ids: list) -> None:
        if display.GetScene() is not slicer.mrmlScene:
            return
        modifying = display.StartModify()
        display.RemoveAllViewNodeIDs()
        for one in ids:
            display.AddViewNodeID(one)
        display.EndModify(modifying)
