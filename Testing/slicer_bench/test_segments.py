"""Segments and volumes to masks and grids, whatever their orientations, transforms and representations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from thorax import thorax


def randomMatrix(rng: np.random.Generator) -> np.ndarray:
    """A 4×4 from voxels to RAS: any rotation, permutation, flip, spacing and origin."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if rng.random() < 0.5:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    matrix = np.eye(4)
    matrix[:3, :3] = turn * rng.uniform(0.6, 5.0, 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def addVolume(matrix: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, name: str = "v") -> Any:
    import slicer

    return slicer.util.addVolumeFromArray(rng.integers(-1000, 900, shape).astype(np.int16), ijkToRAS=matrix, name=name)


def addTransform(matrix: np.ndarray) -> Any:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "t")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def _named() -> Any:
    """Slicer's export crashes on a segment without a name."""
    import slicer

    segment = slicer.vtkSegment()
    segment.SetName("a")
    return segment


def rigid(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix[:3, 3] = rng.uniform(-50, 50, 3)
    return matrix


@pytest.mark.parametrize("seed", range(50))
def test_a_result_lies_where_its_mask_says_whatever_the_grid_and_the_transforms(scene: Any, seed: int) -> None:
    """Written as the worker's box, read back by Slicer's own export, and placed in the world as the grid places it."""
    import slicer
    from AdaptSAMLib import geometry, segments

    from adaptsam.image.volume import Geometry

    rng = np.random.default_rng(seed)
    volume = addVolume(randomMatrix(rng), (7, 9, 11), rng)
    if seed % 2:
        volume.SetAndObserveTransformNodeID(addTransform(rigid(rng)).GetID())
    mask = np.zeros((7, 9, 11), bool)
    mask[2:5, 3:8, 1:9] = rng.random((3, 5, 8)) > 0.4
    node = segments.newSegmentation(volume, "result")
    inner, first = segments.cropped(mask)
    segments.setSegment(node, "a", _named(), inner, first, volume)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "a", volume) > 0, mask)
    assert np.array_equal(segments.readMask(node, "a", volume), mask)

    described = geometry.grid(volume)
    grid = Geometry(
        tuple(described["shape"]),
        tuple(described["spacing"]),
        tuple(described["origin"]),
        tuple(described["direction"]),
    )
    k, j, i = np.argwhere(mask)[0]
    lps = grid.world(np.array([i, j, k]))
    expected = [0.0, 0.0, 0.0]
    local = slicer.util.arrayFromVTKMatrix(_ijkToRas(volume)) @ [i, j, k, 1.0]
    volume.TransformPointToWorld(list(local[:3]), expected)
    assert np.allclose(lps * [-1, -1, 1], expected, atol=1e-6)


def _ijkToRas(volume: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


@pytest.mark.parametrize("seed", range(10))
def test_a_segment_of_another_grid_and_transform_is_read_at_its_place_in_the_world(scene: Any, seed: int) -> None:
    from AdaptSAMLib import geometry, segments

    rng = np.random.default_rng(100 + seed)
    matrix = randomMatrix(rng)
    fine = addVolume(matrix, (20, 22, 24), rng, "fine")
    coarse_matrix = matrix @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarse_matrix[:3, 3] += matrix[:3, :3] @ [0.5, 0.5, 0.5]
    coarse = addVolume(coarse_matrix, (10, 11, 12), rng, "coarse")
    fine.SetAndObserveTransformNodeID(addTransform(rigid(rng)).GetID())
    coarse.SetAndObserveTransformNodeID(fine.GetTransformNodeID())
    mask = np.zeros((10, 11, 12), bool)
    mask[2:7, 3:8, 4:10] = True
    node = segments.newSegmentation(coarse, "on the coarse grid")
    inner, first = segments.cropped(mask)
    segments.setSegment(node, "a", _named(), inner, first, coarse)
    read = segments.readMask(node, "a", fine)
    assert np.array_equal(read, np.kron(mask, np.ones((2, 2, 2), bool)))
    assert len(list(segments.readingMask(node, "a", fine))) > 10, "slice by slice, so that the window stays free"
    at = geometry.voxelOfWorld(fine, geometry.worldOfVoxel(fine, [3.0, 4.0, 5.0]))
    assert np.allclose(at, [3, 4, 5])


def test_names_colours_terminology_ids_and_overlap_come_back(scene: Any) -> None:
    import slicer
    from AdaptSAMLib import segments

    rng = np.random.default_rng(0)
    volume = addVolume(randomMatrix(rng), (8, 9, 10), rng)
    prototype = slicer.vtkSegment()
    prototype.SetName("Lung Ø/~1")
    prototype.SetColor(0.25, 0.5, 0.75)
    entry = (
        "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^39607008^Lung~SCT^7771000^Left~~^^~^^"
    )
    prototype.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    prototype.SetTag("DicomRtImport.RoiNumber", "7")
    node = segments.newSegmentation(volume, "result")
    one, two = np.zeros((8, 9, 10), bool), np.zeros((8, 9, 10), bool)
    one[1:6, 1:6, 1:6], two[3:8, 3:8, 3:8] = True, True
    for segmentId, mask in (("Segment_7", one), ("Segment_8", two)):
        inner, first = segments.cropped(mask)
        segments.setSegment(node, segmentId, prototype, inner, first, volume)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Segment_7", volume) > 0, one)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Segment_8", volume) > 0, two)
    made = node.GetSegmentation().GetSegment("Segment_7")
    assert made.GetName() == "Lung Ø/~1"
    assert np.allclose(made.GetColor(), (0.25, 0.5, 0.75))
    text = "", ""
    text = [slicer.vtkSegment.GetTerminologyEntryTagName(), "DicomRtImport.RoiNumber"]
    values = [_tag(made, one) for one in text]
    assert values == [entry, "7"]
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    before = segments.replaceSlice(node, "Segment_7", volume, 0, 0, one[1])
    assert not before.any()
    assert np.array_equal(segments.readMask(node, "Segment_7", volume)[0], one[1])
    assert np.array_equal(segments.readMask(node, "Segment_8", volume), two)


