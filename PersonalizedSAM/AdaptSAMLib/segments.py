"""Segments to masks on a volume's voxels, and masks to segments; no temporary node comes into the scene."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from AdaptSAMLib import geometry
from AdaptSAMLib.geometry import InputProblem

LABELMAP = "Binary labelmap"
CONTOURS = "Planar contour"
SURFACE = "Closed surface"


def segmentNames(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, str]:
    """Segment IDs to names; a name that comes twice gets a number, so that names stand for segments."""
    segmentation = segmentationNode.GetSegmentation()
    names: dict[str, str] = {}
    for index in range(segmentation.GetNumberOfSegments()):
        name = base = segmentation.GetNthSegment(index).GetName() or _("Segment")
        number = 2
        while name in names.values():
            name, number = f"{base} ({number})", number + 1
        names[segmentation.GetNthSegmentID(index)] = name
    return names


def terminology(segment: slicer.vtkSegment) -> str:
    """The standard term of a segment as Slicer writes it; "" where it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), value) else ""


def readMask(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, volumeNode: slicer.vtkMRMLVolumeNode
) -> np.ndarray:
    """A segment on the voxels of a volume, bool (K, J, I): exact on one grid, the nearest voxel otherwise.

    Segments of any source representation, of another geometry, and under other transforms than the volume are read;
    neither node is changed.
    """
    reading = readingMask(segmentationNode, segmentId, volumeNode)
    while True:
        try:
            next(reading)
        except StopIteration as read:
            return read.value


def readingMask(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, volumeNode: slicer.vtkMRMLVolumeNode
) -> Generator[None, None, np.ndarray]:
    """The same as a generator of short steps, a slice each, which returns the mask."""
    image = _labelmap(segmentationNode, segmentId, volumeNode)
    yield
    shape = tuple(reversed(volumeNode.GetImageData().GetDimensions()))
    mask = np.zeros(shape, bool)
    extent = image.GetExtent()
    if extent[0] > extent[1] or image.GetPointData().GetScalars() is None:
        return mask
    lengths = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    labels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(lengths)
    toWorld = geometry._withParent(segmentationNode, geometry.imageMatrix(image), image.GetDimensions())
    toLabels = np.linalg.inv(toWorld) @ geometry.ijkToWorld(volumeNode)
    yield from _paste(labels, (extent[0], extent[2], extent[4]), toLabels, mask)
    return mask


def _paste(labels: np.ndarray, first: Sequence[int], toLabels: np.ndarray, mask: np.ndarray) -> Iterator:
    """Sample labels, whose voxel (0, 0, 0) is ``first``, through the matrix from the mask's voxels to theirs, in steps."""
    whole = np.rint(toLabels)
    if np.abs(toLabels - whole).max() < 1e-3 and np.array_equal(whole[:3, :3], np.eye(3)):
        low = (np.array(first) - whole[:3, 3]).astype(int)[::-1]
        target, source = [], []
        for start, length, size in zip(low, labels.shape, mask.shape):
            begin, end = max(0, start), max(0, min(size, start + length))
            target.append(slice(begin, max(begin, end)))
            source.append(slice(begin - start, max(begin, end) - start))
        for filled, drawn in zip(mask[tuple(target)], labels[tuple(source)]):
            np.greater(drawn, 0, out=filled)
            yield
        return
    inner, low = cropped(labels)
    if not inner.size:
        return
    yield
    low = np.array(low) + first
    high = low + inner.shape[::-1] - 1
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    back = np.linalg.inv(toLabels)
    seen = corners @ back[:3, :3].T + back[:3, 3]
    begin = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 1, 0)
    end = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2, mask.shape[::-1])
    if (end <= begin).any():
        return
    i, j = np.arange(begin[0], end[0]), np.arange(begin[1], end[1])[:, None]
    for k in range(begin[2], end[2]):
        inside, index = True, []
        for axis in range(3):
            column, row, slice_, start = toLabels[axis]
            at = np.floor(i * column + j * row + (k * slice_ + start + 0.5)).astype(np.int32) - first[axis]
            inside = inside & (at >= 0) & (at < labels.shape[2 - axis])
            index.append(np.clip(at, 0, labels.shape[2 - axis] - 1))
        mask[k, begin[1] : end[1], begin[0] : end[0]] = inside & (labels[index[2], index[1], index[0]] > 0)
        yield


