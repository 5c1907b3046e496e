"""Frames of a video as a sequence of the scene: followed as the package follows them, kept, corrected, carried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Video = tuple[Any, Any, Any, Any, list[np.ndarray], np.ndarray]


@pytest.fixture
def video(scene: Any) -> Video:
    """Prior volume, contours, sequence, browser; the frames, and the mask on the first."""
    import slicer
    from AdaptSAMLib import segments

    rows, columns = np.indices((96, 96))
    masks = [(columns - x) ** 2 + (rows - 48) ** 2 <= 20**2 for x in (30, 40, 50, 60)]
    frames = [np.where(one[..., None], (210, 120, 110), (60, 90, 120)).astype(np.uint8) for one in masks]
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Clip")
    for number, frame in enumerate(frames):
        node = slicer.util.addVolumeFromArray(
            frame[None].copy(), nodeClassName="vtkMRMLVectorVolumeNode", name=f"frame {number}"
        )
        sequence.SetDataNodeAtValue(node, str(number))
        scene.RemoveNode(node)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Clip browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    prior = browser.GetProxyNode(sequence)
    contours = segments.newSegmentation(prior, "Outlined")
    prototype = slicer.vtkSegment()
    prototype.SetName("disc")
    inner, first = segments.cropped(masks[0][None])
    segments.setSegment(contours, "d", prototype, inner, first, prior)
    return prior, contours, sequence, browser, frames, masks[0]


def show(browser: Any, item: int) -> None:
    import slicer

    browser.SetSelectedItemNumber(item)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def test_a_clip_is_followed_corrected_and_edited_in_its_browser(logic: Any, video: Video) -> None:
    import slicer
    from AdaptSAMLib import results, segments, tables

    from adaptsam.propagation.video_propagation import propagate_video
    from adaptsam.propagation.video_settings import VideoSettings

    prior, contours, sequence, browser, frames, mask = video
    settings = {"acceptance": "off", "window": "lung", "register": "off"}  # the last two mean nothing here
    told: list[str] = []
    run = logic.propagate(
        prior, contours, [sequence], settings=settings, onProgress=lambda share, left, text: told.append(text)
    )
    expected = list(propagate_video(frames, 0, {"disc": mask}, settings=VideoSettings(acceptance="off")))
    assert [one.target.item for one in run.outcomes] == [1, 2, 3]
    for outcome in run.outcomes:
        found = segments.readMask(outcome.segmentationNode, "d", outcome.target.volumeNode)[0]
        assert np.array_equal(found, expected[outcome.target.item].masks["disc"])
    assert "Frame 4 of 4" in told
    assert tables.units(run.outcomes) == ("pixels", "pixels")
    assert results.amounts(run.outcomes[0].reports["d"]) == (expected[1].reports["disc"].area, int(mask.sum()))

    segmented = run.sequenceOf(run.outcomes[0].target)
    proxy = browser.GetProxyNode(segmented)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert proxy.GetNodeReference(role) is prior
    for item in (3, 0, 2):
        show(browser, item)
        shown = segments.readMask(proxy, "d", prior)[0] if item else np.zeros_like(mask)
        assert np.array_equal(shown, expected[item].masks["disc"] if item else np.zeros_like(mask))
        assert item or proxy.GetSegmentation().GetNumberOfSegments() == 0, "nothing is made up for the prior's frame"
    assert segmented.GetNumberOfDataNodes() == 3

    drawn = np.zeros((1, 96, 96), bool)
    drawn[0, 30:60, 40:70] = True
    inner, first = segments.cropped(drawn)
    segments.setSegment(proxy, "d", None, inner, first, prior)  # as the Segment Editor does, on the frame that is shown
    slicer.modules.sequences.logic().UpdateSequencesFromProxyNodes(browser, proxy)
    assert np.array_equal(segments.readMask(run.outcomes[1].segmentationNode, "d", prior), drawn)
    correction = logic.correction(run, run.outcomes[1], "disc")
    before = [segments.readMask(one.segmentationNode, "d", prior) for one in run.outcomes]
    correction.follow(0, 1).wait()
    after = [segments.readMask(one.segmentationNode, "d", prior) for one in run.outcomes]
    assert np.array_equal(after[1], drawn), "what was drawn stays"
    assert correction.undo()
    assert all(
        np.array_equal(segments.readMask(one.segmentationNode, "d", prior), mask)
        for one, mask in zip(run.outcomes, before, strict=True)
    )
    correction.showPrompts(0)
    correction.prompts[0].AddControlPointWorld(*_world(prior, [45.0, 35.0, 0.0]))
    correction.prompts[1].AddControlPointWorld(*_world(prior, [80.0, 80.0, 0.0]))
    correction.rerun(0).wait()
    again = segments.readMask(proxy, "d", prior)[0]
    assert again[80, 80]
    assert not again[35, 45], "the frame that is shown follows"


def _world(volume: Any, ijk: list[float]) -> Any:
    from AdaptSAMLib import geometry

    return geometry.worldOfVoxel(volume, ijk)


def test_cancelling_takes_the_sequence_and_what_shows_it_out_again(
    logic: Any, video: Video, until: Callable[..., None]
) -> None:
    import slicer

    prior, contours, sequence, browser, *_ = video
    before = {one.GetID() for one in _nodes()}
    outcomes: list[Any] = []
    run = logic.propagate(
        prior, contours, [sequence], settings={"acceptance": "off"}, wait=False, onOutcome=outcomes.append
    )
    until(lambda: outcomes)
    run.cancel()
    until(lambda: run.ended is not None)
    if run.ended[0] == "cancelled":  # it may have been faster
        assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 1
        assert {one.GetID() for one in _nodes()} == before
    assert slicer.mrmlScene.GetNodeByID(sequence.GetID()) is sequence


def _nodes() -> list[Any]:
    import slicer

    nodes = [slicer.mrmlScene.GetNthNode(number) for number in range(slicer.mrmlScene.GetNumberOfNodes())]
    return [one for one in nodes if not one.GetSingletonTag()]


def test_contours_are_not_taken_for_those_of_another_frame_that_is_shown_meanwhile(logic: Any, video: Video) -> None:
    from AdaptSAMLib import images
    from AdaptSAMLib.geometry import InputProblem
    from PersonalizedSAMLib import inputs

    prior, contours, sequence, browser, *_ = video
    assert inputs.otherItem(prior, contours) == ""
    inputs.remember(contours, images.shownFrom(prior))  # as a run does when it is done
    assert inputs.otherItem(prior, contours) == ""
    show(browser, 2)
    with pytest.raises(InputProblem, match="contours of 0 in Clip the last time, and now 2 is shown"):
        logic.propagate(prior, contours, [sequence])
    inputs.remember(contours, images.shownFrom(prior))
    assert inputs.otherItem(prior, contours) == ""
