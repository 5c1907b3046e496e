"""Slicer's own slice view, drawn off screen: its slice logic and displayable managers on a VTK window that nobody sees.

What Slicer draws (image, outlines of segments, markups) is drawn by the same classes from the same nodes. Only the window
around it, qMRMLSliceWidget, is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)


class SliceView:
    """A slice view of the scene.

    Args:
        applicationLogic: vtkSlicerApplicationLogic with the scene.
        name: of the view; "Red", "Green" or "Yellow" as in Slicer's layouts.
        orientation: "Axial", "Sagittal" or "Coronal".
        size: pixels.
    """

    def __init__(self, applicationLogic: Any, name: str = "Red", orientation: str = "Axial", size: int = 480) -> None:
        import slicer

        self.window, self._renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(size, size)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self.window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._interactor.Initialize()
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(applicationLogic)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(applicationLogic)
        applicationLogic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self._group.SetMRMLDisplayableNode(self.node)
        self._style.SetSliceLogic(self.logic)
        self._style.SetDisplayableManagers(self._group)
        self._style.SetInteractor(self._interactor)
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(self._image)
        self._size = size

    def show(self, volumeNode: Any) -> None:
        """The whole slice of a volume, in the volume's own planes."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
        self.logic.ResizeSliceNode(self._size, self._size)
        self.node.RotateToVolumePlane(volumeNode)
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def zoom(self, factor: float) -> None:
        """Around what is in the middle."""
        width, height, depth = self.node.GetFieldOfView()
        self.node.SetFieldOfView(width / factor, height / factor, depth)

    def click(self, ras: Any) -> None:
        """The left mouse button at a place of the world, as Slicer's interactor style and markups take it."""
        import numpy as np

        toView = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), toView)
        x, y = (round(value) for value in toView.MultiplyPoint([*np.asarray(ras, float), 1.0])[:2])
        for event in (
            "EnterEvent",
            "MouseMoveEvent",
            "MouseMoveEvent",
            "LeftButtonPressEvent",
            "LeftButtonReleaseEvent",
        ):
            self._interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
            self._interactor.InvokeEvent(event)

    def picture(self) -> Any:
        """What the view shows, uint8 (height, width, 3)."""
        self._image.GetMapper().SetInputConnection(self.logic.GetImageDataConnection())
        self._interactor.Render()
        grabbed = vtk.vtkWindowToImageFilter()
        grabbed.SetInput(self.window)
        grabbed.ReadFrontBufferOff()
        grabbed.Update()
        image = grabbed.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1]

    def save(self, path: Path) -> None:
        from PIL import Image

        Image.fromarray(self.picture()).save(path)