def _labelmap(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, volumeNode: slicer.vtkMRMLVolumeNode
) -> slicer.vtkOrientedImageData:
    """A segment as an image of its own; made in a copy where the segmentation holds something else."""
    segmentation = segmentationNode.GetSegmentation()
    image = slicer.vtkOrientedImageData()
    if segmentation.GetSegment(segmentId).GetRepresentation(LABELMAP) is not None:
        segmentationNode.GetBinaryLabelmapRepresentation(segmentId, image)
        return image
    source = segmentation.GetSourceRepresentationName()
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(source)
    copy.CopySegmentFromSegmentation(segmentation, segmentId)
    local = np.linalg.inv(_toWorld(segmentationNode)) @ geometry.ijkToWorld(volumeNode)
    reference = slicer.vtkOrientedImageData()
    reference.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(local))
    dimensions = volumeNode.GetImageData().GetDimensions()
    reference.SetExtent(0, dimensions[0] - 1, 0, dimensions[1] - 1, 0, dimensions[2] - 1)
    serialized = slicer.vtkSegmentationConverter.SerializeImageGeometry(reference)
    copy.SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(), serialized)
    if not copy.CreateRepresentation(LABELMAP, True):
        hint = (
            _("install the SlicerRT extension, which converts them")
            if source == CONTOURS
            else _("convert it in the Segmentations module")
        )
        raise InputProblem(
            _("The segment {name} is stored as {kind}, which cannot be turned into voxels here; {hint}.").format(
                name=segmentation.GetSegment(segmentId).GetName(), kind=source or _("nothing"), hint=hint
            )
        )
    image.DeepCopy(copy.GetSegment(copy.GetNthSegmentID(0)).GetRepresentation(LABELMAP))
    return image


