"""Conversion of MRML's volumes in RAS, with their parent transforms, to arrays and grids in LPS, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: A transform counts as linear over a volume if it is so to this part of a voxel.
LINEAR_TO = 0.05


class InputProblem(Exception):
    """Something that the user chose cannot be used. The message is one sentence: what is wrong and what to do."""


def ijkToWorld(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """The 4×4 matrix from voxels (i, j, k, 1) to RAS millimetres of the world, parent transforms included."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    extent = volumeNode.GetImageData().GetDimensions() if volumeNode.GetImageData() else (1, 1, 1)
    return _withParent(volumeNode, slicer.util.arrayFromVTKMatrix(matrix), extent)


def _withParent(node: slicer.vtkMRMLTransformableNode, local: np.ndarray, dimensions: Sequence[int]) -> np.ndarray:
    """Followed by the node's parent transform, where that is linear over a grid of these dimensions (i, j, k)."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return local
    if parent.IsTransformToWorldLinear():
        toWorld = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(toWorld)
        return slicer.util.arrayFromVTKMatrix(toWorld) @ local
    return _fitted(parent, local, dimensions, node.GetName())


def _fitted(parent: slicer.vtkMRMLTransformNode, local: np.ndarray, dimensions: Sequence[int], name: str) -> np.ndarray:
    """The matrix that does the same as a transform of any kind: what loading a tilted gantry makes is one."""
    general = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(general)
    axes = [np.linspace(0, max(1, length - 1), 5) for length in dimensions]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    homogeneous = np.column_stack([lattice, np.ones(len(lattice))])
    moved = np.array([general.TransformPoint(point) for point in (homogeneous @ local.T)[:, :3]])
    solution = np.linalg.lstsq(homogeneous, moved, rcond=None)[0]
    voxel = np.linalg.norm(local[:3, :3], axis=0).min()
    if np.abs(homogeneous @ solution - moved).max() > LINEAR_TO * voxel:
        raise InputProblem(
            _(
                "{name} is under a non-linear transform; harden the transform in the Transforms module, or take the node out of it."
            ).format(name=name)
        )
    return np.vstack([solution.T, [0.0, 0.0, 0.0, 1.0]])


def grid(volumeNode: slicer.vtkMRMLVolumeNode) -> dict:
    """The volume's grid in the world as `adaptsam` describes it: shape (K, J, I), spacing, LPS origin and direction."""
    matrix = RAS_TO_LPS @ ijkToWorld(volumeNode)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if spacing.min() <= 0 or not np.isfinite(matrix).all():
        raise InputProblem(
            _("{name} has no valid spacing; check its geometry in the Volumes module.").format(
                name=volumeNode.GetName()
            )
        )
    direction = matrix[:3, :3] / spacing
    if abs(direction[:, 0] @ direction[:, 1]) > 5e-3:
        raise InputProblem(
            _("{name} is sheared within its slices by its transform; take it out of the transform.").format(
                name=volumeNode.GetName()
            )
        )
    dimensions = volumeNode.GetImageData().GetDimensions()
    return {
        "shape": list(reversed(dimensions)),
        "spacing": spacing.tolist(),
        "origin": matrix[:3, 3].tolist(),
        "direction": direction.ravel().tolist(),
    }


def pixels(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """The volume's array, (K, J, I) or (K, J, I, 3) for colour; no copy, so that it must only be read."""
    name = volumeNode.GetName()
    if volumeNode.GetImageData() is None or 0 in volumeNode.GetImageData().GetDimensions():
        raise InputProblem(_("{name} holds no image; load it again, or choose another volume.").format(name=name))
    array = slicer.util.arrayFromVolume(volumeNode)
    if array.ndim == 3:
        return array
    if array.ndim == 4 and array.shape[3] in (3, 4) and array.dtype == np.uint8:
        return array[..., :3]
    raise InputProblem(
        _("{name} has {count} values per voxel; only gray images and colour images of 8 bits can be used.").format(
            name=name, count=array.shape[-1]
        )
    )


def isColor(volumeNode: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether it is a picture or a video frame."""
    image = volumeNode.GetImageData()
    return image is not None and image.GetNumberOfScalarComponents() > 1


def worldOfVoxel(volumeNode: slicer.vtkMRMLVolumeNode, ijk: Sequence[float]) -> np.ndarray:
    """RAS millimetres of the world of voxels (..., 3)."""
    matrix = ijkToWorld(volumeNode)
    return np.asarray(ijk, float) @ matrix[:3, :3].T + matrix[:3, 3]


def voxelOfWorld(volumeNode: slicer.vtkMRMLVolumeNode, ras: Sequence[float]) -> np.ndarray:
    """The inverse of :func:`worldOfVoxel`, not rounded."""
    matrix = np.linalg.inv(ijkToWorld(volumeNode))
    return np.asarray(ras, float) @ matrix[:3, :3].T + matrix[:3, 3]


def imageMatrix(orientedImage: slicer.vtkOrientedImageData) -> np.ndarray:
    """Matrix from voxels (i, j, k, 1) of a vtkOrientedImageData to its segmentation's own RAS."""
    matrix = vtk.vtkMatrix4x4()
    orientedImage.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
