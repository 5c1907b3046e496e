"""An own agent trained from the scene with the real worker: curves as nodes, stop, going on, and the agent in the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slicer_bench.conftest import segmentationNode, volumeNode
from thorax import thorax

pytest.importorskip("torchrl")

#: A training of seconds.
QUICK = {
    "environment.patch": 160,
    "environment.steps": 2,
    "training.episodes": 3,
    "training.epochs": 1,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's folder of agents, for this worker alone."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTSAM_AGENTS", str(folder))
        yield folder


@pytest.fixture
def engine(application: Any, own: Path) -> Iterator[Any]:
    from AdaptSAMLib.engine import Engine

    Engine.shared().close()  # the next request starts a worker that knows the folder
    yield Engine.shared()
    Engine.shared().close()


@pytest.fixture
def logic(scene: Any, engine: Any) -> Any:
    from AutoPromptSAM import AutoPromptSAMLogic

    return AutoPromptSAMLogic()


@pytest.fixture
def planned(scene: Any) -> tuple[Any, Any]:
    volume = volumeNode(thorax(), "Planning")
    return volume, segmentationNode(thorax(), volume, "Plan contours")


def kinds(kind: str) -> list[Any]:
    import slicer

    return [slicer.mrmlScene.GetNthNodeByClass(n, kind) for n in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind))]


def test_an_agent_from_the_console_and_its_curves(
    logic: Any, planned: tuple[Any, Any], own: Path, until: Callable[..., None]
) -> None:
    volume, contours = planned
    told: list[int] = []
    training = logic.train(
        "own heart",
        volume,
        contours,
        "heart",
        count=3,
        settings=QUICK,
        onEpisode=lambda episodes: told.append(len(episodes)),
    )
    assert training.ended == ("done", "")
    assert told == [1, 2, 3]
    assert (own / "own heart.agent.safetensors").is_file()
    assert training.agent["target"]["code"] == ["80891010", "SCT", "Organ"]  # as the segment says
    table = training.curves.table.GetTable()
    assert [table.GetColumnName(n) for n in range(3)] == ["Episode", "Return", "IoU after the first pair"]
    assert table.GetNumberOfRows() == 3
    assert table.GetValue(2, 0).ToDouble() == 3
    assert {key: one.GetNumberOfPlotSeriesNodes() for key, one in training.curves.charts.items()} == {
        "return": 1,
        "overlap": 3,
        "losses": 3,
    }
    assert "own heart" in {one["name"] for one in logic.agents()}

    from AdaptSAMLib.geometry import InputProblem

    for values, more, sentence in (
        (("", volume, contours, "heart"), {}, "Give the agent a name"),
        (("x",), {}, "Tick at least one image"),
        (("x", volume, contours, "liver"), {}, "Plan contours has no segment liver; it has tumour, heart"),
        (("x", [volume, volume], contours, "heart"), {}, "2 volumes and 1 segmentations"),
        (("x", volume, contours, "heart"), {"branch": "explicit"}, "Say what CLIP shall look for"),
        (("own heart", volume, contours, "heart"), {}, "There is an agent own heart already"),
        (("a/b", volume, contours, "heart"), {}, "An agent's name has"),
        (
            ("x", volume, contours, "heart"),
            {"branch": "explicit", "text": "spleen"},
            "does not know the word 'spleen'; it knows .*heart",
        ),
    ):
        with pytest.raises(InputProblem, match=sentence):
            logic.train(*values, **({"settings": QUICK} | more))
    contours.GetSegmentation().AddEmptySegment("empty", "Nothing")
    with pytest.raises(InputProblem, match="The target is nowhere on Planning"):
        logic.train("x", volume, contours, "Nothing", settings=QUICK)


def test_the_panel_trains_cancels_and_goes_on(
    opened: Callable[..., Any],
    engine: Any,
    planned: tuple[Any, Any],
    own: Path,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from AdaptSAMLib.panel import sentence
    from AutoPromptSAMLib import parameters

    from AutoPromptSAM import AutoPromptSAMWidget

    monkeypatch.setattr(parameters, "reduced", lambda count: {**QUICK, "training.episodes": 4})
    panel = opened(AutoPromptSAMWidget, 480, 1900)
    volume, contours = planned
    panel.initializeParameterNode()
    ui, node = panel.ui, panel.parameterNode
    assert "mine" not in {one["name"] for one in panel.knownAgents}
    assert [ui.trainSegmentComboBox.itemText(n) for n in range(ui.trainSegmentComboBox.count)] == ["tumour", "heart"]
    assert (node.trainSegment, node.trainName, node.trainVolumes) == ("tumour", "tumour", [volume])
    ui.trainSegmentComboBox.currentIndex = 1
    assert (node.trainName, node.trainSegmentations) == ("heart", [contours])
    ui.trainNameLineEdit.text = "mine"
    assert ui.trainButton.text == "Train"
    assert ui.trainButton.enabled
    ui.trainBranchComboBox.currentIndex = 1
    assert not ui.trainButton.enabled
    assert "Say what CLIP shall look for" in ui.trainButton.toolTip
    assert ui.trainTextLineEdit.enabled
    assert ui.clipComboBox.enabled
    ui.trainBranchComboBox.currentIndex = 0
    ui.trainImagesSpinBox.value = 3
    before = {kind: len(kinds(kind)) for kind in ("vtkMRMLTableNode", "vtkMRMLPlotChartNode")}
    ui.trainButton.click()
    assert ui.trainButton.text == "Cancel the training"
    assert "being trained" in sentence(panel.checkInputs)
    until(lambda: ui.curveButton.enabled)
    ui.trainButton.click()
    until(lambda: panel.training is None)
    assert ui.trainStatusLabel.text == "Cancelled."
    assert {kind: len(kinds(kind)) for kind in before} == before
    until(lambda: panel.unfinished == ["mine"])
    assert ui.trainButton.text == "Go on training"
    assert ui.trainAnewCheckBox.enabled
    ui.trainAnewCheckBox.checked = True
    assert ui.trainButton.text == "Train"
    ui.trainAnewCheckBox.checked = False

    seen: list[int] = []
    monkeypatch.setattr(panel, "onEpisode", lambda episodes: seen.append(len(episodes)))
    ui.trainButton.click()
    until(lambda: panel.training is None)
    assert seen[0] > 1
    assert seen[-1] == 4
    assert ui.trainStatusLabel.text.startswith("The agent mine is there and can be ticked on the other tab.")
    assert "training images, where the paper has 50: expect an agent" in ui.trainStatusLabel.text
    assert "No image could be held back" in ui.trainStatusLabel.text
    until(lambda: "mine" in {one["name"] for one in panel.knownAgents})
    rows = {ui.agentList.item(n).text(): ui.agentList.item(n) for n in range(ui.agentList.count)}
    assert not rows["mine, CT"].icon().isNull()
    panel.onSceneStartClose()
    assert panel.learnt is None


def test_what_is_typed_and_chosen_for_a_training_stays(opened: Callable[..., Any], engine: Any, scene: Any) -> None:
    from AutoPromptSAM import AutoPromptSAMLogic, AutoPromptSAMWidget

    panel = opened(AutoPromptSAMWidget, 480, 1900)
    panel.exit()
    node = AutoPromptSAMLogic().getParameterNode()
    chosen = {"trainName": "own", "trainText": "heart", "trainFolder": "/data/my folder", "text": "a heart"}
    chosen |= {"trainBranch": "explicit", "trainSchedule": "published", "trainWindow": "lung", "clip": "/clip"}
    for name, value in chosen.items():
        setattr(node, name, value)
    panel.initializeParameterNode()
    assert {name: getattr(panel.parameterNode, name) for name in chosen} == chosen
    assert panel.ui.trainTextLineEdit.text == "heart"
    panel.ui.trainFolderLineEdit.text = "/data/my "  # on the way to another folder
    assert panel.ui.trainFolderLineEdit.text == "/data/my "
    assert panel.parameterNode.trainFolder == "/data/my "


def test_a_killed_worker_ends_a_training_with_a_sentence_and_keeps_its_episodes(
    logic: Any, engine: Any, planned: tuple[Any, Any], own: Path, until: Callable[..., None]
) -> None:
    import os
    import signal

    volume, contours = planned
    before = len(kinds("vtkMRMLTableNode"))
    told: list[int] = []
    training = logic.train(
        "killed",
        volume,
        contours,
        "heart",
        count=3,
        settings={**QUICK, "training.episodes": 200},
        wait=False,
        onEpisode=lambda episodes: told.append(len(episodes)),
    )
    until(lambda: len(told) > 1)
    os.kill(engine.workerPid, signal.SIGKILL)
    until(lambda: training.ended is not None)
    assert "ended from outside" in training.ended[1]
    assert len(kinds("vtkMRMLTableNode")) == before
    assert (own / "killed.agent.safetensors.training").is_file()
    again = logic.train("killed", volume, contours, "heart", count=3, settings={**QUICK, "training.episodes": told[-1]})
    assert again.ended[0] == "done"
    assert again.agent["training"]["images"] == 3


def test_a_choice_is_kept_while_a_scene_is_being_loaded(opened: Callable[..., Any], planned: tuple[Any, Any]) -> None:
    import slicer

    from AutoPromptSAM import AutoPromptSAMWidget

    panel = opened(AutoPromptSAMWidget, 480, 1400)
    panel.parameterNode.trainSegment = "what comes later"
    assert panel.parameterNode.trainSegment == "tumour"
    scene = slicer.mrmlScene
    scene.StartState(scene.ImportState)
    panel.parameterNode.trainSegment = "what comes later"
    assert panel.parameterNode.trainSegment == "what comes later"
    scene.EndState(scene.ImportState)
