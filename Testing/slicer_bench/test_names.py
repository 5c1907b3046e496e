"""Every name of Slicer's that the modules use is one that Slicer has, called as Slicer wants to be called.

``slicer_names.json`` keeps the signatures of what cannot be had here, and the names of all methods of MRML and VTK that
the modules call, held by ``read_names.py`` to the sources of Slicer 5.10, 5.12 and 5.13. MRML, VTK and Qt 6 classes are
asked themselves, too. ctkCollapsibleButton and PyTorchUtils were read from CTK and SlicerPyTorch.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from slicer_bench import bench

KEPT = json.loads((Path(__file__).parent / "slicer_names.json").read_text(encoding="utf-8"))
FILES = sorted(one for module in bench.MODULES for one in module.rglob("*.py"))
FORMS = sorted(one for module in bench.MODULES for one in module.rglob("*.ui"))
STANDINS = ("ctkCollapsibleButton", "qMRMLNodeComboBox")


def chain(node: ast.AST) -> list[str]:
    """``slicer.util.loadUI`` as its parts; empty for anything but names and attributes."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


def used(root: str, files: Sequence[Path] = FILES) -> Iterator[tuple[str, list[str], ast.Call | None]]:
    """Where, what, and the call if it is one, of every name below a root."""
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            parts = chain(node)
            if parts[:1] == [root] and len(parts) > 1 and id(node) not in inner:
                yield f"{path.name}:{node.lineno}", parts, calls.get(id(node))


def fits(call: ast.Call, signature: dict[str, Any]) -> bool:
    given, names = len(call.args), [one.arg for one in call.keywords]
    if any(isinstance(one, ast.Starred) for one in call.args):
        return True
    enough = given + len(names) >= signature["required"]
    return (
        enough
        and (signature["more"] or given <= len(signature["args"]))
        and (signature["keywords"] or set(names) <= set(signature["args"]))
    )


def test_slicer_has_what_is_asked_of_it(application: Any) -> None:
    import slicer

    unknown = []
    for where, parts, call in used("slicer"):
        if parts[1] == "util" and len(parts) > 2:
            signature = KEPT["slicer.util"].get(parts[2])
            if signature is None or (call is not None and not fits(call, signature)):
                unknown.append(f"{where}: {'.'.join(parts)}")
        elif parts[1] in ("app", "modules") and len(parts) > 2:
            if parts[2] not in KEPT[f"slicer.{parts[1]}"]:
                unknown.append(f"{where}: {'.'.join(parts)}")
        elif parts[1].startswith("vtk"):
            target: Any = getattr(slicer, parts[1], None)
            for part in parts[2:3]:
                target = getattr(target, part, None)
            if target is None:
                unknown.append(f"{where}: {'.'.join(parts)}")
        elif parts[1] == "mrmlScene":
            if len(parts) > 2 and not hasattr(slicer.mrmlScene, parts[2]):
                unknown.append(f"{where}: {'.'.join(parts)}")
        elif parts[1] not in KEPT["slicer"]:
            unknown.append(f"{where}: {'.'.join(parts)}")
    assert unknown == []


def test_every_method_was_looked_up_in_the_sources_of_all_versions_and_is_one_of_slicer_core(application: Any) -> None:
    import slicer
    import vtk
    from tools.slicer.read_names import methods_used

    used_here = methods_used(FILES)
    assert used_here <= set(KEPT["methods"]), "run Testing/tools/slicer/read_names.py"
    classes = [one for module in (slicer, vtk) for one in vars(module).values() if isinstance(one, type)]
    assert used_here <= {name for one in classes for name in dir(one)}
    assert len(KEPT["versions"]) == 3


def test_qt_and_vtk_have_what_is_asked_of_them(application: Any) -> None:
    import vtk

    assert {parts[1] for _, parts, _ in used("qt")} <= set(KEPT["qt"]), "is it in Qt 5.15 and in Qt 6? Then add it"
    for root, module in (("qt", sys.modules["qt"]), ("vtk", vtk)):
        for where, parts, _call in used(root):
            target: Any = module
            for part in parts[1:2]:
                assert hasattr(target, part), f"{where}: {'.'.join(parts)}"
                target = getattr(target, part)


