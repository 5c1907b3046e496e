"""The order of the parts that docs/architecture.md gives: nothing imports what stands above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import adaptsam

PACKAGE = Path(adaptsam.__file__).parent
ORDER = (
    {"errors", "lazy_imports", "library_warnings", "progress", "provenance"},
    {"storage", "image"},
    {"io", "sam"},
    {"datasets", "registration", "synthetic"},
    {"p2sam", "alignsam", "slicewise", "finetune"},
    {"pretrain", "propagation", "autoprompting", "metrics"},
    {"report", "evaluation"},
    {"commands", "cli", "worker"},
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
#: Of one level, and strangers all the same.
STRANGERS = [
    *(("p2sam", "alignsam"), ("alignsam", "p2sam"), ("slicewise", "p2sam"), ("slicewise", "alignsam")),
    *(("finetune", "alignsam"), ("finetune", "p2sam"), ("finetune", "slicewise")),
]


def test_every_part_has_its_place() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("part", sorted(LEVEL))
def test_a_part_imports_nothing_from_above(part: str) -> None:
    above = {name for name in imported_by(part) if LEVEL[name] > LEVEL[part]}
    assert not above


@pytest.mark.parametrize(("part", "other"), STRANGERS)
def test_the_methods_do_not_know_each_other_and_the_volume_loop_knows_none(part: str, other: str) -> None:
    assert other not in imported_by(part)


def imported_by(part: str) -> set[str]:
    """The other parts that its files name in an import, anywhere in them."""
    folder = PACKAGE / part
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return {name for file in files for name in _imports(file)} - {part}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, _, rest = module.partition(".")
            part = rest.partition(".")[0]
            if top == "adaptsam" and part in LEVEL:
                yield part
