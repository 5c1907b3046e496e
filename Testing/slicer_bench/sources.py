"""Slicer's own Python in place of the stand-ins, from a checkout of its sources that ``SLICER_SOURCE`` names.

``SLICER_SOURCE=/path/to/Slicer pytest Testing/slicer_bench`` runs every test of this folder on that version's
``slicer.util``, ``i18n``, ``packaging``, ``ScriptedLoadableModule`` and ``parameterNodeWrapper``. MRML stays slicer-core's and Qt
stays PySide6's. Nothing of Slicer's is copied.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Widget classes that Slicer's GUI connectors compare types with, beside those that the bench has.
COMPARED = ("qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget", "qMRMLColorPickerWidget")


def folder() -> Path | None:
    """The folder of Slicer's ``slicer`` package, or None where no sources are named.

    Raises:
        FileNotFoundError: ``SLICER_SOURCE`` names something else.
    """
    named = os.environ.get("SLICER_SOURCE")
    if not named:
        return None
    found = Path(named) / "Base" / "Python" / "slicer"
    if not (found / "parameterNodeWrapper" / "wrapper.py").is_file():
        raise FileNotFoundError(f"SLICER_SOURCE={named} is no checkout of Slicer's sources.")
    return found


def names() -> Iterator[str]:
    """The modules of Slicer's that see Qt's properties as attributes, as PythonQt gives them."""
    found = folder()
    for path in found.rglob("*.py") if found is not None else ():
        yield ".".join(("slicer", *path.relative_to(found).with_suffix("").parts)).removesuffix(".__init__")


class ComparedTypes(types.ModuleType):
    """A module with a class for every name that is asked for; Slicer's connectors compare widgets' types with them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (object,), {})
        setattr(self, name, made)
        return made


def install(slicer: Any, source: Path) -> None:
    """Publish the version's own modules under Slicer's names."""
    from slicer_bench import widgets

    known = ComparedTypes("ctk")
    vars(known).update({name: one for name, one in vars(sys.modules["ctk"]).items() if not name.startswith("__")})
    sys.modules["ctk"] = known
    for name in COMPARED:
        setattr(slicer, name, type(name, (object,), {}))
    slicer.qMRMLNodeComboBox, slicer.qMRMLWidget = widgets.NodeComboBox, widgets.MRMLWidget
    slicer.__path__.insert(0, str(source))
    _reload(slicer, source)
    import slicer.i18n
    import slicer.parameterNodeWrapper
    import slicer.ScriptedLoadableModule

    slicer.selfTests = {}


def _reload(slicer: Any, source: Path) -> None:
    """The version's own slicer.util under that name, in place of slicer-core's."""
    spec = importlib.util.spec_from_file_location("slicer.util", source / "util.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slicer.util"] = slicer.util = module
    spec.loader.exec_module(module)
