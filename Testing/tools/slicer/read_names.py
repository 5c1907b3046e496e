"""Reads from Slicer's sources what the modules use of Slicer, for ``slicer_names.json``; says what a version lacks.

    python Testing/tools/slicer/read_names.py SLICER.git v5.10.0 v5.12.3 main

SLICER.git is a clone of github.com/Slicer/Slicer. Signatures are the last version's; of the others, every name that the
modules use must be there and take the same arguments, but for those that AdaptSAMLib/packages.py asks for first.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
MODULES = [ROOT / name for name in ("PersonalizedSAM", "AutoPromptSAM")]
KEPT = ROOT / "Testing" / "slicer_bench" / "slicer_names.json"

#: Files of Slicer's, the class in them or None, and where their signatures are kept.
PYTHON = {
    "slicer.util": ("Base/Python/slicer/util.py", None),
    "slicer.i18n": ("Base/Python/slicer/i18n.py", None),
    "slicer.packaging": ("Base/Python/slicer/packaging.py", None),
    "SampleData.SampleDataLogic": ("Modules/Scripted/SampleData/SampleData.py", "SampleDataLogic"),
}
SCRIPTED = "Base/Python/slicer/ScriptedLoadableModule.py"

#: In 5.12 and later only; the modules look whether it is there.
ASKED_FOR_FIRST = ("slicer.packaging",)


#: Modules that are not Slicer's.
OTHERS = ("unittest", "PyTorchUtils", "string", "tempfile")


def files() -> list[Path]:
    return sorted(path for module in MODULES for path in module.rglob("*.py"))


def methods_used(paths: Iterable[Path]) -> set[str]:
    """Names of methods as MRML and VTK write them, called on anything: ``node.GetName()``."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    calls = [node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    others = [call for call in calls if not (isinstance(call.value, ast.Name) and call.value.id in OTHERS)]
    return {call.attr for call in others if re.match("[A-Z][a-z]", call.attr)} - own


def utilities_used(paths: Iterable[Path]) -> set[str]:
    """Names of functions of ``slicer.util`` that are called or passed on."""
    return {name for path in paths for name in re.findall(r"slicer\.util\.(\w+)", path.read_text(encoding="utf-8"))}


def git(repository: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def signatures(text: str, cls: str | None) -> dict[str, Any]:
    body: list[ast.stmt] = ast.parse(text).body
    if cls is not None:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == cls).body
    return {node.name: _signature(node, cls is not None) for node in body if isinstance(node, ast.FunctionDef)}


def _signature(node: ast.FunctionDef, method: bool) -> dict[str, Any]:
    names = [one.arg for one in node.args.posonlyargs + node.args.args]
    static = any(getattr(one, "id", "") == "staticmethod" for one in node.decorator_list)
    names = names[1:] if method and not static else names
    least = max(0, len(names) - len(node.args.defaults))
    more, keywords = bool(node.args.vararg), bool(node.args.kwarg)
    return {"args": names, "required": least, "more": more, "keywords": keywords}


def differences(repository: str, version: str, kept: dict[str, Any], methods: set[str]) -> Iterator[str]:
    """What a version lacks, or wants otherwise than what is kept."""
    for owner, (path, cls) in PYTHON.items():
        text = git(repository, "show", f"{version}:{path}")
        if not text and owner in ASKED_FOR_FIRST:
            continue
        known = signatures(text, cls) if text else {}
        for name, kept_one in kept[owner].items():
            if name not in known:
                yield f"{owner}.{name} is not there"
            elif not set(kept_one["args"][: kept_one["required"]]) <= set(known[name]["args"]):
                yield f"{owner}.{name} takes {known[name]['args']}"
    headers = git(repository, "grep", "-howE", "|".join(sorted(methods)), version, "--", "*.h", "*.txx").split()
    macros = git(repository, "grep", "-hoE", r"vtk[GS]et[A-Za-z]*Macro\(\w+", version, "--", "*.h")
    booleans = git(repository, "grep", "-hoE", r"vtkBooleanMacro\(\w+", version, "--", "*.h")
    made = {f"{kind}{name}" for name in re.findall(r"\((\w+)", macros) for kind in ("Get", "Set")}
    made |= {f"{name}{kind}" for name in re.findall(r"\((\w+)", booleans) for kind in ("On", "Off")}
    import vtk

    bound = {name for cls in vars(vtk).values() if isinstance(cls, type) for name in dir(cls)}
    yield from (f".{name}() is not there" for name in sorted(methods - set(headers) - made - bound))


def main() -> None:
    repository, *versions = sys.argv[1:]
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    newest = versions[-1]
    kept["slicer.util"] = dict.fromkeys(utilities_used(files()))
    for owner, (path, cls) in PYTHON.items():
        known = signatures(git(repository, "show", f"{newest}:{path}"), cls)
        kept[owner] = {name: known[name] for name in kept[owner]}
    scripted = git(repository, "show", f"{newest}:{SCRIPTED}")
    kept["ScriptedLoadableModule"] = {name: signatures(scripted, name) for name in kept["ScriptedLoadableModule"]}
    methods = methods_used(files())
    lacking = {version: list(differences(repository, version, kept, methods)) for version in versions}
    for version, lines in lacking.items():
        print(f"{version}: {'all there' if not lines else ''}", *lines, sep="\n  ")
    kept["methods"], kept["versions"] = sorted(methods), versions
    kept["sources"] = f"Slicer/Slicer {git(repository, 'rev-parse', newest).strip()}"
    if any(lacking.values()):
        raise SystemExit("Nothing was written.")
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