@pytest.mark.parametrize("path", FORMS, ids=lambda one: one.stem)
def test_the_ui_file_uses_widgets_and_properties_that_exist(application: Any, path: Path) -> None:
    qt = sys.modules["qt"]
    tree = ET.parse(path)
    there = {one.attrib["name"] for one in tree.iter("widget")}
    assert {one.text for one in tree.iter("cstring")} <= there, "a label's buddy is another widget of the form"
    for widget in tree.iter("widget"):
        name = widget.attrib["class"]
        properties = [one.attrib["name"] for one in widget.findall("property") if one.attrib.get("stdset") != "0"]
        if name in STANDINS:
            common = {"toolTip", "enabled", "geometry"}
            assert set(properties) <= set(KEPT[name]) | common, f"{widget.attrib['name']}: {properties}"
        elif name != "qMRMLWidget":
            meta = getattr(qt, name).staticMetaObject
            known = {meta.property(n).name() for n in range(meta.propertyCount())}
            known |= {"buddy"} if name == "QLabel" else set()
            assert set(properties) <= known, f"{widget.attrib['name']}: {set(properties) - known}"


@pytest.mark.parametrize(
    ("module", "count"), list(zip(bench.MODULES, (7, 8), strict=True)), ids=("Personalized", "AutoPrompt")
)
def test_the_ui_file_binds_parameters_that_exist_and_the_panel_uses_its_widgets(
    application: Any, module: Path, count: int
) -> None:
    parameters = importlib.import_module(f"{module.name}Lib.parameters")
    known = getattr(parameters, f"{module.name}ParameterNode")
    tree = ET.parse(module / "Resources" / "UI" / f"{module.name}.ui")
    bound = [one.findtext("string") for one in tree.iter("property") if one.attrib["name"] == "SlicerParameterName"]
    assert len(bound) == len(set(bound)) == count
    assert all(hasattr(known, str(one)) for one in bound)
    shared = [ET.parse(one) for one in FORMS if one.stem.startswith("AdaptSAM")]
    there = {one.attrib["name"] for form in [tree, *shared] for one in form.iter("widget")}
    own = [one for one in FILES if module in one.parents or "AdaptSAMLib" in one.parts]
    wanted = {parts[2] for _, parts, _ in used("self", own) if parts[1] == "ui" and len(parts) > 2}
    wanted |= {parts[1] for _, parts, _ in used("ui", own)}
    assert wanted <= there


def test_other_signatures_of_slicers_are_kept_to(application: Any) -> None:
    for root, owner in (("packaging", "slicer.packaging"), ("logic", "PyTorchUtils.PyTorchUtilsLogic")):
        for where, parts, call in used(root):
            if len(parts) == 2 and call is not None and where.startswith("packages.py"):
                assert fits(call, KEPT[owner][parts[1]]), f"{where}: {'.'.join(parts)}"
    samples = KEPT["SampleData.SampleDataLogic"]["registerCustomSampleDataSource"]
    [(where, _, call)] = [one for one in used("SampleData") if one[1][-1] == "registerCustomSampleDataSource"]
    assert call is not None
    assert fits(call, samples), where


@pytest.mark.parametrize("path", FILES, ids=lambda one: str(one.relative_to(bench.REPOSITORY)))
def test_nothing_heavy_is_imported_at_file_scope(path: Path) -> None:
    allowed = {"slicer", "vtk", "qt", "ctk", "numpy", "AdaptSAMLib", "PersonalizedSAMLib", "AutoPromptSAMLib"}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= allowed | sys.stdlib_module_names


@pytest.mark.parametrize("module", bench.MODULES, ids=lambda one: one.name)
def test_every_python_file_is_listed_for_installation(module: Path) -> None:
    text = (module / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", module.name)
    listed = {line.strip() for line in text.splitlines() if line.strip().endswith((".py", ".ui", ".png", ".txt"))}
    own = [one.relative_to(module) for one in FILES if module in one.parents]
    assert {one for one in listed if one.endswith(".py")} == {str(one) for one in own if "Testing" not in one.parts}
    assert all((module / one).is_file() for one in listed)


def test_the_stand_ins_have_slicers_own_methods(application: Any) -> None:
    from slicer_bench import standins

    for name, methods in KEPT["ScriptedLoadableModule"].items():
        own = {one for one in vars(getattr(standins, name)) if not one.startswith("__")}
        assert own <= set(methods), f"{name} has {own - set(methods)}"
