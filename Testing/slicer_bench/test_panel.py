"""The real .ui file and the real widget class in real Qt: what a user sees, and what happens at a click."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import thorax

Visits = tuple[Any, Any, Any]


@pytest.fixture
def panel(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    from PersonalizedSAMLib import parameters

    from PersonalizedSAM import PersonalizedSAMWidget

    monkeypatch.setattr(parameters, "settingsOf", lambda node: QUICK)
    return opened(PersonalizedSAMWidget, 460, 1200)


def nodesOf(kind: str) -> list[Any]:
    import slicer

    return [slicer.mrmlScene.GetNthNodeByClass(n, kind) for n in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind))]


def fiducials() -> list[Any]:
    return nodesOf("vtkMRMLMarkupsFiducialNode")


def texts(widget: Any) -> list[str]:
    return [widget.item(n).text() for n in range(widget.count)]


def tick(widget: Any, text: str, on: bool = True) -> None:
    from PySide6.QtCore import Qt

    [item] = [widget.item(n) for n in range(widget.count) if widget.item(n).text().startswith(text)]
    item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)


def rows(tree: Any) -> list[tuple[str, list[str]]]:
    """The first column of the parents, with those of their children."""
    parents = [tree.topLevelItem(n) for n in range(tree.topLevelItemCount)]
    return [(one.text(0), [one.child(n).text(0) for n in range(one.childCount())]) for one in parents]


def test_an_empty_scene_says_what_to_choose_first(panel: Any, application: Any) -> None:
    assert not panel.ui.applyButton.enabled
    assert panel.ui.statusLabel.text.startswith("Choose the contoured image")
    assert panel.ui.applyButton.toolTip == panel.ui.statusLabel.text
    assert "research use only" in panel.ui.researchLabel.text
    assert not panel.ui.progressBar.visible


def test_defaults_are_filled_from_the_scene(panel: Any, scene: Any, visits: Visits, until: Callable[..., None]) -> None:
    prior, contours, _ = visits
    panel.initializeParameterNode()
    assert panel.ui.priorVolumeSelector.currentNode() is prior
    assert panel.ui.priorSegmentationSelector.currentNode() is contours
    assert texts(panel.ui.segmentList) == ["tumour", "heart"]
    assert texts(panel.ui.targetList) == ["Week 3"]
    assert panel.ui.applyButton.enabled
    tick(panel.ui.segmentList, "tumour", False)
    assert panel._parameterNode.segments == ["id-heart"]
    tick(panel.ui.segmentList, "heart", False)
    assert panel.ui.statusLabel.text == "Tick at least one structure."
    assert not panel.ui.applyButton.enabled


def test_many_structures_are_filtered_by_name_and_what_is_ticked_stays_in_sight(
    panel: Any, scene: Any, visits: Visits
) -> None:
    import numpy as np
    import slicer
    from AdaptSAMLib import segments

    prior, contours, _ = visits
    panel.initializeParameterNode()
    assert not panel.ui.segmentFilterLineEdit.visible, "two structures are seen at once"
    for name in ("Lung L", "Lung R", "Spinal cord", "Esophagus", "BODY", "Couch", "Dose 95[%]"):
        prototype = slicer.vtkSegment()
        prototype.SetName(name)
        segments.setSegment(contours, name, prototype, np.ones((1, 2, 2), bool), (5, 5, 5), prior)
    panel.parameterNode.segments = ["id-heart", "Lung L"]
    panel.update()
    assert panel.ui.segmentFilterLineEdit.visible
    panel.ui.segmentFilterLineEdit.text = "lung"

    def seen() -> list[str]:
        items = [panel.ui.segmentList.item(n) for n in range(panel.ui.segmentList.count)]
        return [one.text() for one in items if not one.isHidden()]

    assert seen() == ["heart", "Lung L", "Lung R"]
    tick(panel.ui.segmentList, "Lung R")
    assert panel.parameterNode.segments == ["id-heart", "Lung L", "Lung R"]
    tick(panel.ui.segmentList, "heart", False)
    assert seen() == ["Lung L", "Lung R"]
    panel.ui.segmentFilterLineEdit.text = "l r"
    assert panel.parameterNode.segments == ["Lung L", "Lung R"], "a filter changes no tick"
    panel.ui.segmentFilterLineEdit.text = ""
    assert len(seen()) == 9


def test_the_earliest_study_is_the_prior_and_later_ones_of_the_patient_are_targets(
    panel: Any, scene: Any, visits: Visits
) -> None:
    import slicer

    prior, _contours, target = visits
    early = volumeNode(thorax(), "Planning, first")
    drawn = segmentationNode(thorax(), early, "First contours")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
    hierarchy.SetItemAttribute(subject, "DICOM.PatientID", "P")
    for node, day in ((prior, "20260201"), (target, "20260301"), (early, "20260101")):
        study = hierarchy.CreateStudyItem(subject, day)
        hierarchy.SetItemAttribute(study, "DICOM.StudyDate", day)
        hierarchy.CreateItem(study, node)
    panel.initializeParameterNode()
    node = panel._parameterNode
    assert node.priorVolume is early
    assert node.priorSegmentation is drawn
    assert node.targets == [prior, target]
    assert "Week 3 (2026-03-01)" in texts(panel.ui.targetList)
    node.targets = []
    panel.ui.laterButton.click()
    assert node.targets == [prior, target]


def test_choices_are_saved_with_the_scene(panel: Any, visits: Visits) -> None:
    from PersonalizedSAM import PersonalizedSAMLogic

    panel.initializeParameterNode()
    panel.ui.registrationComboBox.currentIndex = 1
    panel.ui.partsSpinBox.value = 2
    panel.ui.locationPriorCheckBox.checked = False
    panel._parameterNode.model = "/somewhere/medsam.pth"
    again = PersonalizedSAMLogic().getParameterNode()
    assert (again.registration, again.parts, again.locationPrior) == ("rigid", 2, False)
    assert panel.ui.modelComboBox.currentText == "medsam.pth"
    assert panel.ui.modelCardLabel.text == "/somewhere/medsam.pth"


def test_a_scenes_choices_survive_the_panel_that_shows_them(panel: Any, visits: Visits) -> None:
    from PersonalizedSAM import PersonalizedSAMLogic

    panel.exit()
    node = PersonalizedSAMLogic().getParameterNode()
    chosen = {"model": "sam", "device": "cuda", "registration": "rigid", "pairing": "position", "window": "lung"}
    for name, value in chosen.items():
        setattr(node, name, value)
    panel.enter()
    assert {name: getattr(panel.parameterNode, name) for name in chosen} == chosen
    assert panel.ui.windowComboBox.currentText == "lung"


def test_the_panels_choices_become_adaptsams_settings(scene: Any, engine: Any) -> None:
    from PersonalizedSAMLib import parameters

    from adaptsam.propagation.volume_propagation import PropagationSettings
    from adaptsam.worker.recent_runs import asked_settings
    from PersonalizedSAM import PersonalizedSAMLogic

    node = PersonalizedSAMLogic().getParameterNode()
    assert parameters.settingsOf(node) == {}
    node.parts, node.backgroundParts, node.registration = 3, 1, "off"
    node.locationPrior, node.acceptance, node.window, node.pairing = False, False, "lung", "position"
    settings = asked_settings({"settings": parameters.settingsOf(node)}, PropagationSettings())
    assert (settings.p2sam.positives, settings.p2sam.negatives) == ((1, 3), (1, 1))
    assert (settings.register, settings.fusion, settings.location_prior) == ("off", "off", False)
    assert (settings.acceptance, settings.window, settings.pairing) == ("off", "lung", "position")
    with pytest.raises(ValueError, match="range"):
        node.parts = 11


def test_the_panel_says_when_images_are_sent_to_another_machine(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from AdaptSAMLib import modelbox as base

    assert "another machine" not in panel.ui.modelCardLabel.text
    monkeypatch.setattr(base, "elsewhere", lambda: ["ssh", "gpu", "python", "-m", "adaptsam.worker", "-"])
    panel.update()
    assert panel.ui.modelCardLabel.text.startswith("The images are sent to another machine (ssh gpu python")


def test_missing_packages_are_told_and_offered(panel: Any, visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    from AdaptSAMLib import packages

    monkeypatch.setattr(packages, "missing", lambda *_: ["monai>=1.5.1", "torch>=2.6"])
    panel.initializeParameterNode()
    assert panel.ui.installButton.visible
    assert panel.ui.statusLabel.text == "2 Python packages are missing; install them first."
    assert not panel.ui.applyButton.enabled


def test_an_installation_that_replaced_what_was_loaded_asks_for_a_restart(
    panel: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import packages

    monkeypatch.setattr(engine, "close", lambda: None)
    monkeypatch.setattr(packages, "install", lambda *_: ["numpy"])
    panel.ui.installButton.clicked.emit()
    assert panel.ui.statusLabel.text == "Restart Slicer: a package that it had loaded was replaced (numpy)."


@pytest.fixture
def mouse(scene: Any) -> Any:
    """What Slicer's place mode lives in."""
    import slicer

    made = []
    for kind in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        node = getattr(slicer, kind)()
        node.SetSingletonTag("Singleton")
        made.append(scene.AddNode(node))
    return made[1]


