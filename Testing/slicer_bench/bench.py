"""Slicer's core without its window: real MRML (slicer-core), real Qt (PySide6), and for what neither has Slicer's own
Python (:mod:`slicer_bench.sources`), or stand-ins where its sources are not here."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")  # or it would take the Qt that is running here

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = (REPOSITORY / "PersonalizedSAM", REPOSITORY / "AutoPromptSAM")

LOGICS = {
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "tables": "vtkSlicerTablesLogic",
    "plots": "vtkSlicerPlotsLogic",
    "transforms": "vtkSlicerTransformLogic",
}

_kept: list[Any] = []
_kept_folders: list[Any] = []
_first: set[str] = set()


def start() -> Any:
    """Publish a scene, Qt and the stand-ins under Slicer's names; returns the application. Once a process."""
    if _kept:
        return _kept[0]
    from slicer_bench import sources, standins, widgets

    _launcher()
    sys.modules["qt"] = widgets.qtModule()
    sys.modules["ctk"] = widgets.ctkModule()
    import slicer
    import slicer.util

    _keepNone()
    application = widgets.application()
    _kept.append(application)
    slicer.app = application
    own = sources.folder()
    if own is None:
        standins.install(slicer)
    else:
        widgets.truthfulProperties(list(sources.names()))
        sources.install(slicer, own)
    standins.patch(slicer)
    slicer.mrmlScene = slicer.vtkMRMLScene()
    _logics(slicer)
    scene = slicer.mrmlScene
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    _first.update(scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes()))
    sys.path[:0] = [str(one) for one in MODULES if str(one) not in sys.path]
    widgets.truthfulProperties(list(_moduleNames()))
    return application


def _launcher() -> None:
    """PythonSlicer on the path, as in Slicer: the worker is the child of a launcher."""
    if sys.platform != "win32":
        from worker.launchers import write_launcher

        folder = tempfile.TemporaryDirectory(prefix="PythonSlicer-")
        write_launcher(Path(folder.name))
        os.environ["PATH"] = os.pathsep.join((folder.name, os.environ["PATH"]))
        _kept_folders.append(folder)


def idle(seconds: float) -> None:
    """Let time go by; with BENCH_HOLDS_LOCK=1 as Slicer's event loop does, which keeps the interpreter's lock meanwhile."""
    if os.environ.get("BENCH_HOLDS_LOCK"):
        from worker.launchers import hold

        hold(max(seconds, 0.02))
    else:
        time.sleep(seconds)


def applicationLogic() -> Any:
    """Slicer's application logic with the scene, for views."""
    return _kept[1]


def _keepNone() -> None:
    """PySide6 releases None once too often at every call of a slot; before Python 3.12 that ends the process one day."""
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def _moduleNames() -> Iterator[str]:
    """The modules under test, and those of the bench, under the names that they may be imported by."""
    for module in MODULES:
        for path in module.rglob("*.py"):
            parts = path.relative_to(module).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__")
    for path in Path(__file__).parent.glob("*.py"):
        for prefix in ("", "slicer_bench.", "Testing.slicer_bench."):
            yield prefix + path.stem


def _logics(slicer: Any) -> None:
    """The application logic and those of the modules that slicer.util needs."""
    import vtk

    scene = slicer.mrmlScene
    whole = slicer.vtkSlicerApplicationLogic()
    whole.SetMRMLScene(scene)
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLApplicationLogic(whole)
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    whole.SetModuleLogic("Colors", colors)
    logics = {"colors": colors}
    for name, className in LOGICS.items():
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(whole)
        logic.SetMRMLScene(scene)
        whole.SetModuleLogic(name.capitalize(), logic)
        logics[name] = logic
    whole.SetSliceLogics(vtk.vtkCollection())
    whole.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.modules = types.SimpleNamespace(
        **{name: types.SimpleNamespace(logic=lambda value=logic: value) for name, logic in logics.items()},
        **{one.name.lower(): types.SimpleNamespace(path=str(one / f"{one.name}.py")) for one in MODULES},
    )
    _kept.extend([whole, logics])


def clear() -> None:
    """The scene as it was at the start, node by node and without the events of a closing scene."""
    import slicer

    scene = slicer.mrmlScene
    for number in reversed(range(scene.GetNumberOfNodes())):
        node = scene.GetNthNode(number)
        if node is not None and node.GetID() not in _first:
            scene.RemoveNode(node)
