"""The parameters of a panel: kept in the scene, shown in boxes, lists and lines, and read from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from AdaptSAMLib import choices, images


class ParameterPanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """A widget whose choices live in a parameter node; what Slicer's connectors do not bind is bound here.

    Attributes:
        ui: the widgets by their names.
    """

    #: Parameters that are chosen in a combo box, and those that are typed, with the names of their widgets.
    boxes: dict = {"model": "modelComboBox", "device": "deviceComboBox"}
    lines: dict = {}

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.ui = None
        self._parameterNode = None
        self._guiTag = None
        self._updating = self._showing = False

    def showInputs(self) -> None:
        """Show this panel's own inputs as the parameters and the scene are now."""
        raise NotImplementedError

    def showState(self) -> None:
        """Show what can be done with the choices as they are now."""
        raise NotImplementedError

    @property
    def parameterNode(self) -> Any:
        """The choices, wrapped; None while the panel is not shown."""
        return self._parameterNode

    def connectChoices(self) -> None:
        """Connect boxes and lines, once they exist; lists follow the scene."""
        for name in self.boxes.values():
            getattr(self.ui, name).currentTextChanged.connect(lambda text: self.onChosen())
        for name in self.lines.values():
            getattr(self.ui, name).textChanged.connect(lambda text: self.onChosen())
        self._observeScene()

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.onSceneChanged)

    def onSceneChanged(self, caller: object = None, event: object = None) -> None:
        """Lists follow the scene, once in a moment however much happens in it."""
        if not self._updating:
            self._updating = True
            qt.QTimer.singleShot(0, self.onSceneSettled)

    def onSceneSettled(self) -> None:
        self._updating = False
        self.update()

    def setParameterNode(self, node: Any) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self._parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParameters)
            self.update()

    def onParameters(self, caller: object = None, event: object = None) -> None:
        self.update()

    def update(self) -> None:
        """Lists, choices and buttons as the parameters and the scene are now."""
        # What a scene brings is shown when all of it is there, or choices would be taken for those of nodes that are gone.
        if self._parameterNode is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.showInputs()
            self.showChoices()
            self.showState()

    def showChoices(self) -> None:
        """Boxes, lines and the card of the model as the parameters are now."""
        self._showing = True  # one that was shown would bring what the others show into the parameters
        for parameter, name in self.boxes.items():
            choices.choose(getattr(self.ui, name), getattr(self._parameterNode, parameter))
        for parameter, name in self.lines.items():
            line, text = getattr(self.ui, name), getattr(self._parameterNode, parameter)
            if line.text != text:
                line.text = text
        self._showing = False

    def onChosen(self) -> None:
        """Take over the boxes and lines into the parameters."""
        node = self._parameterNode
        if node is None or self._showing:
            return
        modifying = node.StartModify()
        for parameter, name in self.boxes.items():
            setattr(node, parameter, choices.chosen(getattr(self.ui, name)))
        for parameter, name in self.lines.items():
            setattr(node, parameter, getattr(self.ui, name).text)
        node.EndModify(modifying)

    # -- images

    def _listImages(self, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
        """The images that can be targets, ticked as the parameters say."""
        entries = [(one.GetID(), choices.titled(one), "") for one in nodes]
        choices.showTicks(self.ui.targetList, entries, [one.GetID() for one in self.targets()])

    def _tickedImages(self) -> list:
        return images.listed([slicer.mrmlScene.GetNodeByID(one) for one in choices.ticked(self.ui.targetList)])

    def targets(self) -> list:
        """The images that are chosen, and still there."""
        return images.listed(self._parameterNode.targets)
