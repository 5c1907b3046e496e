"""The bench for all tests of this folder, an empty scene for each, and the small thorax as nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from slicer_bench import bench
from thorax import Case, thorax

#: The fastest settings that still go through everything.
QUICK = {"register": "off", "fusion": "off", "acceptance": "off"}


@pytest.fixture(scope="session")
def application() -> Any:
    pytest.importorskip("slicer", reason="slicer-core is not installed; pip install -e '.[test]'", exc_type=ImportError)
    lacking = "PySide6-Essentials is not installed, or the system lacks its libraries (libegl1, libxkbcommon0)"
    pytest.importorskip("PySide6.QtWidgets", reason=lacking, exc_type=ImportError)
    return bench.start()


@pytest.fixture
def scene(application: Any) -> Iterator[Any]:
    import slicer

    bench.clear()
    yield slicer.mrmlScene
    bench.clear()


@pytest.fixture(scope="session")
def engine(application: Any) -> Iterator[Any]:
    """One worker for all tests: torch takes seconds to import."""
    from AdaptSAMLib.engine import Engine

    shared = Engine.shared()
    yield shared
    shared.close()


@pytest.fixture
def logic(scene: Any, engine: Any) -> Any:
    from PersonalizedSAM import PersonalizedSAMLogic

    return PersonalizedSAMLogic()


@pytest.fixture
def opened(scene: Any, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens a panel, given its class and size, in a window of its own, as if all packages were installed."""
    from AdaptSAMLib import packages
    from PySide6 import QtWidgets

    monkeypatch.setattr(packages, "missing", lambda *_: [])
    made: list[tuple[Any, Any]] = []

    def open_(kind: type, width: int, height: int) -> Any:
        parent = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(parent)
        widget = kind(parent)
        widget.setup()
        parent.resize(width, height)
        parent.show()
        made.append((widget, parent))
        return widget

    yield open_
    for widget, parent in made:
        widget.cleanup()
        parent.deleteLater()


def lpsToRas(geometry: Any) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.index_to_world


def volumeNode(case: Case, name: str) -> Any:
    import slicer

    node = slicer.util.addVolumeFromArray(
        case.volume.array.astype(np.int16), ijkToRAS=lpsToRas(case.volume.geometry), name=name
    )
    node.CreateDefaultDisplayNodes()
    return node


def segmentationNode(case: Case, volume: Any, name: str = "Contours") -> Any:
    import slicer
    from AdaptSAMLib import segments

    node = segments.newSegmentation(volume, name)
    for number, structure in enumerate(case.structures.structures):
        prototype = slicer.vtkSegment()
        prototype.SetName(structure.name)
        prototype.SetColor(0.1 + 0.2 * number, 0.5, 0.9 - 0.2 * number)
        entry = (
            f"Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^{80891009 + number}^Organ~^^~~^^~^^"
        )
        prototype.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
        inner, first = segments.cropped(structure.mask)
        segments.setSegment(node, f"id-{structure.name}", prototype, inner, first, volume)
    return node


@pytest.fixture
def visits(scene: Any) -> tuple[Any, Any, Any]:
    """Prior volume, its segmentation, and a target volume."""
    first, second = thorax(), thorax(shift_mm=(6, 4, 0), seed=1)
    prior = volumeNode(first, "Planning")
    return prior, segmentationNode(first, prior), volumeNode(second, "Week 3")


@pytest.fixture
def until(application: Any) -> Callable[..., None]:
    """Let Qt's own event loop run until something is true."""

    def wait(condition: Callable[[], bool], seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "It did not happen in time."
            application.processEvents()
            bench.idle(0.002)

    return wait
