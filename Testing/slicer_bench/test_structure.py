"""What the two modules share stands once: neither knows the other, what is shared knows neither, and no code comes twice."""

from __future__ import annotations

import ast
import importlib
import inspect
import typing
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from slicer_bench import bench

PERSONALIZED, AUTOPROMPT = bench.MODULES
SHARED, OWN = "AdaptSAMLib", {PERSONALIZED: "PersonalizedSAMLib", AUTOPROMPT: "AutoPromptSAMLib"}

#: So many lines that are the same, one after the other, are code that comes twice.
TWICE = 5


def imported(path: Path) -> set[str]:
    """The modules that a file imports, with what it takes from packages of ours: "AdaptSAMLib.panel"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return found


def files(module: Path, package: str = "") -> list[Path]:
    return sorted((module / package).rglob("*.py"))


def test_neither_module_imports_the_other_and_what_they_share_imports_neither() -> None:
    def tops(paths: list[Path]) -> set[str]:
        return {name.partition(".")[0] for path in paths for name in imported(path)}

    assert not tops(files(PERSONALIZED, SHARED)) & {*OWN.values(), "PersonalizedSAM", "AutoPromptSAM"}
    assert not tops(files(PERSONALIZED)) & {"AutoPromptSAM", "AutoPromptSAMLib"}
    assert not tops(files(AUTOPROMPT)) & {"PersonalizedSAM", "PersonalizedSAMLib"}


def test_both_modules_use_everything_that_is_shared() -> None:
    shared = {
        f"{SHARED}.{path.stem}": imported(path) for path in files(PERSONALIZED, SHARED) if path.stem != "__init__"
    }
    for module, own in OWN.items():
        used = {name for path in [module / f"{module.name}.py", *files(module, own)] for name in imported(path)}
        for _ in shared:  # what they use through another shared file, too
            used |= {name for one in used & set(shared) for name in shared[one]}
        assert set(shared) <= used, module.name


def test_no_code_comes_twice() -> None:
    places = defaultdict(set)
    for path in [*files(PERSONALIZED), *files(AUTOPROMPT)]:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [
            (number, line)
            for number, line in enumerate(lines, 1)
            if any(character.isalnum() for character in line) and not line.startswith(("#", "import ", "from "))
        ]
        for at in range(len(kept) - TWICE + 1):
            places["\n".join(line for _, line in kept[at : at + TWICE])].add(f"{path.name}:{kept[at][0]}")
    twice = {"; ".join(sorted(where)): text for text, where in places.items() if len(where) > 1}
    assert not twice


def functions(module: Any) -> list[Any]:
    """The functions and methods that a module's file writes out."""
    owners = [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module.__name__]
    found = []
    for one in [member for owner in (module, *owners) for member in vars(owner).values()]:
        plain = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
        if inspect.isfunction(plain) and plain.__code__.co_filename == module.__file__:
            found.append(plain)
    return [one for one in found if one.__name__ != "<lambda>"]


NAMES = sorted(
    ".".join(path.relative_to(module).with_suffix("").parts)
    for module in bench.MODULES
    for path in module.rglob("*.py")
    if "Testing" not in path.parts and path.stem != "__init__"
)


@pytest.mark.parametrize("name", NAMES)
def test_functions_have_types_and_they_exist(application: Any, name: str) -> None:
    for one in functions(importlib.import_module(name)):
        hints = typing.get_type_hints(one)
        lacking = {*inspect.signature(one).parameters, "return"} - {"self", "cls", *hints}
        assert not lacking, f"{one.__qualname__}: {sorted(lacking)}"
