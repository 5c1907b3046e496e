"""The order of the rooms that docs/architecture.md gives, and a name of its own for every module."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import adaptsam

PACKAGE = Path(adaptsam.__file__).parent
ORDER = (
    {"deprecated_names", "errors", "lazy_imports", "library_warnings", "nested_settings", "progress", "provenance"},
    {"storage", "image"},
    {"io", "sam"},
    {"datasets", "registration", "synthetic"},
    {"p2sam", "alignsam", "slicewise", "finetune"},
    {"pretrain", "propagation", "autoprompting", "metrics"},
    {"report", "evaluation"},
    {"commands", "cli", "__main__", "worker"},
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
#: Of one level, and strangers all the same.
STRANGERS = [
    *(("p2sam", "alignsam"), ("alignsam", "p2sam"), ("slicewise", "p2sam"), ("slicewise", "alignsam")),
    *(("finetune", "alignsam"), ("finetune", "p2sam"), ("finetune", "slicewise"), ("report", "evaluation")),
    *(("storage", "image"), ("image", "storage"), ("io", "sam"), ("sam", "io"), ("propagation", "autoprompting")),
    *(("autoprompting", "propagation"), ("worker", "commands"), ("commands", "worker")),
]


def test_every_module_and_every_room_has_a_name_of_its_own() -> None:
    names = [path.stem for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")]
    names += [path.parent.name for path in PACKAGE.rglob("__init__.py")]
    assert {name for name, times in Counter(names).items() if times > 1} == set()


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function beside its docstring."""
    first = function.body[0]
    said = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - said


def test_a_function_fits_on_a_screen() -> None:
    functions = [
        (f"{path.name}: {node.name}", code_lines(node))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 2000
    assert [name for name, lines in functions if lines > 50] == []


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
    for module in _modules(ast.parse(file.read_text(encoding="utf-8"))):
        top, _, rest = module.partition(".")
        part = rest.partition(".")[0]
        if top == "adaptsam" and part in LEVEL:
            yield part


def _modules(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_place_of_the_guide_exists() -> None:
    guide = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = guide.split("## Looking")[1].split("\n## ")[0]
    paths = re.findall(r"`((?:adaptsam/)?[\w/]+\.py|adaptsam/[\w/]+/)`", table)
    there = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    missing = [
        one
        for one in paths
        if not (PACKAGE.parent / one).exists() and not any(f"/{file}".endswith(f"/{one}") for file in there)
    ]
    assert len(paths) > 40
    assert not missing


#: Libraries of file formats. Unique numbers and standard codes are DICOM's vocabulary, and no format.
FORMATS = re.compile(r"^(?:pydicom(?!\.uid|\.sr)|highdicom|nibabel|nrrd|av)\b")
#: Reads the folders of the bundled model's training; they are data sets in all but name.
READERS = {"io", "datasets", "pretrain/pool_sources.py"}


def test_nothing_but_io_and_datasets_knows_a_file_format() -> None:
    told = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if READERS & {place, place.partition("/")[0]}:
            continue
        text = path.read_text(encoding="utf-8")
        found = [name for name in _modules(ast.parse(text)) if FORMATS.match(name)]
        found += re.findall(r"\bsitk\.(?:ReadImage|WriteImage|ImageFileReader|ImageSeriesReader)\b", text)
        told += [f"{place}: {name}" for name in found]
    assert not told
