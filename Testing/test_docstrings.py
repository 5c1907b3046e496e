"""Docstrings open with a noun of the field or an imperative verb: who looks for a thing reads its name first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import adaptsam

PACKAGE = Path(adaptsam.__file__).parent
#: The package, and the modules of Slicer beside it.
FILES = [
    path
    for folder in ("adaptsam", "PersonalizedSAM", "AutoPromptSAM")
    for path in sorted((PACKAGE.parent / folder).rglob("*.py"))
]
#: Openings of relative clauses and loose phrases. "Whether" stays for properties and functions that give a bool.
RIDDLES = re.compile(
    r"(what|which|who|whose|where|when|how|why|everything|anything|somebody|nobody|told|asked|as|of|for|from|in|on|with|"
    r"until|not|so|if)\b",
    re.IGNORECASE,
)


def first_lines(source: str) -> Iterator[tuple[str, str]]:
    """Name and first line of every docstring of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "module"), text.splitlines()[0]


def riddles(source: str) -> list[str]:
    return [f"{name}: {line}" for name, line in first_lines(source) if RIDDLES.match(line)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_docstring_opens_with_a_noun_or_an_imperative(path: Path) -> None:
    assert riddles(path.read_text(encoding="utf-8")) == []


def test_a_relative_clause_is_a_riddle_and_a_noun_is_none() -> None:
    assert riddles('"""What of SAM is trained."""') == ["module: What of SAM is trained."]
    assert riddles('def f():\n    """Of a mask, bool (H, W)."""') == ["f: Of a mask, bool (H, W)."]
    assert riddles('"""Tuning methods by name."""\n\n\nclass Offset:\n    """Offset in mm."""') == []


#: Shapes of arrays, such as (H, W), (…, 3), (B, h*w, C) and (n − 1,), or the words for none in particular.
SHAPE = re.compile(r"\(([\w.…·*+−\-/\[\]: ]+,)+[\w.…·*+−\-/\[\]: ]*\)|any shape|of that shape|shapes")
ARRAYS = ("ndarray", "NDArray", "Tensor")


def shapeless(source: str) -> tuple[list[str], int]:
    """Names of documented public functions of arrays whose docstring gives no shape, and how many there are in all."""
    found, count = [], 0
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        signature = ast.unparse(node.args) + (ast.unparse(node.returns) if node.returns else "")
        text = ast.get_docstring(node)
        if text and any(word in signature for word in ARRAYS):
            count += 1
            found += [] if SHAPE.search(text) else [node.name]
    return found, count


def test_functions_of_arrays_say_their_shapes() -> None:
    each = [shapeless(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    without, count = [name for names, _ in each for name in names], sum(n for _, n in each)
    assert count > 350
    assert len(without) <= 0.1 * count, without


def test_a_shape_is_known_from_other_brackets() -> None:
    source = 'def f(a: Tensor):\n    """A mask{}."""'
    assert shapeless(source.format("")) == shapeless(source.format(" (see above)")) == (["f"], 1)
    for shape in (" (H, W)", " (…, 3)", " (B, h*w, C)", " (n − 1,)", " of any shape"):
        assert shapeless(source.format(shape)) == ([], 1)