def _tag(segment: Any, name: str) -> str:
    import vtk

    value = vtk.reference("")
    assert segment.GetTag(name, value)
    return str(value)


def test_a_closed_surface_is_read_as_voxels_and_stays_what_it_is(scene: Any) -> None:
    import slicer
    import vtk
    from AdaptSAMLib import segments

    volume = slicer.util.addVolumeFromArray(np.zeros((40, 40, 40), np.int16), name="v")
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(20, 20, 20)
    sphere.SetRadius(10)
    sphere.SetPhiResolution(40)
    sphere.SetThetaResolution(40)
    sphere.Update()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", [1, 0, 0], "ball")
    mask = segments.readMask(node, "ball", volume)
    assert abs(mask.sum() / (4 / 3 * np.pi * 1000) - 1) < 0.05
    assert mask[20, 20, 20]
    assert not node.GetSegmentation().GetSegment("ball").GetRepresentation("Binary labelmap")


def test_a_hidden_segment_is_read_as_any_other(scene: Any) -> None:
    from AdaptSAMLib import segments

    rng = np.random.default_rng(0)
    volume = addVolume(randomMatrix(rng), (6, 7, 8), rng)
    mask = rng.random((6, 7, 8)) > 0.5
    node = segments.newSegmentation(volume, "hidden")
    segments.setSegment(node, "a", _named(), *segments.cropped(mask), volume)
    node.GetDisplayNode().SetSegmentVisibility("a", False)
    node.SetDisplayVisibility(False)
    assert np.array_equal(segments.readMask(node, "a", volume), mask)
    assert not node.GetDisplayNode().GetSegmentVisibility("a"), "and stays hidden"


def test_planar_contours_without_their_converter_ask_for_slicerrt(scene: Any) -> None:
    import slicer
    import vtk
    from AdaptSAMLib import segments
    from AdaptSAMLib.geometry import InputProblem

    volume = slicer.util.addVolumeFromArray(np.zeros((10, 10, 10), np.int16), name="v")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    segment = slicer.vtkSegment()
    segment.SetName("GTV")
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().AddSegment(segment, "gtv")
    with pytest.raises(InputProblem, match="install the SlicerRT extension"):
        segments.readMask(node, "gtv", volume)


def test_a_non_linear_transform_that_is_linear_here_is_used_and_another_refused(scene: Any) -> None:
    import slicer
    import vtk
    from AdaptSAMLib import geometry
    from AdaptSAMLib.geometry import InputProblem

    volume = slicer.util.addVolumeFromArray(np.zeros((10, 20, 30), np.int16), name="tilted")
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    corners = np.array([[x, y, z] for x in (0, 30) for y in (0, 20) for z in (0, 10)], float)
    moved = corners + np.outer(corners[:, 2], [0, 0.3, 0])  # a gantry's tilt
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "acquisition")
    node.SetAndObserveTransformToParent(_spline(spline, corners, moved))
    volume.SetAndObserveTransformNodeID(node.GetID())
    direction = np.reshape(geometry.grid(volume)["direction"], (3, 3))
    assert np.allclose(direction[:, 2], np.array([0, -0.3, 1]) / np.hypot(1, 0.3), atol=1e-3)
    moved[3] += [6, 0, 0]
    bent = vtk.vtkThinPlateSplineTransform()
    bent.SetBasisToR()
    node.SetAndObserveTransformToParent(_spline(bent, corners, moved))
    with pytest.raises(InputProblem, match="non-linear transform"):
        geometry.grid(volume)


def _spline(spline: Any, source: np.ndarray, target: np.ndarray) -> Any:
    import vtk

    for points, setter in ((source, spline.SetSourceLandmarks), (target, spline.SetTargetLandmarks)):
        made = vtk.vtkPoints()
        for point in points:
            made.InsertNextPoint(*point)
        setter(made)
    return spline