def _toWorld(segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray:
    return geometry._withParent(segmentationNode, np.eye(4), (100, 100, 100))


def orientedImage(
    inner: np.ndarray,
    first: Sequence[int],
    volumeNode: slicer.vtkMRMLVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> slicer.vtkOrientedImageData:
    """A bool array (k, j, i), whose first voxel is ``first`` (i, j, k) of the volume, as a labelmap on its grid.

    It is made for the segmentation, which may lie under another transform than the volume.
    """
    image = slicer.vtkOrientedImageData()
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        local = np.linalg.inv(_toWorld(segmentationNode)) @ geometry.ijkToWorld(volumeNode)
        matrix = slicer.util.vtkMatrixFromArray(local)
    image.SetImageToWorldMatrix(matrix)
    extent = []
    for start, length in zip(first, reversed(inner.shape)):
        extent += [int(start), int(start) + length - 1]
    if inner.size == 0:
        extent = [0, -1, 0, -1, 0, -1]
    image.SetExtent(*extent)
    scalars = numpy_support.numpy_to_vtk(
        np.ascontiguousarray(inner, np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR
    )
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def newSegmentation(
    volumeNode: slicer.vtkMRMLVolumeNode, name: str, inScene: bool = True
) -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation that lies on a volume, and moves with it."""
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name) if inScene else name)
    if inScene:
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    return node


def setSegment(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    prototype: slicer.vtkSegment | None,
    inner: np.ndarray,
    first: Sequence[int],
    volumeNode: slicer.vtkMRMLVolumeNode,
    surfaces: bool = True,
) -> None:
    """Put a mask into a segment that has the prototype's name, colour, terminology and tags; made if missing.

    Every segment has a labelmap of its own, so that segments which overlap do not take voxels from each other. Surfaces and
    what else is made from labelmaps follow, and those of the other segments stay; without ``surfaces``, its own stays as it was.
    """
    segmentation = segmentationNode.GetSegmentation()
    image = orientedImage(inner, first, volumeNode, segmentationNode)
    segment = segmentation.GetSegment(segmentId)
    if segment is None:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(prototype)
        status = slicer.vtkSlicerSegmentationsModuleLogic
        status.SetSegmentStatus(segment, status.InProgress)  # the prototype's may be "completed", and this is automatic
        segment.SetLabelValue(1)
        segment.AddRepresentation(LABELMAP, image)
        segmentation.AddSegment(segment, segmentId)
        return
    modifying = segmentationNode.StartModify()
    segment.SetLabelValue(1)  # saving a scene packs segments into one labelmap, with values of their own
    segment.AddRepresentation(LABELMAP, image)
    for made in (SURFACE, CONTOURS) if surfaces else ():
        if segment.GetRepresentation(made) is not None:
            segment.RemoveRepresentation(made)
            segmentation.CreateRepresentation(made)  # only of segments that lack it
    segment.Modified()
    segmentationNode.EndModify(modifying)


def setStatus(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, status: str) -> None:
    """Set the status of a segment in Slicer's segment table: a name of vtkSlicerSegmentationsModuleLogic, "InProgress".

    What a person has completed stays so.
    """
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is not None and logic.GetSegmentStatus(segment) not in (logic.Completed, getattr(logic, status)):
        logic.SetSegmentStatus(segment, getattr(logic, status))


class GrowingMask:
    """A mask that comes slice by slice; what is kept and shown of it is as large as the structure, not as the volume."""

    def __init__(self) -> None:
        self._slices: dict = {}

    def put(self, axis: int, index: int, inner: np.ndarray, where: Sequence[slice]) -> None:
        """A slice anew: ``inner`` (bool) lies at ``where``, two slices of the axes that are left, and nothing around it.

        All slices of a mask are of one ``axis``.
        """
        place = [*where[:axis], slice(index, index + 1), *where[axis:]]
        self._slices.pop(index, None)
        if inner.size:
            self._slices[index] = (np.expand_dims(inner, axis), place)

    def box(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """The part of the mask that is not empty, and its first voxel (i, j, k)."""
        if not self._slices:
            return np.zeros((0, 0, 0), bool), (0, 0, 0)
        places = [place for _inner, place in self._slices.values()]
        low = [min(place[axis].start for place in places) for axis in range(3)]
        high = [max(place[axis].stop for place in places) for axis in range(3)]
        part = np.zeros([stop - start for start, stop in zip(low, high)], bool)
        for inner, place in self._slices.values():
            part[tuple(slice(one.start - start, one.stop - start) for one, start in zip(place, low))] = inner
        return part, tuple(low[::-1])


def replaceSlice(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    volumeNode: slicer.vtkMRMLVolumeNode,
    axis: int,
    index: int,
    mask: np.ndarray,
) -> np.ndarray:
    """Put one slice into a segment; returns what was there. ``axis`` counts 0 for k, 1 for j, 2 for i."""
    whole = readMask(segmentationNode, segmentId, volumeNode)
    where = tuple(index if one == axis else slice(None) for one in range(3))
    before = whole[where].copy()
    whole[where] = mask
    inner, first = cropped(whole)
    setSegment(segmentationNode, segmentId, None, inner, first, volumeNode)
    return before


def cropped(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The part of a mask (K, J, I) that is not empty, and its first voxel (i, j, k)."""
    if not mask.any():
        return np.zeros((0, 0, 0), bool), (0, 0, 0)
    box = []
    for axis in range(3):
        there = np.flatnonzero(mask.any(axis=tuple(one for one in range(3) if one != axis)))
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return mask[tuple(box)], (box[2].start, box[1].start, box[0].start)
