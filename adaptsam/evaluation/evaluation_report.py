"""Report of an evaluation: tables in three formats, all cases' figures, and a page that opens off line.

The page says what was left out, case by case, before it shows a number.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from adaptsam.evaluation.case_plots import draw_calibration, draw_cases
from adaptsam.evaluation.case_results import Results, write_file
from adaptsam.evaluation.case_statistics import Collected
from adaptsam.evaluation.evaluation_cases import Study
from adaptsam.evaluation.methods import make_methods, method_names
from adaptsam.evaluation.result_tables import Table, calibration_table, comparison_table, published_table, result_table
from adaptsam.provenance import NOTICE, software_version
from adaptsam.report import html_page as page
from adaptsam.sam import SamModel

_FEW = 3
_WORST_LEGEND = (
    "Left what is outlined on the prior, in green; right the method's answer in orange and the truth in white. Of "
    "volumes, the slice on which most is wrong."
)
_SPECIAL, _ESCAPED = re.compile(r"[\\`*_<|]"), r"\\\g<0>"
_CASE_COLUMNS = (
    *("case", "method", "item", "group", "structure", "dice", "iou", "f_beta", "e_measure", "mae", "ber"),
    *("hausdorff_95", "mean_surface_distance", "surface_dice", "volume", "reference_volume", "centroid_error"),
    "added_path",
)


@dataclass(frozen=True)
class Evaluated:
    """Written report: the page, and every table by its name."""

    page: Path
    tables: Mapping[str, Table]
    found: Collected


def write_evaluation(
    study: Study, results: Results, methods: Mapping[str, str], model: SamModel, command: str = ""
) -> Evaluated:
    """Write ``tables.md``, ``<table>.csv`` and ``.tex``, ``cases.csv``, ``summary.json`` and ``report.html``.

    Args:
        study: what was evaluated.
        results: where its records are.
        methods: titles by name, in the order of the rows.
        model: that all used.
        command: how the same can be had again.
    """
    names = [case.name for case in study.cases]
    found = Collected(results.records(names), study.measures, list(methods))
    titles = dict(methods)
    tables = [result_table(study, found, titles)]
    known = {method.name: method.title for method in make_methods(method_names())}
    tables += [published_table(name, study, found, known) for name in study.published]
    compared = comparison_table(study, found, titles, found.shown[0]) if len(found.shown) > 1 else None
    sure = calibration_table(found, titles)
    tables += [table for table in (compared, sure) if table is not None]
    folder = results.folder
    for table in tables:
        write_file(folder / f"{table.name}.csv", table.csv())
        write_file(folder / f"{table.name}.tex", table.latex())
    left = _left_out(study, found, titles)
    lines = [f"# {study.title}\n", *_markdown(left), *(table.markdown() for table in tables)]
    write_file(folder / "tables.md", "\n".join(lines))
    write_file(folder / "cases.csv", _cases_csv(study, results, names, titles))
    write_file(folder / "summary.json", json.dumps(_summary(study, found, model), indent=2) + "\n")
    write_file(folder / "report.html", _page(study, found, results, titles, tables, left, model, command))
    return Evaluated(folder / "report.html", {table.name: table for table in tables}, found)


def _left_out(study: Study, found: Collected, titles: Mapping[str, str]) -> list[str]:
    """Sentences on cases that are not in the numbers; the count first."""
    lines = []
    missing = len(study.cases) - found.evaluated - len(found.errors)
    left = {**study.skipped, **found.errors}
    total = len(study.cases) + len(study.skipped)
    lines.append(f"{found.evaluated} of {total} cases were evaluated; {len(left)} were skipped.")
    if missing:
        lines.append(f"{missing} cases were not reached yet; run the same command again to go on.")
    lines += [f"Skipped {name}: {why}" for name, why in left.items()]
    lines += [f"{name}: {' '.join(problems)}" for name, problems in found.problems.items()]
    lines += [f"{titles[m]} on {case}: {why}" for m, cases in found.failed.items() for case, why in cases.items()]
    return [*lines, *study.remarks]


def _cases_csv(study: Study, results: Results, names: Sequence[str], titles: Mapping[str, str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CASE_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in results.records(names):
        for method in titles:
            for item in record.get("methods", {}).get(method, {}).get("items", ()):
                writer.writerow({"case": record["case"], "method": method, **item, "item": item["name"]})
    return buffer.getvalue()


def _summary(study: Study, found: Collected, model: SamModel) -> dict[str, Any]:
    rows = {}
    for method in found.methods:
        figures = {m.key: found.figure(method, m) for m in study.measures}
        rows[method] = {
            key: None
            if one is None
            else {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}
            for key, one in figures.items()
        }
    return {
        "notice": NOTICE,
        "version": software_version(),
        "protocol": study.protocol,
        "model": {"kind": model.kind, "sha256": model.sha256},
        "evaluated": found.evaluated,
        "skipped": {**study.skipped, **found.errors},
        "not_applicable": found.not_applicable,
        "results": rows,
    }


def _number(value: float) -> float | None:
    return value if value == value else None


def _markdown(lines: Sequence[str]) -> list[str]:
    """Lines as a list; names in them may hold anything."""
    return [*(f"- {_SPECIAL.sub(_ESCAPED, ' '.join(line.split()))}" for line in lines), ""]


def _page(
    study: Study,
    found: Collected,
    results: Results,
    titles: Mapping[str, str],
    tables: Sequence[Table],
    left: Sequence[str],
    model: SamModel,
    command: str,
) -> str:
    lead = study.measures[0]
    plot = page.picture(
        draw_cases({titles[m]: found.values(m, lead) for m in found.shown}, lead), f"{lead.title} of every case"
    )
    sure = {titles[m]: one for m in found.shown if (one := found.calibration(m)) is not None}
    facts = {
        "Model": f"{model.kind}, SHA-256 {model.sha256}",
        "Software": f"AdaptSAM {software_version()}",
        "Intervals": "95 %, percentile bootstrap over cases, 2000 draws",
        "Command": command,
    }
    first, rest = left[0], left[1:]
    sections = [
        page.left_out(first, rest[:_FEW], rest[_FEW:]),
        page.section("Results", [_html(tables[0]), *([plot] if found.shown else [])]),
        *(page.section(table.title, [_html(table)]) for table in tables[1:]),
    ]
    if sure:
        calibration = page.picture(draw_calibration(sure), "Confidence against Dice")
        sections.append(page.section("Confidence against Dice", [calibration]))
    worst = _worst(found, results, titles)
    if worst:
        sections.append(page.section("Worst cases", [page.note(_WORST_LEGEND), *worst]))
    told = {name: value for name, value in facts.items() if value}
    return page.page(study.title, study.description, sections, told, styles=["evaluation.css"])


def _html(table: Table) -> Markup:
    rows = [
        [_cell(text, (number, column) in table.best) for column, text in enumerate(row)]
        for number, row in enumerate(table.rows)
    ]
    return page.table([page.Cell(text) for text in table.columns], rows, table.note)


def _cell(text: str, best: bool) -> page.Cell:
    """An interval stands small below its number."""
    number, bracket, interval = text.partition(" [")
    return page.Cell(number, best=best, small=f"[{interval}" if bracket else "")


def _worst(found: Collected, results: Results, titles: Mapping[str, str]) -> list[Markup]:
    """The worst items of each method, side by side with the truth."""
    blocks = []
    for method in found.shown:
        scored = found.values(method, found.measures[0])
        shown = [
            (page.picture(path.read_bytes(), str(one["item"]), "jpeg"), f"{one['item']}: Dice {one['score']:.3f}")
            for one in results.worst(method)
            if one["case"] in scored and (path := results.folder / str(one["file"])).is_file()
        ]
        if shown:
            blocks.append(page.gallery(titles[method], "", shown, "worst-grid"))
    return blocks
