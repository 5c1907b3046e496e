"""A result is nobody's work that is completed, its surfaces stay, and its prompts are seen where they are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def balls(volume: Any, centres: list[tuple[int, int, int]], status: str = "") -> Any:
    import slicer
    from AdaptSAMLib import segments

    node = segments.newSegmentation(volume, "Result")
    k, j, i = np.indices((20, 40, 40))
    for number, (a, b, c) in enumerate(centres):
        prototype = slicer.vtkSegment()
        prototype.SetName(f"ball {number}")
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        if status:
            logic.SetSegmentStatus(prototype, getattr(logic, status))
        inner, first = segments.cropped((k - a) ** 2 + (j - b) ** 2 + (i - c) ** 2 < 16)
        segments.setSegment(node, f"s{number}", prototype, inner, first, volume)
    return node


@pytest.fixture
def volume(scene: Any) -> Any:
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((20, 40, 40), np.int16), name="CT")


def surfaces(node: Any) -> list[int]:
    found = [node.GetSegmentation().GetNthSegment(n).GetRepresentation("Closed surface") for n in range(2)]
    return [-1 if one is None else one.GetNumberOfPoints() for one in found]


def test_surfaces_stay_when_a_slice_is_changed_and_that_of_the_segment_follows(volume: Any) -> None:
    from AdaptSAMLib import segments

    node = balls(volume, [(8, 10, 10), (8, 30, 30)])
    node.CreateClosedSurfaceRepresentation()
    before = surfaces(node)
    assert min(before) > 0
    segments.replaceSlice(node, "s0", volume, 0, 8, np.ones((40, 40), bool))
    grown = surfaces(node)
    assert grown[0] > 2 * before[0]
    assert grown[1] == before[1]
    segments.replaceSlice(node, "s0", volume, 0, 8, np.zeros((40, 40), bool))
    assert 0 < surfaces(node)[0] < grown[0]
    segments.setSegment(node, "s1", None, np.zeros((0, 0, 0), bool), (0, 0, 0), volume)
    assert surfaces(node)[1] == 0


def test_no_surface_is_made_where_there_was_none(volume: Any) -> None:
    from AdaptSAMLib import segments

    node = balls(volume, [(8, 10, 10), (8, 30, 30)])
    segments.replaceSlice(node, "s0", volume, 0, 8, np.ones((40, 40), bool))
    assert surfaces(node) == [-1, -1]


def test_a_result_is_in_progress_whatever_its_prior_is(volume: Any) -> None:
    import slicer
    from AdaptSAMLib import segments

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = balls(volume, [(8, 10, 10), (8, 30, 30)], "Completed")
    segment = node.GetSegmentation().GetSegment("s0")
    assert logic.GetSegmentStatus(segment) == logic.InProgress
    segments.setStatus(node, "s0", "Flagged")
    assert logic.GetSegmentStatus(segment) == logic.Flagged
    logic.SetSegmentStatus(segment, logic.Completed)  # a person
    segments.setStatus(node, "s0", "Flagged")
    assert logic.GetSegmentStatus(segment) == logic.Completed


def test_prompts_are_in_slice_views_only_and_saved_with_no_scene(scene: Any) -> None:
    from AdaptSAMLib import prompts

    node = prompts.newList("prompts", prompts.POSITIVE, prompts.NEGATIVE)
    assert not node.GetDisplayNode().GetVisibility3D()
    assert node.GetDisplayNode().GetVisibility2D()
    assert not node.GetSaveWithScene()
    assert not node.GetDisplayNode().GetSaveWithScene()
