"""Count the package: lines by room, long functions, names that repeat, and what docstrings say of shapes and units.

python Testing/tools/docs/count_house.py                 # this checkout
python Testing/tools/docs/count_house.py ../earlier .    # several, beside each other
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
LONGEST = 50
SHAPE = re.compile(r"\(([\w.…·*+−\-/\[\]: ]+,)+[\w.…·*+−\-/\[\]: ]*\)|any shape|of that shape|shapes")
UNIT = re.compile(
    r"\b(mm|cm³|cm|HU|px|pixels?|voxels?|millimetres?|seconds?|bytes|degrees?|MiB|GB|logits?|uint8|bool|int|share)\b|"
    r"\b0 (?:to|or) \d|-1\b|NaN"
)
ARRAYS = ("ndarray", "NDArray", "Tensor")


@dataclass(frozen=True)
class House:
    """Counts of one checkout; ``rooms`` are lines by room."""

    rooms: Counter[str]
    functions: int
    long: int
    repeated: int
    arrays: int
    shaped: int
    public: int
    measured: int


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def counted(package: Path) -> House:
    """Count one package."""
    rooms: Counter[str] = Counter()
    names: Counter[str] = Counter()
    lengths, shapes, units = [], [], []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(package)
        rooms[place.parts[0] if len(place.parts) > 1 else "(top)"] += len(text.splitlines())
        names[path.stem] += not path.name.startswith("__")
        for node in functions(ast.parse(text)):
            said = ast.get_docstring(node)
            lengths.append(lines_of(node) - (lines_of(node.body[0]) if said else 0))
            if node.name.startswith("_") or not said:
                continue
            signature = ast.unparse(node.args) + (ast.unparse(node.returns) if node.returns else "")
            units.append(bool(SHAPE.search(said) or UNIT.search(said)))
            if any(word in signature for word in ARRAYS):
                shapes.append(bool(SHAPE.search(said)))
    long = sum(length > LONGEST for length in lengths)
    repeated = sum(times for times in names.values() if times > 1)
    return House(rooms, len(lengths), long, repeated, len(shapes), sum(shapes), len(units), sum(units))


def table(tops: list[Path]) -> str:
    """The counts of checkouts beside each other, as Markdown."""
    houses = [counted(top / "adaptsam") for top in tops]
    rooms = sorted({room for house in houses for room in house.rooms})

    def row(name: str, cells: list[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    lines = [row("", [top.resolve().name for top in tops]), "|---" * (1 + len(tops)) + "|"]
    lines += [row(room, [f"{house.rooms[room]:,}" if house.rooms[room] else "–" for house in houses]) for room in rooms]
    lines.append(row("**all lines**", [f"**{house.rooms.total():,}**" for house in houses]))
    lines.append(row("functions", [f"{house.functions:,}" for house in houses]))
    lines.append(row(f"of more than {LONGEST} lines beside the docstring", [str(house.long) for house in houses]))
    lines.append(row("files that share a basename", [str(house.repeated) for house in houses]))
    shaped = [f"{house.shaped} of {house.arrays} ({100 * house.shaped / house.arrays:.0f} %)" for house in houses]
    lines.append(row("public functions of arrays whose docstring gives shapes", shaped))
    said = [f"{house.measured} of {house.public} ({100 * house.measured / house.public:.0f} %)" for house in houses]
    lines.append(row("public functions whose docstring gives shapes, units or ranges", said))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]] or [TOP]))