def test_the_worker_is_asked_when_it_is_first_needed_and_what_goes_wrong_is_told(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AdaptSAMLib import panel as module

    from PersonalizedSAM import PersonalizedSAMWidget

    asked: list[str] = []

    class Refuses:
        busy = False

        @classmethod
        def shared(cls) -> Any:
            return cls()

        def request(self, do: str, handler: Any, **content: Any) -> None:
            asked.append(do)
            handler({"event": "error", "message": "The window and its worker are of different versions."})

    monkeypatch.setattr(module, "Engine", Refuses)
    panel = opened(PersonalizedSAMWidget, 400, 300)
    panel.enter()
    assert asked == []
    panel.ui.modelCollapsibleButton.collapsed = False
    assert asked == ["hello"]
    assert "different versions" in panel.ui.statusLabel.text


def test_reload_reads_the_files_of_both_packages_anew(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import slicer
    from AdaptSAMLib import panel as module

    from PersonalizedSAM import PersonalizedSAMWidget

    panel = opened(PersonalizedSAMWidget, 400, 300)
    closed: list[bool] = []
    engine = types.SimpleNamespace(close=lambda: closed.append(True))
    monkeypatch.setattr(module, "Engine", types.SimpleNamespace(shared=lambda: engine))
    monkeypatch.setitem(sys.modules, "adaptsam_of_another", types.ModuleType("adaptsam_of_another"))
    before, there = dict(sys.modules), []
    monkeypatch.setattr(slicer.util, "reloadScriptedModule", lambda name: there.extend(sys.modules))
    try:
        panel.onReload()
    finally:
        sys.modules.update(before)
    tops = {one.partition(".")[0] for one in there}
    assert not tops & {"AdaptSAMLib", "PersonalizedSAMLib", "adaptsam"}
    assert "adaptsam_of_another" in there, "a module of another package, whose name only begins alike, was removed"
    assert closed == [True]


def test_an_installation_that_fails_or_is_declined_is_told_and_what_is_missing_is_counted_anew(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from AdaptSAMLib import packages
    from AdaptSAMLib.geometry import InputProblem

    from PersonalizedSAM import PersonalizedSAMWidget

    lacking, shown = ["a>=1", "b>=1", "c>=1"], []
    panel = opened(PersonalizedSAMWidget, 400, 300)
    monkeypatch.setattr(packages, "missing", lambda *_: list(lacking))
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    panel.initializeParameterNode()
    assert "3 Python packages" in panel.ui.statusLabel.text

    def breaks(*_: Any) -> None:
        lacking.pop()
        raise RuntimeError("no connection")

    def declined(*_: Any) -> None:
        raise InputProblem("Nothing was installed.")

    monkeypatch.setattr(packages, "install", breaks)
    panel.ui.installButton.click()
    assert "no connection" in shown[0]
    assert "2 Python packages" in panel.ui.statusLabel.text
    monkeypatch.setattr(packages, "install", declined)
    panel.ui.installButton.click()
    assert len(shown) == 1
    assert panel.ui.statusLabel.text == "Nothing was installed."
    assert "2 Python packages" in panel.ui.applyButton.toolTip


def test_apply_cancel_review_correct_and_accept(
    panel: Any, engine: Any, visits: Visits, mouse: Any, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer
    from AdaptSAMLib import geometry, review, segments, tables

    prior, contours, target = visits
    panel.initializeParameterNode()
    panel.askWorker()
    until(lambda: panel.models)
    assert "GB free" in panel.ui.deviceComboBox.itemText(1)
    assert panel.ui.modelCardLabel.text.startswith("Small and quick")
    tick(panel.ui.segmentList, "tumour", False)
    assert panel.ui.resultsCollapsibleButton.collapsed

    panel.ui.applyButton.click()
    assert panel.ui.applyButton.text == "Cancel"
    assert panel.ui.progressBar.visible
    until(lambda: "Learning" in panel.ui.statusLabel.text or "slice" in panel.ui.statusLabel.text)
    panel.ui.applyButton.click()
    until(lambda: panel.run is None)
    assert panel.ui.applyButton.text == "Apply"
    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.resultTree.topLevelItemCount == 0
    display = contours.GetDisplayNode()
    filled = display.GetVisibility2DFill()

    monkeypatch.setattr(review, "TRUSTED", 1.1)
    panel.ui.applyButton.click()
    until(lambda: panel.run is None)
    assert not panel.ui.resultsCollapsibleButton.collapsed
    assert filled
    assert not display.GetVisibility2DFill(), "the contours are an outline beside the result"
    assert display.GetOpacity2DOutline() < 1
    [(name, listed)] = rows(panel.ui.resultTree)
    assert name == "heart"
    [structure] = panel.view.structures
    assert len(listed) == len(structure.slices) > 0
    first = structure.slices[0]
    assert listed[0].startswith(f"slice {first.index}, ")
    assert listed[0].endswith(" mm")
    panel.ui.nextButton.click()
    while panel.view.current is structure.whole:
        panel.ui.nextButton.click()
    assert panel.view.current is first

    outcome = panel.finished.outcomes[0]
    k = first.index
    before = segments.readMask(outcome.segmentationNode, "id-heart", target)
    asked: list[dict[str, Any]] = []
    request = engine.request
    monkeypatch.setattr(
        engine, "request", lambda do, handler, **more: asked.append(more) or request(do, handler, **more)
    )
    panel.ui.excludeButton.click()
    assert mouse.GetCurrentInteractionMode() == mouse.Place
    assert panel.correction.shown == panel.currentSlice() == k
    for again in range(3):
        panel.ui.statusLabel.text = ""
        panel.correction.prompts[0].AddControlPointWorld(*geometry.worldOfVoxel(target, [2 + 3 * again, 2, k]))
        until(lambda: panel.ui.statusLabel.text == "Corrected.")
        assert asked[-1]["clicked"].count(True) == again + 1, "the points that were placed still decide"
        assert panel.ui.excludeButton.checked
        assert mouse.GetCurrentInteractionMode() == mouse.Place
    assert len(fiducials()) == 2
    mouse.SwitchToViewTransformMode()  # Escape
    until(lambda: not panel.ui.excludeButton.checked)
    count = segments.readMask(outcome.segmentationNode, "id-heart", target).sum()
    assert count != before.sum()
    volume = count * 4 * 4 * 5 / 1000
    found = [one for one in nodesOf("vtkMRMLTableNode") if one.GetAttribute(tables.ROLE) == "results"][-1].GetTable()
    assert panel.ui.resultTree.topLevelItem(0).text(1) == f"{volume:.2f}"
    assert found.GetColumnByName("Volume (cm³)").GetValue(0) == pytest.approx(volume, abs=1e-3)
    assert found.GetValueByName(0, "Status").ToString() == "corrected"
    panel.onResult()  # another structure, and back
    for _ in range(3):
        assert panel.ui.undoButton.enabled
        panel.ui.undoButton.click()
    assert not panel.ui.undoButton.enabled
    assert np.array_equal(segments.readMask(outcome.segmentationNode, "id-heart", target), before)
    assert found.GetColumnByName("Volume (cm³)").GetValue(0) != pytest.approx(volume, abs=1e-3)

    panel.ui.outputComboBox.currentIndex = 1
    panel.ui.applyButton.click()
    panel.ui.nextButton.click()  # of the results that are still shown
    until(lambda: panel.run is None)
    assert outcome.segmentationNode.GetScene() is None, "another result took its place"
    outcome = panel.finished.outcomes[0]

    outcome.segmentationNode.GetSegmentation().AddEmptySegment("id-gone", "gone")
    panel.ui.acceptButton.click()
    assert list(panel.parameterNode.segments) == ["id-heart"], "what is empty cannot be carried on"
    assert panel._parameterNode.priorVolume is target
    assert panel._parameterNode.priorSegmentation is outcome.segmentationNode
    assert panel._parameterNode.targets == [prior]

    panel.ui.addButton.click()
    outcome.segmentationNode.GetSegmentation().RemoveSegment("id-heart")
    panel.correction.prompts[1].AddControlPointWorld(*panel.view.structure.whole.ras)
    until(lambda: "not in the scene any more" in panel.ui.statusLabel.text)
    assert panel.ui.statusLabel.text == "heart of Week 3 is not in the scene any more; press Apply again."
    slicer.mrmlScene.RemoveNode(target)
    panel.ui.resultTree.setCurrentItem(panel.ui.resultTree.topLevelItem(0).child(0))
    panel.ui.resultTree.setCurrentItem(panel.ui.resultTree.topLevelItem(0))
    assert panel.ui.statusLabel.text.startswith("Week 3 was removed from the scene or resampled")


def test_the_slice_to_correct_is_that_of_the_view_which_looks_at_the_images_slices(panel: Any, scene: Any) -> None:
    import slicer
    from PersonalizedSAMLib.correction import Correction

    sagittal = np.array([[0, 0, 4.0, -40], [2.0, 0, 0, -20], [0, 2.0, 0, -20], [0, 0, 0, 1]])
    volume = slicer.util.addVolumeFromArray(np.zeros((20, 20, 20), np.int16), ijkToRAS=sagittal)
    axial, across = np.diag([-1.0, 1, 1, 1]), sagittal / [2, 2, 4, 1]
    axial[:3, 3], across[:3, 3] = (0, 0, 6), (-28, 0, 0)
    for color, plane in (("Red", axial), ("Yellow", across)):
        view = slicer.vtkMRMLSliceNode()
        view.SetSingletonTag(color)
        view.SetName(color)
        view = scene.AddNode(view)
        assert view.GetID() == f"vtkMRMLSliceNode{color}"
        view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(plane))
    correction = Correction.__new__(Correction)
    correction.axis, correction.outcome = 0, type("Outcome", (), {"target": type("Target", (), {"volumeNode": volume})})
    panel.correction = correction
    correction.hidePrompts = lambda: None
    assert panel.currentSlice() == 3


def test_closing_the_scene_during_a_run_ends_it_with_a_sentence_and_empties_the_panel(
    panel: Any, engine: Any, scene: Any, visits: Visits, until: Callable[..., None]
) -> None:
    import slicer

    panel.initializeParameterNode()
    tick(panel.ui.segmentList, "tumour", False)
    panel.ui.applyButton.click()
    until(lambda: engine.busy)
    slicer.mrmlScene.Clear()
    assert panel.run is None
    assert panel.ui.statusLabel.text == "The scene was closed; the run was stopped."
    until(lambda: not engine.busy)
    assert panel.ui.segmentList.count == 0
    assert not panel.ui.applyButton.enabled


def test_a_target_that_is_deleted_leaves_the_panel_and_the_rest_stays_ticked(panel: Any, visits: Visits) -> None:
    import slicer

    prior, _contours, target = visits
    other = volumeNode(thorax(), "Week 4")
    panel.initializeParameterNode()
    node = panel.parameterNode
    node.targets = [target, other]
    slicer.mrmlScene.RemoveNode(target)
    panel.update()
    assert texts(panel.ui.targetList) == ["Week 4"]
    assert panel.ui.applyButton.enabled
    assert panel.logic.propagate(prior, node.priorSegmentation, other, wait=False).cancel() is None
    slicer.mrmlScene.RemoveNode(other)
    panel.update()
    assert panel.ui.statusLabel.text.startswith("Tick at least one image")


def test_a_segment_that_is_deleted_after_it_was_ticked_is_not_asked_for(panel: Any, visits: Visits) -> None:
    panel.initializeParameterNode()
    node = panel.parameterNode
    assert list(node.segments) == ["id-tumour", "id-heart"]
    node.priorSegmentation.GetSegmentation().RemoveSegment("id-tumour")
    panel.update()
    tick(panel.ui.targetList, "Week 3", False)
    assert panel.targets() == []
    node.segments = ["id-tumour", "id-heart"]
    tick(panel.ui.targetList, "Week 3")
    assert panel.targets() == [visits[2]]
    node.segments = ["id-tumour", "id-heart"]
    assert panel.ui.applyButton.enabled
    panel.ui.applyButton.click()
    assert panel.run is not None, panel.ui.statusLabel.text
    assert list(panel.run.names) == ["id-heart"]
    panel.ui.applyButton.click()
