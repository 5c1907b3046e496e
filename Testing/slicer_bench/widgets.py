"""Real Qt under the name ``qt``, and real widgets that stand in for those of CTK and MRML, with their properties only.

The stand-ins read and write Qt's properties by ``property`` and ``setProperty``, which mean the same whether properties are
attributes, as in PythonQt, or functions, as they are before the switch is thrown.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

_widgets: list[Any] = []


def qtModule() -> types.ModuleType:
    """Everything of QtCore, QtGui and QtWidgets in one module, as PythonQt has it."""
    module = types.ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(part):
            if name.startswith("Q"):
                setattr(module, name, getattr(part, name))
    module.QUiLoader = UiLoader
    return module


def truthfulProperties(names: Sequence[str]) -> None:
    """Qt's properties as attributes in modules of these names, as PythonQt gives them: ``label.text``, no ``text()``."""
    from shibokensupport import feature

    feature._mod_uses_pyside = lambda module: False  # it would read the source of every module there is
    for name in names:
        feature.set_selection(0x02, name)


class Application(QtWidgets.QApplication):
    """What the modules ask of slicer.app."""

    def __init__(self) -> None:
        super().__init__(["bench"])
        self.quitting: list[Any] = []
        self.layout = types.SimpleNamespace()

    def connect(self, signal: str, function: Any) -> None:
        self.quitting.append((signal, function))

    def applicationLogic(self) -> Any:
        return None

    def layoutManager(self) -> Any:
        return types.SimpleNamespace(resetThreeDViews=lambda: None)

    def testingEnabled(self) -> bool:
        return False

    def moduleManager(self) -> Any:
        return types.SimpleNamespace(connect=lambda signal, slot: None, disconnect=lambda signal, slot: None)

    def translate(self, context: str, text: str) -> str:  # type: ignore[override]
        return text


def application() -> Any:
    existing = QtWidgets.QApplication.instance()
    return existing if isinstance(existing, Application) else Application()


class CollapsibleButton(QtWidgets.QGroupBox):
    """ctkCollapsibleButton: a box with a title that can be folded; what was hidden by itself stays so when it unfolds."""

    contentsCollapsed = QtCore.Signal(bool)
    _forcing = False

    def getCollapsed(self) -> bool:
        return bool(self.property("_folded"))

    def setCollapsed(self, folded: bool) -> None:
        self.setProperty("_folded", folded)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._fold(child)
        self.setProperty("maximumHeight", 28 if folded else 16777215)
        self.contentsCollapsed.emit(folded)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        if event.added():
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Remember what others show and hide; nothing comes into sight while the box is folded."""
        if not self._forcing and isinstance(child, QtWidgets.QWidget):
            if event.type() == QtCore.QEvent.Type.ShowToParent:
                child.setProperty("_kept_hidden", False)
                if self.getCollapsed():
                    self._fold(child)
            elif event.type() == QtCore.QEvent.Type.HideToParent:
                child.setProperty("_kept_hidden", True)
        return super().eventFilter(child, event)

    def _fold(self, child: QtWidgets.QWidget) -> None:
        self._forcing = True
        hidden = bool(child.property("_kept_hidden"))
        child.setProperty("visible", not self.getCollapsed() and not hidden)
        if not hidden:  # or a later hiding by others would not be noticed
            child.setAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def getText(self) -> str:
        return str(self.property("title"))

    def setText(self, text: str) -> None:
        self.setProperty("title", text)

    collapsed = QtCore.Property(bool, getCollapsed, setCollapsed)
    text = QtCore.Property(str, getText, setText)


class MRMLWidget(QtWidgets.QWidget):
    """qMRMLWidget: hands the scene to what is in it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        for child in self.findChildren(NodeComboBox):
            child.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)


