"""The module's logic with real MRML and the real worker: what appears in the scene, and what never does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import thorax

Visits = tuple[Any, Any, Any]


def nodesOf(kind: str) -> list[Any]:
    import slicer

    return [slicer.mrmlScene.GetNthNodeByClass(n, kind) for n in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind))]


def ids() -> set[str]:
    """Of every node but Slicer's own singletons, which come and go with what is shown."""
    import slicer

    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return {node.GetID() for node in nodes if not node.GetSingletonTag()}


def tagOf(segment: Any) -> str:
    import slicer
    import vtk

    value = vtk.reference("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), value)
    return str(value)


def started(logic: Any, visits: Visits, **more: Any) -> Any:
    prior, contours, target = visits
    options = {"segments": ["heart"], "settings": QUICK, "wait": False} | more
    return logic.propagate(
        prior, contours, more.pop("targets", [target]), **{k: v for k, v in options.items() if k != "targets"}
    )


def test_a_run_a_correction_and_a_new_prior(logic: Any, visits: Visits) -> None:
    """One run of a real worker for all that is looked at, for a start takes seconds."""
    import slicer
    from AdaptSAMLib import segments

    prior, contours, target = visits
    told: list[tuple[float, Any, str]] = []
    before = np.array(segments.readMask(contours, "id-heart", prior))
    run = logic.propagate(
        prior, contours, [target], segments=["heart"], settings=QUICK, onProgress=lambda *values: told.append(values)
    )
    assert run.ended == ("done", run.ended[1])
    [outcome] = run.outcomes
    node = outcome.segmentationNode
    made = node.GetSegmentation().GetSegment("id-heart")
    origin = contours.GetSegmentation().GetSegment("id-heart")
    assert made.GetName() == "heart"
    assert np.allclose(made.GetColor(), origin.GetColor())
    assert tagOf(made) == tagOf(origin) != ""
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["id-heart"]
    mask = segments.readMask(node, "id-heart", target)
    report = outcome.reports["id-heart"]
    assert mask.sum() * 4 * 4 * 5 / 1000 == pytest.approx(report["volume_cm3"])
    assert np.array_equal(segments.readMask(contours, "id-heart", prior), before)
    shares = [share for share, _, _ in told]
    assert shares == sorted(shares)

    [table] = [one for one in nodesOf("vtkMRMLTableNode") if one.GetAttribute("AdaptSAM.table")]
    assert table.GetTable().GetNumberOfRows() == 1
    assert table.GetTable().GetValueByName(0, "Structure").ToString() == "heart"

    correction = logic.correction(run, outcome, "heart")
    best = max(report["slices"], key=lambda one: one["confidence"])
    k = best["index"]
    correction.showPrompts(k)
    assert sum(one.GetNumberOfControlPoints() for one in correction.prompts.values()) == len(best["points"])
    assert len(best["points"]) == len(best["labels"]) > 0
    world = [0.0, 0.0, 0.0]
    positive = next(point for point, label in zip(best["points"], best["labels"], strict=True) if label == 1)
    correction.prompts[1].GetNthControlPointPositionWorld(0, world)
    assert correction.currentSlice(world) == k

    from AdaptSAMLib import geometry

    corner = geometry.worldOfVoxel(target, [3, 3, k])
    correction.prompts[0].AddControlPointWorld(*corner)
    correction.rerun(k).wait()
    again = segments.readMask(node, "id-heart", target)
    others = np.arange(len(mask)) != k
    assert np.array_equal(again[others], mask[others])
    assert not again[k, 3, 3]
    assert again[k, round(positive[1]), round(positive[0])] or not again[k].any()
    drawn = again.copy()
    drawn[k] = thorax(shift_mm=(6, 4, 0)).mask("heart")[k]
    inner, first = segments.cropped(drawn)
    segments.setSegment(node, "id-heart", None, inner, first, target)
    correction.follow(k, 1).wait()
    followed = segments.readMask(node, "id-heart", target)
    assert np.array_equal(followed[k], drawn[k])
    assert correction.undo()
    assert np.array_equal(segments.readMask(node, "id-heart", target)[k + 1], drawn[k + 1])
    correction.hidePrompts()
    assert not nodesOf("vtkMRMLMarkupsFiducialNode")
    assert slicer.mrmlScene.GetNodeByID(node.GetID()) is node


def test_cancelling_leaves_the_scene_as_it_was(logic: Any, visits: Visits, until: Callable[..., None]) -> None:
    before = ids()
    told: list[str] = []
    run = started(logic, visits, onProgress=lambda share, left, text: told.append(text))
    until(lambda: len(told) > 1)
    run.cancel()
    until(lambda: run.ended is not None)
    assert run.ended[0] == "cancelled"
    assert ids() == before


def test_a_run_that_is_started_at_the_end_of_a_cancelled_one_is_done_by_another_worker(
    logic: Any, engine: Any, visits: Visits, until: Callable[..., None]
) -> None:
    runs: list[Any] = []
    stopped: list[tuple[int, Any]] = []

    def again(kind: str, message: str) -> None:
        runs.append(started(logic, visits))

    def deafen(share: float, left: float | None, text: str) -> None:
        if share > 0 and not stopped:
            stopped.append((engine.workerPid, engine._client.folder))
            os.kill(engine.workerPid, signal.SIGSTOP)  # it hears of no cancelling, and has to be ended

    first = started(logic, visits, onEnd=again, onProgress=deafen)
    until(lambda: bool(stopped))
    first.cancel()
    until(lambda: bool(runs) and runs[0].ended is not None)
    assert first.ended[0] == "cancelled"
    assert runs[0].ended[0] == "done", runs[0].ended
    assert len(runs[0].outcomes) == 1
    before, folder = stopped[0]
    assert engine.workerPid != before
    until(lambda: not folder.exists(), 20)
    assert engine._client.folder.is_dir(), "the first worker's end takes nothing of the second one's"
    assert started(logic, visits, wait=True).ended[0] == "done"


def test_a_killed_worker_gives_a_sentence_and_the_scene_back(
    logic: Any, engine: Any, visits: Visits, until: Callable[..., None]
) -> None:
    before = ids()
    ended: list[tuple[str, str]] = []
    told: list[float] = []

    def stop(share: float, left: float | None, text: str) -> None:
        if share > 0 and not told:  # the first word of the worker: nearly all of its work is still to do
            told.append(share)
            os.kill(engine.workerPid, signal.SIGSTOP)

    run = started(logic, visits, onEnd=lambda *values: ended.append(values), onProgress=stop)
    until(lambda: bool(told))
    assert not ended
    os.kill(engine.workerPid, signal.SIGKILL)
    until(lambda: bool(ended))
    assert run.ended is not None
    assert ended[0][0] == "error"
    assert "ended from outside" in ended[0][1]
    assert ids() == before
    with pytest.raises(Exception, match="ended from outside"):
        run.wait()


def test_closing_the_scene_during_a_run_stops_it(
    logic: Any, engine: Any, visits: Visits, until: Callable[..., None]
) -> None:
    import slicer

    run = started(logic, visits)
    until(lambda: engine.busy)
    logic.abandon()  # as the panel does when it hears of it
    slicer.mrmlScene.Clear()
    assert run.ended[0] == "cancelled"
    until(lambda: not engine.busy)
    assert not nodesOf("vtkMRMLSegmentationNode")


def test_a_target_that_is_deleted_during_a_run_is_left_out(
    logic: Any, engine: Any, visits: Visits, until: Callable[..., None]
) -> None:
    import slicer

    run = started(logic, visits)
    until(lambda: engine.busy)
    slicer.mrmlScene.RemoveNode(visits[2])
    until(lambda: run.ended is not None)
    assert run.ended[0] == "done"
    assert "was removed from the scene" in run.ended[1]
    assert run.outcomes == []


def test_all_phases_of_a_sequence_come_out_as_a_sequence(logic: Any, scene: Any) -> None:
    import slicer
    from AdaptSAMLib import segments

    first = thorax()
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "4D")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Phases")
    sequence.SetIndexName("phase")
    sequence.SetIndexUnit("%")
    for number, shift in enumerate((0, 3, 6)):
        node = volumeNode(thorax(shift_mm=(0, shift, 0), seed=number), f"phase {number}")
        sequence.SetDataNodeAtValue(node, str(10 * number))
        scene.RemoveNode(node)
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    prior = browser.GetProxyNode(sequence)
    contours = segmentationNode(first, prior)
    run = logic.propagate(prior, contours, [sequence], segments=["heart"], settings=QUICK)
    assert [outcome.target.item for outcome in run.outcomes] == [1, 2]
    [result] = [one for one in nodesOf("vtkMRMLSequenceNode") if one is not sequence]
    assert result.GetIndexName() == "phase"
    assert [result.GetNthIndexValue(n) for n in range(result.GetNumberOfDataNodes())] == ["10", "20"]
    assert browser.IsSynchronizedSequenceNode(result)
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(result)
    shown = segments.readMask(proxy, "id-heart", prior)
    stored = segments.readMask(run.outcomes[0].segmentationNode, "id-heart", run.outcomes[0].target.volumeNode)
    assert np.array_equal(shown, stored)
    [chart] = nodesOf("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 1


def test_what_cannot_be_used_is_said_before_anything_starts(logic: Any, engine: Any, visits: Visits) -> None:
    import slicer
    from AdaptSAMLib.geometry import InputProblem

    prior, contours, target = visits
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    picture = slicer.util.addVolumeFromArray(
        np.zeros((1, 8, 8, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode", name="Picture"
    )
    for values, sentence in (
        ((None, contours, [target]), "Choose the contoured image"),
        ((prior, None, [target]), "Choose the contours"),
        ((prior, empty, [target]), "Empty has no segments"),
        ((prior, contours, []), "Tick at least one image"),
        ((prior, contours, [prior]), "is the contoured image itself"),
        ((prior, contours, [picture]), "both be in colour or both in gray"),
    ):
        with pytest.raises(InputProblem, match=sentence):
            logic.propagate(*values)
    with pytest.raises(InputProblem, match="There is no segment liver; there are tumour, heart"):
        logic.propagate(prior, contours, [target], segments=["liver"])
    assert not engine.busy


def test_an_empty_segment_is_named(logic: Any, visits: Visits) -> None:
    from AdaptSAMLib.geometry import InputProblem

    prior, contours, target = visits
    contours.GetSegmentation().AddEmptySegment("nothing", "Nothing")
    with pytest.raises(InputProblem, match="Nothing has no voxel within Planning"):
        logic.propagate(prior, contours, [target], segments=["Nothing"])


def test_patients_are_not_mixed_without_being_asked(logic: Any, visits: Visits) -> None:
    import slicer
    from AdaptSAMLib import patients
    from AdaptSAMLib.geometry import InputProblem

    prior, contours, target = visits
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for node, name, day in ((prior, "A", "20260102"), (target, "B", "20260301")):
        subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), name)
        hierarchy.SetItemAttribute(subject, "DICOM.PatientID", name)
        study = hierarchy.CreateStudyItem(subject, day)
        hierarchy.SetItemAttribute(study, "DICOM.StudyDate", day)
        hierarchy.CreateItem(study, node)  # which Slicer's window does by itself
    assert patients.samePatient(prior, target) is False
    assert patients.studyDate(prior) == "20260102"
    assert patients.byDate([target, prior]) == [prior, target]
    assert patients.laterThan(prior, [prior, target]) == []
    with pytest.raises(InputProblem, match="belong to different patients"):
        logic.propagate(prior, contours, [target])
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), contours)
    assert patients.samePatient(contours, target) is None
    patients.putBeside(contours, target)
    assert patients.samePatient(contours, target) is True


def test_a_run_that_is_cancelled_when_its_worker_is_done_already_leaves_the_scene_as_it_was(
    application: Any, visits: Visits
) -> None:
    from PersonalizedSAMLib.run import Run

    class Engine:
        def cancel(self, number: int) -> None:
            """The request is over, so that nothing comes of it."""

    prior, contours, target = visits
    before = ids()
    run = Run(Engine(), prior, contours, ["id-heart"], [target])
    run._number = 1
    run._node(run.targets[0])
    run.cancel()
    assert run._handle({"event": "result", "target": target.GetID(), "structures": [], "warnings": []}) is None
    run._handle({"event": "done"})
    assert run.ended == ("cancelled", "Cancelled.")
    assert ids() == before
