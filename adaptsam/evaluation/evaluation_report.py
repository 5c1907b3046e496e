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
from html import escape
from pathlib import Path
from typing import Any

from adaptsam.evaluation.case_plots import draw_calibration, draw_cases
from adaptsam.evaluation.case_results import Results, write_file
from adaptsam.evaluation.case_statistics import Collected
from adaptsam.evaluation.evaluation_cases import Study
from adaptsam.evaluation.methods import make_methods, method_names
from adaptsam.evaluation.result_tables import Table, calibration_table, comparison_table, published_table, result_table
from adaptsam.provenance import NOTICE, software_version
from adaptsam.report.html_page import page, picture
from adaptsam.sam import SamModel

_MORE_STYLE = """
body { max-width: 1180px; } td.best { font-weight: 650; } td { white-space: normal; } figure.worst { margin: 0 0 14px; }
small { color: var(--soft); font-weight: 400; white-space: nowrap; font-size: 11px; }
.worst-grid { display: grid; grid-template-columns: repeat(2, 1fr); gap: 14px; }
"""
_FEW = 3
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
    plot = picture(
        draw_cases({titles[m]: found.values(m, lead) for m in found.shown}, lead), f"{lead.title} of every case"
    )
    sure = {titles[m]: one for m in found.shown if (one := found.calibration(m)) is not None}
    facts = {
        "Model": f"{model.kind}, SHA-256 {model.sha256}",
        "Software": f"AdaptSAM {software_version()}",
        "Intervals": "95 %, percentile bootstrap over cases, 2000 draws",
        "Command": command,
    }
    sections = [
        _left_out_section(left),
        _section("Results", _html(tables[0]) + (plot if found.shown else "")),
        *(_section(table.title, _html(table)) for table in tables[1:]),
        _section("Confidence against Dice", picture(draw_calibration(sure), "Confidence against Dice")) if sure else "",
        _worst_section(found, results, titles),
    ]
    told = {name: value for name, value in facts.items() if value}
    return page(study.title, study.description, sections, told, style=_MORE_STYLE)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _left_out_section(left: Sequence[str]) -> str:
    first, rest = left[0], left[1:]
    shown = "".join(f'<p class="warning">{escape(line)}</p>' for line in rest[:_FEW])
    more = "".join(f"<li>{escape(line)}</li>" for line in rest[_FEW:])
    hidden = f"<details><summary>{len(rest) - _FEW} more</summary><ul>{more}</ul></details>" if more else ""
    return f"<section><p><strong>{escape(first)}</strong></p>{shown}{hidden}</section>"


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in table.columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="best">{_cell(text)}</td>' if (number, column) in table.best else f"<td>{_cell(text)}</td>"
            for column, text in enumerate(row)
        )
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    note = f'<p class="legend">{escape(table.note)}</p>' if table.note else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'


def _cell(text: str) -> str:
    """An interval stands small below its number."""
    number, bracket, interval = text.partition(" [")
    return f"{escape(number)}<br><small>[{escape(interval)}</small>" if bracket else escape(text)


def _worst_section(found: Collected, results: Results, titles: Mapping[str, str]) -> str:
    blocks = []
    for method in found.shown:
        figures = []
        scored = found.values(method, found.measures[0])
        for one in results.worst(method):
            path = results.folder / str(one["file"])
            if one["case"] in scored and path.is_file():
                image = picture(path.read_bytes(), str(one["item"]), "jpeg")
                caption = f"{one['item']}: Dice {one['score']:.3f}"
                figures.append(f'<figure class="worst">{image}<figcaption>{escape(caption)}</figcaption></figure>')
        if figures:
            blocks.append(f'<h3>{escape(titles[method])}</h3><div class="worst-grid">{"".join(figures)}</div>')
    legend = (
        '<p class="legend">Left what is outlined on the prior, in green; right the method\'s answer in orange and the '
        "truth in white. Of volumes, the slice on which most is wrong.</p>"
    )
    return _section("Worst cases", legend + "".join(blocks)) if blocks else ""