class NodeComboBox(QtWidgets.QComboBox):
    """qMRMLNodeComboBox: the nodes of some classes, and perhaps none."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene, self._types, self._none, self._nodes = None, [], True, []
        self._children, self._hidden = True, []
        self._shown: Any = None
        self.currentIndexChanged.connect(self._tell)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent"):
            scene.AddObserver(getattr(type(scene), event, event), lambda *_: self.refresh())
        self.refresh()

    def refresh(self) -> None:
        current = self.currentNode()
        self._nodes = [None] if self._none else []
        for kind in self._types if self._scene is not None else ():
            for number in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(number, kind)
                if node not in self._nodes and self._shows(node, kind):
                    self._nodes.append(node)
        blocked = self.blockSignals(True)
        self.clear()
        self.addItems([node.GetName() if node is not None else "None" for node in self._nodes])
        self.setProperty("currentIndex", self._nodes.index(current) if current in self._nodes else 0)
        self.blockSignals(blocked)
        self._tell()

    def _shows(self, node: Any, kind: str) -> bool:
        """As qMRMLSortFilterProxyModel decides, for a node that is of that class or of a child of it."""
        if node.GetHideFromEditors() or (not self._children and node.GetClassName() != kind):
            return False
        return not self._children or not any(node.IsA(one) for one in self._hidden)

    def currentNode(self) -> Any:
        index = self.property("currentIndex")
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node: Any) -> None:
        if node in self._nodes:
            self.setProperty("currentIndex", self._nodes.index(node))

    def _tell(self, *values: Any) -> None:
        node = self.currentNode()
        if node is not self._shown:
            self._shown = node
            self.currentNodeChanged.emit(node)

    def getTypes(self) -> list[str]:
        return self._types

    def setTypes(self, types_: Sequence[str]) -> None:
        self._types = list(types_)
        self.refresh()

    def getChildren(self) -> bool:
        return self._children

    def setChildren(self, value: bool) -> None:
        self._children = value
        self.refresh()

    def getHidden(self) -> list[str]:
        return self._hidden

    def setHidden_(self, types_: Sequence[str]) -> None:
        self._hidden = list(types_)
        self.refresh()

    def getNone(self) -> bool:
        return self._none

    def setNone(self, value: bool) -> None:
        self._none = value

    nodeTypes = QtCore.Property("QStringList", getTypes, setTypes)
    noneEnabled = QtCore.Property(bool, getNone, setNone)
    showChildNodeTypes = QtCore.Property(bool, getChildren, setChildren)
    hideChildNodeTypes = QtCore.Property("QStringList", getHidden, setHidden_)


STANDINS = {
    "ctkCollapsibleButton": CollapsibleButton,
    "qMRMLWidget": MRMLWidget,
    "qMRMLNodeComboBox": NodeComboBox,
}


class UiLoader(QtUiTools.QUiLoader):
    """Reads the real .ui file; an unknown widget class is an error, as it is in Slicer."""

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        if className in STANDINS:
            widget = STANDINS[className](parent)
            widget.setProperty("objectName", name)
            return widget
        if className not in self.availableWidgets():
            raise RuntimeError(f"There is no widget {className}.")
        return super().createWidget(className, parent, name)


def ctkModule() -> types.ModuleType:
    module = types.ModuleType("ctk")
    module.ctkCollapsibleButton = CollapsibleButton
    return module


def connector(widget: Any, kind: Any, validators: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Read, write and signal of a widget that a parameter of a type is bound to, as Slicer's GUI connectors have them.

    Raises:
        RuntimeError: Slicer cannot bind the two; it looks at the widget's very class.
    """
    from slicer_bench import standins

    def named(name: str) -> tuple[Any, Any]:
        return lambda: widget.property(name), lambda value: widget.setProperty(name, value)

    if type(widget) is NodeComboBox and standins.nodeTypes(kind):
        widget.setProperty("nodeTypes", standins.nodeTypes(kind))
        return widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged
    if type(widget) in (QtWidgets.QSpinBox, QtWidgets.QSlider) and kind is int:
        ranges = [one for one in validators if hasattr(one, "minimum")]
        for one in ranges:
            widget.setRange(one.minimum, one.maximum)
        if ranges or type(widget) is QtWidgets.QSpinBox:
            return *named("value"), widget.valueChanged
    if type(widget) is QtWidgets.QCheckBox and kind is bool:
        return *named("checked"), widget.stateChanged
    if type(widget) is QtWidgets.QPushButton and kind is bool:
        widget.setProperty("checkable", True)
        return *named("checked"), widget.toggled
    if type(widget) is QtWidgets.QLineEdit and kind is str:
        return *named("text"), widget.textChanged
    raise RuntimeError(f"Unable to create GUI connector from datatype {kind} to widget type {type(widget).__name__}.")
