"""Goals of the bundled model on real scans that it never saw, and a table of how far it is from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: What every slice of a structure of a case gave, by name.
Rows = Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
WHOLE, MAGNIFIED = "whole slice", "magnified ×3"


@dataclass(frozen=True)
class Goal:
    """Dice that structures should reach.

    Attributes:
        cases: whose names begin so.
        structures: words of their names, in lower case.
        box: with the truth's box; None where it is to be above the ellipse alone, as it is always.
        one, five: after so many clicks.
    """

    cases: tuple[str, ...]
    structures: tuple[str, ...]
    box: float | None
    one: float
    five: float

    def holds(self, case: str, structure: str) -> bool:
        """Whether a structure of a case is meant."""
        words = structure.lower().replace("_", " ").replace("-", " ")
        return case.startswith(self.cases) and words.startswith(self.structures)


GOALS = (
    Goal(("LUNG1",), ("lung",), 0.93, 0.85, 0.93),
    Goal(("abdomen",), ("liver", "spleen"), 0.88, 0.75, 0.88),
    Goal(("abdomen",), ("kidney", "stomach"), 0.90, 0.75, 0.88),
    Goal(("abdomen", "LUNG1"), ("aorta", "spinal cord", "gallbladder"), None, 0.75, 0.88),
    Goal(("abdomen",), ("pancreas",), 0.75, 0.50, 0.70),
    Goal(("SegTHOR",), ("heart",), 0.90, 0.70, 0.85),
    Goal(("SegTHOR",), ("oesophagus", "trachea"), None, 0.70, 0.85),
    Goal(("LUNG1",), ("gtv",), 0.88, 0.70, 0.85),
    Goal(("STS",), ("gtv",), 0.88, 0.65, 0.82),
    Goal(("CVC",), ("polyp",), 0.88, 0.65, 0.82),
    Goal(("ACDC",), ("left ventricle",), None, 0.75, 0.88),
)


def goal_table(rows: Rows, model: str) -> Iterator[str]:
    """Lines of Markdown; what reaches its goal is bold, and so are a box above the ellipse and clicks above growing.

    Args:
        rows: columns "ellipse", "growing", and for each view "MODEL, VIEW: box", "…: 1 clicks" and so on.
        model: the name in the columns.
    """
    views = [view for view in (WHOLE, MAGNIFIED) if any(f"{model}, {view}: box" in row for row in _first(rows))]
    yield f"{model}, {' / '.join(views)}. Goals in brackets; bold: reached. Three clicks are to beat growing."
    yield ""
    yield "| case | structure | slices | ellipse | growing | box | 1 click | 3 clicks | 5 clicks |"
    yield "|---" * 9 + "|"
    for goal in GOALS:
        for (case, structure), some in rows.items():
            if not goal.holds(case, structure):
                continue
            mean = {key: float(np.mean([row[key] for row in some])) for key in some[0]}
            ellipse, growing = mean["ellipse"], mean["growing"]
            asked = {
                "box": (max(goal.box or 0.0, ellipse), "above the ellipse" if goal.box is None else f"{goal.box:.2f}"),
                "1 clicks": (goal.one, f"{goal.one:.2f}"),
                "3 clicks": (growing, "growing"),
                "5 clicks": (max(goal.five, growing), f"{goal.five:.2f}"),
            }
            cells = [
                " / ".join(_cell(mean[f"{model}, {view}: {key}"], least) for view in views) + f" ({told})"
                for key, (least, told) in asked.items()
            ]
            yield f"| {case} | {structure} | {len(some)} | {ellipse:.2f} | {growing:.2f} | " + " | ".join(cells) + " |"


def _first(rows: Rows) -> list[Mapping[str, float]]:
    return [some[0] for some in rows.values()]


def _cell(value: float, least: float) -> str:
    return f"**{value:.2f}**" if value >= least else f"{value:.2f}"
