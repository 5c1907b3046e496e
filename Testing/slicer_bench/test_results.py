"""What is to be looked at of a result, in which order, with which keys; and how it is told apart from its contours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def one(index: int, accepted: bool = True, confidence: float = 0.9, **more: Any) -> dict[str, Any]:
    """A slice as the worker tells it."""
    points, labels = ([[10.0, 12.0]], [1]) if accepted else ([], [])
    known = {"interpolated": False, "touches_limit": False, "points": points, "labels": labels}
    return known | {"index": index, "accepted": accepted, "confidence": confidence} | more


def report(slices: list[dict[str, Any]], volume: float = 10.0, shift: float = 1.0) -> dict[str, Any]:
    told = {"status": "found", "volume_cm3": volume, "prior_volume_cm3": 10.0, "centroid_shift_mm": shift}
    return told | {"slice_axis": 0, "slices": slices}


class Run:
    """A finished run, without the worker that it came from."""

    def __init__(self, outcomes: list[Any], names: dict[str, str], prior: Any, segmentation: Any) -> None:
        self.outcomes, self.names, self.made = outcomes, names, []
        self.prior, self.segmentation, self.ended = prior, segmentation, ("done", "")

    @staticmethod
    def shownNode(outcome: Any) -> Any:
        return outcome.segmentationNode

    @staticmethod
    def shownImage(outcome: Any) -> Any:
        return outcome.target.volumeNode


@pytest.fixture
def volume(scene: Any) -> Any:
    import slicer

    matrix = np.diag([-2.0, -2.0, 5.0, 1.0])
    matrix[2, 3] = -20.0
    node = slicer.util.addVolumeFromArray(np.zeros((20, 40, 40), np.int16), ijkToRAS=matrix, name="Week 3")
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def made(volume: Any) -> Any:
    """Makes a run of the reports that are given, with segments for them."""
    import slicer
    from AdaptSAMLib import results, segments

    def make(*reports: dict[str, Any]) -> Run:
        prior = slicer.util.addVolumeFromArray(np.zeros((20, 40, 40), np.int16), name="Planning")
        contours, node = segments.newSegmentation(prior, "Contours"), segments.newSegmentation(volume, "Result")
        names = {f"s{number}": f"organ {number}" for number in range(len(reports))}
        mask = np.zeros((20, 40, 40), bool)
        mask[5:15, 5:15, 5:15] = True
        inner, first = segments.cropped(mask)
        for segmentId, name in names.items():
            prototype = slicer.vtkSegment()
            prototype.SetName(name)
            segments.setSegment(node, segmentId, prototype, inner, first, volume)
            segments.setSegment(contours, segmentId, prototype, inner, first, prior)
        target = results.Target(volume.GetID(), volume.GetName(), volume)
        outcome = results.Outcome(target, node, dict(zip(names, reports, strict=True)))
        return Run([outcome], names, prior, contours)

    return make


def reasons(run: Run) -> dict[int, str]:
    from AdaptSAMLib import review

    return {slice_.index: slice_.reason for slice_ in review.structures(run.outcomes, run.names)[0].slices}


def test_a_gap_and_an_unsure_end_are_to_be_looked_at_and_a_sure_end_is_not(made: Any) -> None:
    slices = [one(3, False, 0.9), one(4), one(5, False, 0.95), one(6), one(7, False, 0.2), one(8, False, 0.1)]
    told = reasons(made(report(slices)))
    assert told == {5: "empty, between slices that are not", 7: "empty, beside the last one that is not"}


def test_where_nothing_was_found_the_least_sure_slice_is_to_be_looked_at(made: Any) -> None:
    told = reasons(made(report([one(3, False, 0.9), one(4, False, 0.3), one(5, False, 0.8)], volume=0.0)))
    assert told == {4: "empty, as all slices are"}


def test_low_confidence_bridged_and_limited_slices_are_to_be_looked_at(made: Any) -> None:
    slices = [one(3), one(4, confidence=0.5), one(5, False, interpolated=True), one(6, touches_limit=True)]
    assert list(reasons(made(report(slices)))) == [4, 5, 6]


@pytest.mark.parametrize(
    ("volume_cm3", "shift", "flags"),
    [
        (12.0, 3.0, []),
        (14.0, 3.0, ["volume +40 %"]),
        (6.0, 3.0, ["volume -40 %"]),
        (10.0, 14.0, ["moved by 14 mm"]),
        (0.0, float("nan"), ["volume -100 %"]),
    ],
)
def test_a_jump_in_volume_or_shift_is_flagged(made: Any, volume_cm3: float, shift: float, flags: list[str]) -> None:
    from AdaptSAMLib import review

    run = made(report([one(4), one(5)], volume_cm3, shift))
    assert review.structures(run.outcomes, run.names)[0].flags == flags


def test_a_slice_says_where_it_lies_in_millimetres(made: Any) -> None:
    from AdaptSAMLib import review

    run = made(report([one(2, confidence=0.3), one(9, confidence=0.4)]))
    places = [slice_.place for slice_ in review.structures(run.outcomes, run.names)[0].slices]
    assert places == ["slice 2, I 10.0 mm", "slice 9, S 25.0 mm"]


def test_what_the_image_does_not_show_is_told_so_and_is_no_jump(made: Any) -> None:
    from AdaptSAMLib import review

    run = made(report([one(4), one(5)], 4.0) | {"status": "partly outside"})
    assert review.structures(run.outcomes, run.names)[0].flags == ["partly outside of the image"]


@pytest.fixture
def view(application: Any) -> Any:
    import qt
    import slicer.util
    from AdaptSAMLib.panel import _UI
    from AdaptSAMLib.resultview import ResultView

    widget = slicer.util.loadUI(f"{_UI}/AdaptSAMResults.ui")
    told: list[str] = []
    made = ResultView(slicer.util.childWidgetVariables(widget), True, lambda: None, told.append)
    made.told, made.widget, made.qt = told, widget, qt
    return made


def status(run: Run, segmentId: str) -> str:
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = run.outcomes[0].segmentationNode.GetSegmentation().GetSegment(segmentId)
    return str(logic.GetSegmentStatusAsHumanReadableString(logic.GetSegmentStatus(segment)))


def test_the_next_key_goes_through_what_nobody_has_seen_and_the_segment_is_no_longer_flagged(
    made: Any, view: Any
) -> None:
    run = made(report([one(4, confidence=0.5), one(5, confidence=0.3), one(6)]), report([one(4)], volume=20.0))
    view.show(run)
    tree = view.widget.findChild(view.qt.QTreeWidget, "resultTree")
    texts = [tree.topLevelItem(n).text(tree.property("columnCount") - 1) for n in range(2)]
    assert texts == ["slices: 2", "volume +100 %"]
    assert [status(run, one) for one in ("s0", "s1")] == ["Flagged", "Flagged"]
    visited = []
    for _ in range(4):
        view.step(True)
        visited.append((view.current.segmentId, view.current.index))
    assert visited == [("s0", 5), ("s0", 4), ("s1", 4), ("s1", 4)]
    assert view.told == ["All slices of the list were seen."]
    assert [status(run, one) for one in ("s0", "s1")] == ["In progress", "In progress"]
    view.step(False)
    assert (view.current.segmentId, view.current.index) == ("s0", 4)
    view.show(run)
    assert (view.current.segmentId, view.current.index) == ("s0", 4), "a correction leaves the place"
    assert status(run, "s0") == "In progress"


def test_keys_press_the_buttons_while_the_panel_is_open(made: Any, view: Any) -> None:
    run = made(report([one(4, confidence=0.5), one(5, confidence=0.3)]))
    view.show(run)
    view.open()
    shortcuts = {one.key.toString(): one for one in view._keys._shortcuts}
    assert set(shortcuts) == {"N", "P"}
    shortcuts["N"].activated.emit()
    shortcuts["N"].activated.emit()
    assert view.current.index == 4
    shortcuts["P"].activated.emit()
    assert view.current.index == 5
    view.close()
    assert view._keys._shortcuts == []


def test_comparing_links_two_views_and_gives_them_back(made: Any, view: Any, scene: Any) -> None:
    import slicer

    views = {}
    for name in ("Red", "Yellow"):
        for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            node = getattr(slicer, kind)()
            node.SetSingletonTag(name)
            views[name, kind[7:-4]] = scene.AddNode(node)
    views["Yellow", "Slice"].GetSliceToRAS().SetElement(0, 3, 7.0)  # another plane than the red one
    run = made(report([one(4), one(5)]))
    view.show(run)
    result, contours = run.outcomes[0].segmentationNode.GetDisplayNode(), run.segmentation.GetDisplayNode()
    before = slicer.util.arrayFromVTKMatrix(views["Yellow", "Slice"].GetSliceToRAS())
    button = view.widget.findChild(view.qt.QPushButton, "compareButton")
    button.click()
    red, yellow = (views[name, "SliceComposite"] for name in ("Red", "Yellow"))
    assert red.GetBackgroundVolumeID() == run.outcomes[0].target.volumeNode.GetID()
    assert yellow.GetBackgroundVolumeID() == run.prior.GetID()
    assert red.GetLinkedControl()
    assert yellow.GetLinkedControl()
    same = [slicer.util.arrayFromVTKMatrix(views[name, "Slice"].GetSliceToRAS()) for name in ("Red", "Yellow")]
    assert np.array_equal(*same)
    assert contours.IsDisplayableInView(views["Yellow", "Slice"].GetID())
    assert not contours.IsDisplayableInView(views["Red", "Slice"].GetID())
    assert result.IsDisplayableInView(views["Red", "Slice"].GetID())
    assert not result.IsDisplayableInView(views["Yellow", "Slice"].GetID())
    button.click()
    assert not red.GetLinkedControl()
    assert yellow.GetBackgroundVolumeID() is None
    assert np.array_equal(slicer.util.arrayFromVTKMatrix(views["Yellow", "Slice"].GetSliceToRAS()), before)
    assert result.IsDisplayableInView(views["Yellow", "Slice"].GetID())
    assert contours.IsDisplayableInView(views["Red", "Slice"].GetID())


def test_items_of_the_contoured_sequence_are_not_compared_with_themselves(made: Any, view: Any) -> None:
    run = made(report([one(4), one(5)]))
    run.prior = run.outcomes[0].target.volumeNode  # one node shows both
    view.show(run)
    view.widget.findChild(view.qt.QPushButton, "compareButton").click()
    assert view._comparison is None
    assert view.told == ["A sequence shows one of its items at a time; go there with its browser to compare."]


def test_3d_is_shown_and_hidden_with_one_button(made: Any, view: Any) -> None:
    run = made(report([one(4), one(5)]))
    view.show(run)
    node = run.outcomes[0].segmentationNode
    button = view.widget.findChild(view.qt.QPushButton, "surfaceButton")
    button.click()
    assert node.GetSegmentation().GetSegment("s0").GetRepresentation("Closed surface").GetNumberOfPoints() > 0
    assert node.GetDisplayNode().GetVisibility3D()
    button.click()
    assert not node.GetDisplayNode().GetVisibility3D()


def test_contours_become_a_pale_outline_and_what_they_were_when_nothing_came_of_it(made: Any) -> None:
    from AdaptSAMLib import display

    run = made(report([one(4)]))
    shown = run.segmentation.GetDisplayNode()
    before = shown.GetVisibility2DFill(), shown.GetOpacity2DOutline()
    restore = display.pale(run.segmentation)
    assert (shown.GetVisibility2DFill(), shown.GetOpacity2DOutline()) == (0, 0.4)
    restore()
    assert (shown.GetVisibility2DFill(), shown.GetOpacity2DOutline()) == before


def test_a_table_holds_numbers_as_numbers(made: Any) -> None:
    import vtk
    from AdaptSAMLib import tables

    run = made(report([one(4, confidence=0.5), one(5)], volume=12.0), report([one(4, False)], volume=0.0, shift=np.nan))
    table = tables.makeTable(run.outcomes, run.names, "Results").GetTable()
    columns = [table.GetColumn(n) for n in range(table.GetNumberOfColumns())]
    numeric = [one.GetName() for one in columns if isinstance(one, vtk.vtkDoubleArray)]
    assert numeric == [
        *("Volume (cm³)", "Change from prior (%)", "Centroid shift (mm)", "Confidence", "Slices to review"),
    ]
    assert table.GetColumnByName("Change from prior (%)").GetValue(0) == pytest.approx(20.0)
    assert np.isnan(table.GetColumnByName("Centroid shift (mm)").GetValue(1))
    assert table.GetColumnByName("Slices to review").GetValue(0) == 1
