"""AutoPromptSAM with real MRML, real Qt and the real worker: what agents find, what they did, how it is changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blob_agent import make_agent
from slicer_bench.conftest import lpsToRas
from thorax import thorax
from tiny_sam import tiny_model

from adaptsam.alignsam import save_agent
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE
from adaptsam.sam import load_sam

QUICK = {"acceptance": "off", "cleanup": False}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Agents of random weights for the bundled model, one for MR, one that takes words, and one for another SAM."""
    folder, model = tmp_path_factory.mktemp("agents"), load_sam(device="cpu")
    save_agent(folder / "blob.agent.safetensors", make_agent(model))
    save_agent(folder / "lump.agent.safetensors", make_agent(model, "lump", seed=1))
    save_agent(folder / "brain.agent.safetensors", make_agent(model, "brain", modality="MR", window="percentiles"))
    spoken = replace(make_agent(model, "spoken", branch="explicit"), text="the heart")
    save_agent(folder / "spoken.agent.safetensors", spoken)
    save_agent(folder / "stranger.agent.safetensors", make_agent(tiny_model(), "stranger"))
    return folder


@pytest.fixture
def files(shelf: Path) -> Callable[..., list[str]]:
    return lambda *names: [str(shelf / f"{name}.agent.safetensors") for name in names]


@pytest.fixture
def logic(scene: Any, engine: Any) -> Any:
    from AutoPromptSAM import AutoPromptSAMLogic

    return AutoPromptSAMLogic()


