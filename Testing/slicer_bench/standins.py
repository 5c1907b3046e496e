"""As little as can stand in for Slicer's pure-Python parts that are not in the slicer-core wheel.

Names and signatures are held to Slicer's sources by ``test_names.py``.
"""

from __future__ import annotations

import os
import sys
import types
import typing
from collections.abc import Callable, MutableSequence
from typing import Any


def install(slicer: Any) -> None:
    """Publish slicer.i18n, slicer.ScriptedLoadableModule and slicer.parameterNodeWrapper."""
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for one in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, one.__name__, one)
    base.__all__ = [name for name in vars(base) if name.startswith("Scripted")]
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper, wrapper.WithinRange = parameterNodeWrapper, WithinRange
    for name, module in (("i18n", i18n), ("ScriptedLoadableModule", base), ("parameterNodeWrapper", wrapper)):
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    slicer.selfTests = {}


def patch(slicer: Any) -> None:
    """What even Slicer's own ``slicer.util`` has from the application and from PythonQt."""
    slicer.util.startupEnvironment = lambda: dict(os.environ)
    slicer.util.childWidgetVariables = _childWidgetVariables


def _childWidgetVariables(widget: Any) -> Any:
    """As Slicer's, which asks for ``name``, PythonQt's word for Qt's objectName."""
    from PySide6 import QtWidgets

    children = {one.property("objectName"): one for one in widget.findChildren(QtWidgets.QWidget)}
    return types.SimpleNamespace(**{name: one for name, one in children.items() if name and not name.startswith("qt_")})


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def resourcePath(self, filename: str) -> str:
        module = sys.modules[type(self).__module__]
        return os.path.join(os.path.dirname(module.__file__), "Resources", filename)

    def setup(self) -> None:
        pass

    def onReload(self) -> None:
        import slicer

        slicer.util.reloadScriptedModule(self.moduleName)

    def cleanup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        import slicer

        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node = scene.AddNode(node)
        return node