def test_colour_is_read_without_its_alpha_and_other_vectors_are_refused(scene: Any) -> None:
    import slicer
    from AdaptSAMLib import geometry
    from AdaptSAMLib.geometry import InputProblem

    picture = np.zeros((1, 6, 8, 4), np.uint8)
    node = slicer.util.addVolumeFromArray(picture, nodeClassName="vtkMRMLVectorVolumeNode", name="frame")
    assert geometry.pixels(node).shape == (1, 6, 8, 3)
    assert geometry.isColor(node)
    field = slicer.util.addVolumeFromArray(
        picture[..., :3].astype(float), nodeClassName="vtkMRMLVectorVolumeNode", name="field"
    )
    with pytest.raises(InputProblem, match="3 values per voxel"):
        geometry.pixels(field)
    with pytest.raises(InputProblem, match="holds no image"):
        geometry.pixels(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))


def test_segments_of_one_name_are_told_apart(visits: tuple[Any, Any, Any]) -> None:
    from AdaptSAMLib import segments

    _, contours, _ = visits
    contours.GetSegmentation().GetSegment("id-heart").SetName("tumour")
    assert list(segments.segmentNames(contours).values()) == ["tumour", "tumour (2)"]
    assert thorax().structures.names == ("tumour", "heart")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_growing_mask_is_what_its_slices_are_and_its_box_holds_them(scene: Any, axis: int) -> None:
    from AdaptSAMLib.segments import GrowingMask

    from adaptsam.worker import wire_format as wire

    rng = np.random.default_rng(axis)
    shape = (6, 8, 10)
    grown, expected = GrowingMask(), np.zeros(shape, bool)
    assert grown.box()[0].size == 0
    for index in (2, 4, 2, 3):
        flat = rng.random(tuple(np.delete(shape, axis))) > 0.8
        flat[0], flat[:, -1] = False, False
        grown.put(axis, index, *wire.unpack_box(wire.pack_mask(flat)))
        expected[tuple(index if one == axis else slice(None) for one in range(3))] = flat
    inner, first = grown.box()
    found = np.zeros(shape, bool)
    i, j, k = first
    found[k : k + inner.shape[0], j : j + inner.shape[1], i : i + inner.shape[2]] = inner
    assert np.array_equal(found, expected)
    assert inner.shape[axis] == 3
    grown.put(axis, 3, *wire.unpack_box(wire.pack_mask(np.zeros_like(flat))))
    assert grown.box()[0].sum() == expected.sum() - expected.take(3, axis=axis).sum()


def test_a_slice_is_changed_after_the_scene_was_saved(scene: Any) -> None:
    """Saving packs segments that do not overlap into one labelmap, where the second one's value is 2."""
    from AdaptSAMLib import segments
    from slicer_bench.conftest import segmentationNode, volumeNode

    volume = volumeNode(thorax(), "Planning")
    node = segmentationNode(thorax(), volume)
    before = {one: segments.readMask(node, one, volume) for one in ("id-tumour", "id-heart")}
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert [node.GetSegmentation().GetSegment(one).GetLabelValue() for one in before] == [1, 2]
    for one, mask in before.items():
        k = int(np.argwhere(mask)[0][0])
        segments.replaceSlice(node, one, volume, 0, k, np.zeros_like(mask[k]))
        mask[k] = False
        for other, expected in before.items():
            assert np.array_equal(segments.readMask(node, other, volume), expected), (one, other)


def test_a_slice_is_changed_where_it_is_seen_after_the_image_alone_was_moved(scene: Any) -> None:
    from AdaptSAMLib import segments
    from slicer_bench.conftest import segmentationNode, volumeNode

    volume = volumeNode(thorax(), "Planning")
    node = segmentationNode(thorax(), volume)
    moved = np.eye(4)
    moved[0, 3] = 20.0
    volume.SetAndObserveTransformNodeID(addTransform(moved).GetID())
    seen = segments.readMask(node, "id-heart", volume)
    k = int(np.argwhere(seen)[0][0])
    segments.replaceSlice(node, "id-heart", volume, 0, k, np.zeros_like(seen[k]))
    seen[k] = False
    assert np.array_equal(segments.readMask(node, "id-heart", volume), seen)


def test_a_result_is_seen_whose_prior_shares_a_labelmap_with_others(scene: Any) -> None:
    """Drawn or loaded segments mostly lie in one labelmap, with values that their metadata carry along."""
    from AdaptSAMLib import segments
    from slicer_bench.conftest import segmentationNode, volumeNode

    volume = volumeNode(thorax(), "Planning")
    drawn = segmentationNode(thorax(), volume)
    drawn.GetSegmentation().CollapseBinaryLabelmaps(False)
    prototype = _named()
    prototype.DeepCopyMetadata(drawn.GetSegmentation().GetSegment("id-heart"))
    result, mask = segments.newSegmentation(volume, "Result"), thorax().mask("heart")
    segments.setSegment(result, "id-heart", prototype, *segments.cropped(mask), volume)
    assert np.array_equal(segments.readMask(result, "id-heart", volume), mask)
