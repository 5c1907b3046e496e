"""What Slicer's parameterNodeWrapper does that the modules rely on: told of the stand-in, and of Slicer's own where it is here."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from slicer_bench import sources, standins


@pytest.fixture(params=["stand-in", "Slicer's own"])
def wrapper(request: pytest.FixtureRequest, scene: Any) -> Iterator[Any]:
    """parameterNodeWrapper and WithinRange of either kind."""
    if request.param == "stand-in":
        yield types.SimpleNamespace(wrap=standins.parameterNodeWrapper, WithinRange=standins.WithinRange)
        return
    if sources.folder() is None:
        pytest.skip("SLICER_SOURCE names no checkout of Slicer")
    import slicer.parameterNodeWrapper as own

    yield types.SimpleNamespace(wrap=own.parameterNodeWrapper, WithinRange=own.WithinRange)


def bound(kind: Any, widget: Any, wrap: Any) -> Any:
    """A parameter node with one parameter of a type that has no default, bound to a widget."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    widget.setProperty("SlicerParameterName", "chosen")
    parameters = wrap(type("Parameters", (), {"__annotations__": {"chosen": kind}}))(node)
    parameters.connectGui(types.SimpleNamespace(widget=widget))
    return parameters


def selector() -> Any:
    import slicer
    from slicer_bench import widgets

    made = widgets.NodeComboBox()
    made.setMRMLScene(slicer.mrmlScene)
    return made


def test_classes_of_nodes_are_instantiated_so_that_an_abstract_one_is_refused(wrapper: Any) -> None:
    import slicer

    with pytest.raises(TypeError, match="abstract class"):
        bound(slicer.vtkMRMLVolumeNode, selector(), wrapper.wrap)


def test_one_of_several_classes_or_none_fills_the_selector_with_these(wrapper: Any) -> None:
    import slicer

    widget = selector()
    kind = slicer.vtkMRMLScalarVolumeNode | slicer.vtkMRMLVectorVolumeNode | None
    parameters = bound(kind, widget, wrapper.wrap)
    assert list(widget.property("nodeTypes")) == ["vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode"]
    color = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    parameters.chosen = color
    assert parameters.chosen is widget.currentNode() is color
    slicer.mrmlScene.RemoveNode(color)
    assert parameters.chosen is None


def test_a_type_that_cannot_be_kept_is_refused_when_the_class_is_made(wrapper: Any) -> None:
    with pytest.raises(Exception, match="serializer"):
        wrapper.wrap(type("Parameters", (), {"__annotations__": {"chosen": bytes}}))


def test_a_value_of_another_type_or_out_of_range_is_refused(wrapper: Any) -> None:
    import slicer

    kinds = {"count": Annotated[int, wrapper.WithinRange(1, 4)], "image": slicer.vtkMRMLScalarVolumeNode, "name": str}
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = wrapper.wrap(type("Parameters", (), {"__annotations__": kinds, "count": 2, "name": ""}))(node)
    with pytest.raises(TypeError):
        parameters.count = 2.0
    with pytest.raises(ValueError, match="range"):
        parameters.count = 5
    with pytest.raises(TypeError):
        parameters.image = node
    with pytest.raises(ValueError, match="None"):
        parameters.name = None
    assert (parameters.count, parameters.image, parameters.name) == (2, None, "")


def test_a_widget_of_a_class_that_is_not_known_for_a_type_is_refused(wrapper: Any) -> None:
    from PySide6 import QtWidgets

    class OwnSpinBox(QtWidgets.QSpinBox):
        pass

    for kind, widget in ((int, OwnSpinBox()), (bool, QtWidgets.QRadioButton()), (int, QtWidgets.QSlider())):
        with pytest.raises(RuntimeError):
            bound(kind, widget, wrapper.wrap)


def test_the_prior_is_a_volume_in_gray_or_colour_and_no_labelmap(opened: Any) -> None:
    import slicer

    from PersonalizedSAM import PersonalizedSAMWidget

    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLLabelMapVolumeNode")
    gray, color, _labels = (slicer.mrmlScene.AddNewNodeByClass(kind) for kind in kinds)
    panel = opened(PersonalizedSAMWidget, 400, 300)
    panel.enter()
    box = panel.ui.priorVolumeSelector
    assert [node for node in box._nodes if node is not None] == [gray, color]
    panel.parameterNode.priorVolume = color
    assert box.currentNode() is color