class ScriptedLoadableModuleTest:
    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        print(message)


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def __call__(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


def parameterNodeWrapper(classtype: type) -> type:
    """Members with types become properties that live in a real vtkMRMLScriptedModuleNode.

    Raises:
        Exception: a member is of a type that Slicer cannot keep.
    """
    hints = typing.get_type_hints(classtype, include_extras=True)
    for name, hint in hints.items():
        if not _known(_plain(hint)[0]):
            raise Exception(f"Unable to create serializer for {classtype} member {name}")
    body: dict[str, Any] = {"__init__": _initialise, "connectGui": _connectGui, "disconnectGui": _disconnectGui}
    body |= {name: property(_reader(name), _writer(name)) for name in hints}
    body |= {name: _forward(name) for name in ("AddObserver", "RemoveObserver", "StartModify", "EndModify", "Modified")}
    made = type(classtype.__name__, (), body)
    made._hints, made._defaults = hints, {name: getattr(classtype, name, None) for name in hints}
    return made


def _known(kind: Any) -> bool:
    """Whether Slicer keeps this type: plain values, nodes, one of several classes of nodes or None, and lists of these."""
    if typing.get_origin(kind) is list:
        return all(_known(one) for one in typing.get_args(kind))
    return kind in (int, float, str, bool) or bool(_nodeClasses(kind))


def _nodeClasses(kind: Any) -> list[Any]:
    """The classes of nodes that a type stands for; none for other types."""
    import slicer

    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    kinds = [one for one in (typing.get_args(kind) if union else [kind]) if one is not type(None)]
    return kinds if all(isinstance(one, type) and issubclass(one, slicer.vtkMRMLNode) for one in kinds) else []


def nodeTypes(kind: Any) -> list[str]:
    """What a node selector is told; as in Slicer, the classes are instantiated, which an abstract one refuses."""
    return [one().GetClassName() for one in _nodeClasses(kind)]


def _initialise(self: Any, parameterNode: Any, prefix: Any = None) -> None:
    self.parameterNode, self._mapping = parameterNode, {}


def _forward(name: str) -> Any:
    return lambda self, *values: getattr(self.parameterNode, name)(*values)


def _plain(hint: Any) -> tuple[Any, list[Any]]:
    if typing.get_origin(hint) is typing.Annotated:
        kind, *validators = typing.get_args(hint)
        return kind, validators
    return hint, []


def _isNode(kind: Any) -> bool:
    return bool(_nodeClasses(kind))


class ObservedList(MutableSequence):  # type: ignore[type-arg]
    """As Slicer's: it is no list and cannot be added to one, what changes it is kept, and a node that is gone is None."""

    def __init__(self, values: list[Any], save: Callable[[list[Any]], None]) -> None:
        self._values, self._save = values, save

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._save(self._values)

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._save(self._values)

    def insert(self, index: int, value: Any) -> None:
        self._values.insert(index, value)
        self._save(self._values)

    def __eq__(self, other: object) -> bool:
        return bool(self._values == (other._values if isinstance(other, ObservedList) else other))


def _reader(name: str) -> Any:
    write = _writer(name)

    def read(self: Any) -> Any:
        kind, _ = _plain(self._hints[name])
        node = self.parameterNode
        if _isNode(kind):
            return node.GetNodeReference(name)
        if typing.get_origin(kind) is list:
            [inner] = typing.get_args(kind)
            count = int(node.GetParameter(f"{name}.len") or 0)
            read = node.GetNodeReference if _isNode(inner) else lambda key: inner(node.GetParameter(key))
            return ObservedList([read(f"{name}.{n}") for n in range(count)], lambda values: write(self, values))
        if not node.HasParameter(name):
            return self._defaults[name]
        text = node.GetParameter(name)
        return text == "true" if kind is bool else kind(text)

    return read


def _checkKind(kind: Any, value: Any) -> None:
    """Raises TypeError or ValueError for a value that Slicer would not take."""
    if typing.get_origin(kind) is list:
        for one in value:
            _checkKind(typing.get_args(kind)[0], one)
        return
    classes = tuple(_nodeClasses(kind))
    if value is None and not classes:
        raise ValueError("Value must not be None")
    allowed = classes or ((int, float) if kind is float else (kind,))
    if value is not None and not isinstance(value, allowed):
        raise TypeError(f"Value must be of type '{kind}', is type '{type(value)}' value '{value}'")


def _writer(name: str) -> Any:
    def write(self: Any, value: Any) -> None:
        kind, validators = _plain(self._hints[name])
        node = self.parameterNode
        _checkKind(kind, value)
        for validator in validators:
            validator(value)
        if _isNode(kind):
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        elif typing.get_origin(kind) is list:
            modifying = node.StartModify()
            for number, one in enumerate(value):
                if _isNode(typing.get_args(kind)[0]):
                    node.SetNodeReferenceID(f"{name}.{number}", one.GetID() if one is not None else None)
                else:
                    node.SetParameter(f"{name}.{number}", str(one))
            node.SetParameter(f"{name}.len", str(len(value)))
            node.EndModify(modifying)
        else:
            node.SetParameter(name, ("true" if value else "false") if kind is bool else str(kind(value)))

    return write


def _connectGui(self: Any, gui: Any) -> int:
    """Widgets whose SlicerParameterName names a member follow it, and it follows them."""
    from slicer_bench import widgets

    connected = []
    for widget in vars(gui).values():
        name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
        if not name:
            continue
        if name not in self._hints:
            raise ValueError(f"There is no parameter {name!r}.")
        connected.append((name, widgets.connector(widget, *_plain(self._hints[name]))))

    def toGui(caller: Any = None, event: Any = None) -> None:
        for name, (_, write, _signal) in connected:
            write(getattr(self, name))

    toGui()
    links = []
    for name, (read, _, signal) in connected:

        def toNode(*values: Any, name: str = name, read: Any = read) -> None:
            setattr(self, name, read())

        signal.connect(toNode)
        links.append((signal, toNode))
    tag = self.parameterNode.AddObserver("ModifiedEvent", toGui)
    self._mapping[tag] = links
    return tag


def _disconnectGui(self: Any, tag: Any) -> None:
    if tag in self._mapping:
        self.parameterNode.RemoveObserver(tag)
        for signal, function in self._mapping.pop(tag):
            signal.disconnect(function)