@pytest.fixture
def volume(scene: Any) -> Any:
    """Six slices through the heart of the thorax."""
    import slicer

    whole = thorax().volume
    matrix = lpsToRas(whole.geometry)
    matrix[:3, 3] += 6 * matrix[:3, 2]
    node = slicer.util.addVolumeFromArray(whole.array[6:12].astype(np.int16), ijkToRAS=matrix, name="Planning")
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def panel(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    from AutoPromptSAMLib import parameters

    from AutoPromptSAM import AutoPromptSAMWidget

    own = parameters.settingsOf
    monkeypatch.setattr(parameters, "settingsOf", lambda node: {**own(node), **QUICK})
    return opened(AutoPromptSAMWidget, 480, 1400)


def ids() -> set[str]:
    import slicer

    nodes = [slicer.mrmlScene.GetNthNode(number) for number in range(slicer.mrmlScene.GetNumberOfNodes())]
    return {node.GetID() for node in nodes if not node.GetSingletonTag()}


def roi(center: np.ndarray, size: tuple[float, float, float]) -> Any:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    node.SetCenter(*center)
    node.SetSize(*size)
    return node


def test_agents_find_go_on_and_give_a_prior(
    logic: Any, volume: Any, files: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of two agents for all that is looked at, for a run takes seconds."""
    import slicer
    import vtk
    from AdaptSAMLib import geometry, segments

    run = logic.segment(volume, files("blob", "lump"), settings=QUICK)
    assert run.ended[0] == "done"
    [outcome] = run.outcomes
    node = outcome.segmentationNode
    segment = node.GetSegmentation().GetSegment("blob")
    assert segment.GetName() == "blob"
    tag = vtk.reference("")
    assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    assert "SCT^49755003^Morphologically" in str(tag)
    assert "SCT^4147007^Mass" in str(tag)
    mask = segments.readMask(node, "blob", volume)
    assert mask.sum() * 4 * 4 * 5 / 1000 == pytest.approx(outcome.reports["blob"]["volume_cm3"])
    tables = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    assert tables == 1
    table = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLTableNode").GetTable()
    assert table.GetNumberOfRows() == 2
    assert table.GetColumnByName("Change from prior (%)") is None

    replay = logic.replay(run, outcome, "blob")
    assert replay.slices == list(range(6))
    k = replay.best()
    replay.show(k)
    assert replay.steps == 3
    assert np.array_equal(replay.mask(), mask[k])
    assert replay.markups.GetNumberOfControlPoints() == 4
    assert np.array_equal(segments.readMask(replay.preview, "step", volume)[k], mask[k])
    requests: list[str] = []
    monkeypatch.setattr(logic.replay(run, outcome, "blob")._engine, "_client", logic_client(requests, logic))
    replay.show(k, 0)
    assert replay.markups.GetNumberOfControlPoints() == 2
    assert requests == []
    monkeypatch.undo()

    replay.accept()
    changed = segments.readMask(node, "blob", volume)
    assert np.array_equal(changed[k], replay.mask())
    assert np.array_equal(np.delete(changed, k, axis=0), np.delete(mask, k, axis=0))
    assert replay.undo()
    assert np.array_equal(segments.readMask(node, "blob", volume), mask)

    before = replay.played
    replay.goOn().wait()
    assert len(replay.played["points"]) == len(before["points"])
    assert np.allclose(replay.played["points"], before["points"], atol=0.01)
    replay.show(k, 0)
    corner = geometry.worldOfVoxel(volume, [3, 4, k])
    replay.markups.SetNthControlPointPositionWorld(1, *corner)
    replay.markups.SetNthControlPointSelected(1, True)
    replay.goOn(play=False).wait()
    assert np.allclose(replay.played["points"][1], [3, 4], atol=1e-3)
    assert replay.played["labels"] == [1, 1]
    replay.flip()
    replay.remove()
    assert replay.markups.GetNumberOfControlPoints() == 1
    replay.hide()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0

    from PersonalizedSAM import PersonalizedSAMLogic

    monkeypatch.setattr(slicer.util, "getModuleLogic", lambda name: PersonalizedSAMLogic())
    prior = logic.useAsPrior(run, outcome)
    assert prior.priorVolume is volume
    assert prior.priorSegmentation is node
    assert set(prior.segments) == {key for key, one in outcome.reports.items() if one["volume_cm3"] > 0}


def logic_client(requests: list[str], logic: Any) -> Any:
    """Notes what is asked of the worker, and asks nothing."""

    class Client:
        pid = None

        def request(self, do: str, **content: Any) -> int:
            requests.append(do)
            return 0

        def events(self) -> list[Any]:
            return []

    return Client()


def test_a_region_bounds_what_is_found_also_under_a_transform(
    logic: Any, volume: Any, files: Callable[..., list[str]]
) -> None:
    import slicer
    from AdaptSAMLib import geometry, segments

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    matrix = np.eye(4)
    matrix[:3, 3] = [30, -20, 10]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    whole = logic.segment(volume, files("blob"), settings=QUICK)
    everywhere = segments.readMask(whole.outcomes[0].segmentationNode, "blob", volume)
    at = np.argwhere(everywhere)[len(np.argwhere(everywhere)) // 2][::-1]
    box = roi(geometry.worldOfVoxel(volume, at), (81.0, 81.0, 11.0))
    run = logic.segment([volume], files("blob"), roi=box, slices=(1, -1), settings=QUICK)
    mask = segments.readMask(run.outcomes[0].segmentationNode, "blob", volume)
    k, j, i = np.indices(mask.shape)
    inside = (np.abs(i - at[0]) <= 10) & (np.abs(j - at[1]) <= 10) & (np.abs(k - at[2]) <= 1) & (k >= 1)
    assert mask.any()
    assert np.array_equal(mask, everywhere & inside)
    assert sorted(run.played[volume.GetID(), "blob"]) == sorted(set(k[inside].tolist()))


def test_what_cannot_be_used_is_a_sentence(
    logic: Any, volume: Any, files: Callable[..., list[str]], engine: Any
) -> None:
    import slicer
    from AdaptSAMLib.geometry import InputProblem

    far = roi(np.array([5000.0, 0, 0]), (10, 10, 10))
    flat = roi(np.array([0.0, 0, 0]), (0, 10, 10))
    picture = slicer.util.addVolumeFromArray(
        np.zeros((1, 8, 8, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode", name="Picture"
    )
    blob, before = files("blob"), ids()
    for values, more, sentence in (
        (([], blob), {}, "Tick at least one image"),
        ((volume, []), {}, "Tick at least one structure"),
        ((volume, ["nobody"]), {}, "There is no agent nobody"),
        ((volume, blob * 2), {}, "Two agents find blob"),
        ((volume, files("stranger")), {}, "was trained with another SAM"),
        ((volume, files("brain")), {}, "was trained on MR, and Planning is CT"),
        ((picture, blob), {}, "was trained on gray values, and Picture has others"),
        ((volume, blob), {"roi": far}, "holds no voxel"),
        ((volume, blob), {"roi": flat}, "has no size"),
        ((volume, blob), {"slices": (2, 17)}, "numbered 0 to 5"),
        ((volume, blob), {"settings": {"use.steps": -1}}, "whole number of steps"),
    ):
        with pytest.raises(InputProblem, match=sentence):
            logic.segment(*values, **more)
    assert ids() == before
    assert not engine.busy


def test_cancelling_and_a_killed_worker_leave_the_scene_as_it_was(
    logic: Any, volume: Any, files: Callable[..., list[str]], engine: Any, until: Callable[..., None]
) -> None:
    import signal

    before, slow = ids(), {"use.steps": 100, "batch_slices": 1}
    for ends in ("cancelled", "error"):
        run = logic.segment(volume, files("blob"), settings=slow, wait=False)
        until(lambda run=run: bool(run.played))
        if ends == "cancelled":
            run.cancel()
        else:
            os.kill(engine.workerPid, signal.SIGKILL)
        until(lambda run=run: run.ended is not None)
        assert run.ended[0] == ends
        assert ids() == before
    assert "ended from outside" in run.ended[1]


def test_the_panel_lists_agents_without_a_worker_unless_they_are_another_machines(
    panel: Any, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib.engine import Engine
    from AutoPromptSAMLib import panel as module

    asked: list[str] = []
    monkeypatch.setattr(Engine, "request", lambda self, do, *_, **more: asked.append(do))
    monkeypatch.setenv(FOLDER_VARIABLE, str(shelf))
    (shelf / "broken.agent.safetensors").write_bytes(b"nothing")
    panel.enter()
    (shelf / "broken.agent.safetensors").unlink()
    assert asked == []
    problems = {one["name"]: one["problem"] for one in panel.knownAgents}
    assert (problems["blob"], problems["spoken"]) == ("", "")
    assert "damaged" in problems["broken"]
    assert {one["name"] for one in panel.logic.agents()} >= {"blob", "lump"}
    assert asked == []
    monkeypatch.setattr(module, "elsewhere", lambda: ["ssh", "gpu", "python", "-m", "adaptsam.worker", "-"])
    panel.enter()
    assert panel.knownAgents == [], "those of this computer are not there"
    assert asked == ["hello", "agents"]


def test_the_panel_from_the_empty_scene_to_the_changed_slice(
    panel: Any,
    engine: Any,
    scene: Any,
    shelf: Path,
    until: Callable[..., None],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import slicer
    from AdaptSAMLib import segments
    from PySide6.QtCore import Qt

    assert panel.ui.statusLabel.text == "Tick at least one image."
    assert not panel.ui.applyButton.enabled
    volume = request.getfixturevalue("volume")
    panel.initializeParameterNode()
    assert panel.parameterNode.targets == [volume]
    monkeypatch.setenv(FOLDER_VARIABLE, str(shelf))
    panel.initializeParameterNode()
    texts = [panel.ui.agentList.item(n).text() for n in range(panel.ui.agentList.count)]
    assert "blob, CT" in texts
    [tip] = [panel.ui.agentList.item(texts.index("blob, CT")).toolTip()]
    assert tip.endswith(" SCT 4147007.")
    panel.ui.searchLineEdit.text = "mr bra"
    ticked = panel.parameterNode.agents
    shown = [panel.ui.agentList.item(n).text() for n in range(panel.ui.agentList.count)]
    assert [one for one in shown if one.startswith("brain")]
    assert not [one for one in shown if one.startswith("blob")]
    panel.ui.searchLineEdit.text = ""
    panel.parameterNode.agents = []
    assert panel.ui.statusLabel.text == "Tick at least one structure to find."
    [item] = [
        panel.ui.agentList.item(n)
        for n in range(panel.ui.agentList.count)
        if panel.ui.agentList.item(n).text().startswith("blob")
    ]
    item.setCheckState(Qt.CheckState.Checked)
    assert len(ticked) <= 1
    assert panel.ui.applyButton.enabled
    assert not panel.ui.textLineEdit.visible, "this agent takes no words"
    assert not panel.ui.clipComboBox.visible
    panel.ui.stepsSpinBox.value = 4
    panel.ui.applyButton.click()
    assert panel.ui.applyButton.text == "Cancel"
    until(lambda: panel.run is None)
    assert panel.ui.resultTree.topLevelItemCount == 1
    assert panel.ui.resultTree.columnCount == 4
    assert panel.ui.surfaceButton.visible
    assert not panel.ui.compareButton.visible, "nobody drew anything to compare with"
    assert not panel.ui.goOnButton.enabled

    panel.ui.replayButton.click()
    assert panel.ui.goOnButton.enabled
    assert panel.ui.stepSlider.maximum == panel.ui.stepSlider.value == 4
    panel.ui.stepSlider.value = 1
    assert panel.replay.markups.GetNumberOfControlPoints() == 3
    assert panel.ui.stepLabel.text.startswith("step 1 of 4")
    node, k = panel.finished.outcomes[0].segmentationNode, panel.replay.index
    before = segments.readMask(node, "blob", volume)
    panel.ui.flipButton.click()
    panel.ui.goOnButton.click()
    until(lambda: panel.ui.statusLabel.text == "The slice was changed.")
    assert np.array_equal(segments.readMask(node, "blob", volume)[k], panel.replay.mask())
    panel.ui.undoButton.click()
    assert np.array_equal(segments.readMask(node, "blob", volume), before)
    if "ADAPTSAM_PICTURES" in os.environ:
        for box in (panel.ui.whereCollapsibleButton, panel.ui.replayCollapsibleButton):
            box.collapsed = False
        panel.parent.resize(480, 1650)
        until(lambda: panel.ui.priorButton.visible)
        panel.parent.grab().save(str(Path(os.environ["ADAPTSAM_PICTURES"]) / "autoprompt-panel.png"))
    assert slicer.mrmlScene.GetNodeByID(node.GetID()) is node


def test_items_of_a_sequence_come_out_as_a_sequence_and_are_changed_one_by_one(
    logic: Any, scene: Any, volume: Any, files: Callable[..., list[str]]
) -> None:
    import slicer
    from AdaptSAMLib import segments

    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "4D")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Phases")
    array = slicer.util.arrayFromVolume(volume)
    for number in range(2):
        slicer.util.updateVolumeFromArray(volume, np.roll(array, 3 * number, axis=2)[2:5])
        sequence.SetDataNodeAtValue(volume, str(10 * number))
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    run = logic.segment(sequence, files("blob"), settings=QUICK)
    assert [one.target.item for one in run.outcomes] == [0, 1]
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1
    outcome = run.outcomes[1]
    result = run.sequenceOf(outcome.target)
    assert [result.GetNthIndexValue(n) for n in range(result.GetNumberOfDataNodes())] == ["0", "10"]
    replay = logic.replay(run, outcome, "blob")
    replay.show(1, 0)
    replay.accept()
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    shown = segments.readMask(browser.GetProxyNode(result), "blob", browser.GetProxyNode(sequence))
    assert np.array_equal(shown[1], replay.mask())


def test_an_agent_of_the_explicit_branch_takes_other_words(
    logic: Any, volume: Any, files: Callable[..., list[str]]
) -> None:
    own = logic.segment(volume, files("spoken"), settings=QUICK, clip="phantom_clip")
    same = logic.segment(volume, files("spoken"), settings=QUICK, clip="phantom_clip", text="the heart")
    other = logic.segment(volume, files("spoken"), settings=QUICK, clip="phantom_clip", text="a lung tumour")
    [key] = own.names
    points = [run.played[volume.GetID(), key][3]["points"] for run in (own, same, other)]
    assert points[0] == points[1]
    assert points[0] != points[2]


def test_choices_are_saved_with_the_scene_even_before_the_agents_are_listed(panel: Any, volume: Any) -> None:
    from AutoPromptSAMLib import parameters
    from PySide6.QtCore import Qt

    from AutoPromptSAM import AutoPromptSAMLogic

    node = panel.parameterNode
    node.agents, node.targets = ["/somewhere/liver.agent.safetensors"], [volume]
    panel.ui.targetList.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert panel.parameterNode.agents == ["/somewhere/liver.agent.safetensors"]
    panel.ui.firstSliceSpinBox.value = 2
    panel.ui.stopEarlyCheckBox.checked = True
    panel.ui.textLineEdit.text = "a liver"
    again = AutoPromptSAMLogic().getParameterNode()
    assert parameters.slicesOf(again) == (2, -1)
    assert again.text == "a liver"
    assert parameters.settingsOf(again)["use.stop_early"] is True


def test_closing_the_scene_during_a_run_stops_it(
    panel: Any, volume: Any, files: Callable[..., list[str]], engine: Any, until: Callable[..., None]
) -> None:
    from slicer_bench import bench

    run = panel.logic.segment(volume, files("blob"), settings={"use.steps": 100, "batch_slices": 1}, wait=False)
    until(lambda: bool(run.played))
    panel.onSceneStartClose()
    bench.clear()
    panel.onSceneEndClose()
    assert run.ended[0] == "cancelled"
    until(lambda: not engine.busy)
    assert panel.ui.targetList.count == 0
    assert panel.ui.statusLabel.text == "Tick at least one image."
