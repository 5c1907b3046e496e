"""Tables as Markdown, CSV and LaTeX, from one table of texts and numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from adaptsam.evaluation.case_statistics import Collected, Figure
from adaptsam.evaluation.evaluation_cases import Measure, Study
from adaptsam.evaluation.published_results import published_tables

_LATEX = str.maketrans(
    {plain: f"\\{plain}" for plain in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}", "–": "--"}
)


@dataclass(frozen=True)
class Table:
    """``rows`` of texts below ``columns``; ``best`` are the cells (row, column) that are printed bold."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _markdown_row(self.columns)]
        lines.append(_markdown_row(["---"] + ["---:"] * (len(self.columns) - 1)))
        for number, row in enumerate(self.rows):
            cells = [f"**{text}**" if (number, column) in self.best else text for column, text in enumerate(row)]
            lines.append(_markdown_row(cells))
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"

    def csv(self) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return buffer.getvalue()

    def latex(self) -> str:
        """A ``tabular`` for ``booktabs``."""
        lines = [f"% {self.title}", rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\toprule"]
        lines += [" & ".join(_latex(text) for text in self.columns) + r" \\", r"\midrule"]
        for number, row in enumerate(self.rows):
            cells = [
                rf"\textbf{{{_latex(text)}}}" if (number, column) in self.best else _latex(text)
                for column, text in enumerate(row)
            ]
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def result_table(study: Study, found: Collected, titles: dict[str, str]) -> Table:
    """Every method with every column: the number, and its 95 % interval in brackets."""
    rows, figures = [], []
    for method in found.methods:
        row = [found.figure(method, measure) for measure in study.measures]
        figures.append(row)
        cells = [_cell(figure, measure) for figure, measure in zip(row, study.measures, strict=True)]
        rows.append((titles[method], *cells, str(_cases(row)), _time(found, method)))
    best = {
        (row, column + 1)
        for column, measure in enumerate(study.measures)
        for row in _best([figures[n][column] for n in range(len(rows))], measure)
    }
    notes = [f"{titles[m]}: {why}" for m, why in found.not_applicable.items() if m not in found.shown]
    partial = {m: len(cases) for m, cases in found.failed.items() if cases}
    others = {m: " and is scored on the others" if m in found.shown else "" for m in partial}
    notes += [f"{titles[m]} failed on {count} cases{others[m]}." for m, count in partial.items()]
    notes.append("Embeddings and registrations are shared: their time counts for the method that asked first.")
    columns = ("Method", *(measure.title for measure in study.measures), "Cases", "s a case")
    return Table("results", study.title, columns, tuple(rows), frozenset(best), " ".join(notes))


def published_table(name: str, study: Study, found: Collected, titles: dict[str, str]) -> Table:
    """A table of a paper with our columns beside it."""
    table = published_tables()[name]
    names = [*table.rows, *(method for method in found.shown if method not in table.rows)]
    rows = []
    for row in names:
        values = table.rows.get(row, ("",) * len(table.columns))
        known = row in found.methods
        ours = [_cell(found.figure(row, one), one) if known else "not run" for one in study.measures]
        rows.append((titles.get(row, row), *values, *ours))
    columns = ("Method", *table.columns, *(f"Ours, {measure.title}" for measure in study.measures))
    return Table(f"published-{name}", table.title, columns, tuple(rows))


def comparison_table(study: Study, found: Collected, titles: dict[str, str], first: str) -> Table | None:
    """The first method against each other one, case by case."""
    measure = study.measures[0]
    compared = found.compare(first, measure)
    if not compared:
        return None
    scale = 100 if measure.percent else 1
    rows = tuple(
        (
            titles[one.second],
            f"{scale * one.difference:+.{measure.digits}f}",
            str(one.cases),
            _p(one.p),
            _p(one.adjusted),
        )
        for one in compared
    )
    columns = (f"{titles[first]} against", f"Difference in {measure.title}", "Cases", "p", "p, Holm")
    note = "Wilcoxon's signed-rank test of the cases' figures, two-sided; none below six cases."
    return Table("paired-tests", "Paired tests", columns, rows, note=note)


def calibration_table(found: Collected, titles: dict[str, str]) -> Table | None:
    """Does the confidence sort slices by their Dice?"""
    rows = []
    for method in found.shown:
        one = found.calibration(method)
        if one is not None:
            figures = (one.rank_correlation, one.mean_dice, one.kept_dice, one.best_dice, one.error)
            rows.append((titles[method], str(one.slices), *(_plain(value, 3) for value in figures)))
    columns = (
        "Method",
        "Slices",
        "Rank correlation",
        "Dice",
        "Dice, least sure 10 % left out",
        "Best possible",
        "Error",
    )
    return Table("calibration", "Confidence", columns, tuple(rows)) if rows else None


def _cell(figure: Figure | None, measure: Measure) -> str:
    if figure is None or not math.isfinite(figure.value):
        return "–"
    scale = 100 if measure.percent else 1
    value = _plain(scale * figure.value, measure.digits)
    if not math.isfinite(figure.low):
        return value
    return f"{value} [{_plain(scale * figure.low, measure.digits)}, {_plain(scale * figure.high, measure.digits)}]"


def _best(figures: Sequence[Figure | None], measure: Measure) -> list[int]:
    known = {n: one.value for n, one in enumerate(figures) if one is not None and math.isfinite(one.value)}
    if len(known) < 2:
        return []
    top = max(known.values()) if measure.higher_is_better else min(known.values())
    return [n for n, value in known.items() if value == top]


def _cases(row: Sequence[Figure | None]) -> int:
    return max((figure.cases for figure in row if figure is not None), default=0)


def _time(found: Collected, method: str) -> str:
    return f"{found.seconds[method] / found.evaluated:.1f}" if method in found.shown and found.evaluated else "–"


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plain(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _latex(text: str) -> str:
    return text.translate(_LATEX)
