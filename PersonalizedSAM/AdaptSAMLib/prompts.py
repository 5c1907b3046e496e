"""Prompts of a slice as markups of the scene, and markups as prompts. A slice is an index along an axis, 0 for k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from AdaptSAMLib import geometry

POSITIVE, NEGATIVE = (0.2, 0.9, 0.2), (0.95, 0.2, 0.2)


def newList(title: str, selected: Sequence[float], unselected: Sequence[float]) -> slicer.vtkMRMLMarkupsFiducialNode:
    """An empty list of markups, with the colours of selected and other points: in slice views only, and saved with no scene."""
    scene = slicer.mrmlScene
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", scene.GenerateUniqueName(title))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*selected)
    display.SetColor(*unselected)
    display.SetGlyphScale(2.0)
    display.SetVisibility3D(False)
    for one in (node, display):
        one.SetSaveWithScene(False)
    return node


def place(
    node: slicer.vtkMRMLMarkupsNode, volumeNode: slicer.vtkMRMLVolumeNode, axis: int, index: int, point: Sequence[float]
) -> tuple[int, tuple]:
    """Add a point (voxels of the slice, faster axis first) to a list; returns its number and place in the world."""
    voxel = np.insert(np.asarray(point, float), 2 - axis, index)
    ras = tuple(float(one) for one in geometry.worldOfVoxel(volumeNode, voxel))
    return node.AddControlPointWorld(*ras), ras


def onSlice(node: slicer.vtkMRMLMarkupsNode, volumeNode: slicer.vtkMRMLVolumeNode, axis: int, index: int) -> list:
    """The points of a list that lie on a slice: numbers in the list, voxels of the slice, places in the world."""
    found = []
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) != node.PositionDefined:
            continue  # the mouse holds it, and has not placed it yet
        ras = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(number, ras)
        voxel = geometry.voxelOfWorld(volumeNode, ras)
        if round(float(voxel[2 - axis])) == index:
            found.append((number, np.delete(voxel, 2 - axis), ras))
    return found
