"""The words and the looks of the report: HTML fragments, escaped, without anything from outside the file."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from adaptsam.metrics.volume_metrics import Agreement
from adaptsam.provenance import NOTICE

if TYPE_CHECKING:
    from adaptsam.slicewise.slice_report import SliceReport, StructureReport


STYLE = """
:root { color-scheme: light; --ink: #1c2733; --soft: #5d6b78; --line: #dfe4e8; --accent: #0f6e84; --warn: #9a5b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 980px; padding: 40px 28px 64px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 26px; font-weight: 650; letter-spacing: -.01em; margin: 0; }
h2 { font-size: 20px; font-weight: 620; margin: 52px 0 12px; padding-top: 14px; border-top: 2px solid var(--ink); }
h3 { font-size: 16px; font-weight: 620; margin: 38px 0 8px; }
h4 { font-size: 13px; font-weight: 600; margin: 28px 0 4px; color: var(--soft); }
p { margin: 6px 0; max-width: 46em; }
.lead, .legend, footer { color: var(--soft); }
.legend { font-size: 13px; }
.research { display: inline-block; margin: 14px 0 8px; padding: 5px 11px; border-radius: 4px; color: #7a1f1f;
  background: #fbeaea; font-weight: 600; font-size: 14px; }
.warning { margin: 6px 0; padding: 7px 12px; border-left: 3px solid #e0a030; background: #fdf6e7; color: #5c3a00; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 8px 0; }
th { text-align: right; font-weight: 600; font-size: 12px; color: var(--soft); padding: 4px 8px;
  border-bottom: 1px solid var(--ink); vertical-align: bottom; }
td { text-align: right; padding: 6px 8px; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.word, th.word { text-align: left; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 8px;
  box-shadow: inset 0 0 0 1px rgba(0, 0, 0, .2); }
.flag { color: var(--warn); font-weight: 600; }
.scroll { overflow-x: auto; }
img { display: block; width: 100%; height: auto; margin: 8px 0; border-radius: 4px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 12px; margin: 10px 0; }
figure { margin: 0; }
figcaption { font-size: 12.5px; color: var(--soft); }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.facts td:first-child { width: 15em; color: var(--soft); }
footer { margin-top: 56px; padding-top: 12px; border-top: 1px solid var(--line); font-size: 13px; }
@media print { body { padding: 0; max-width: none; } h3, img, tr { break-inside: avoid; } }
"""


def page(
    title: str,
    lead: str,
    sections: Sequence[str],
    facts: Mapping[str, str],
    *,
    advice: str = "",
    style: str = "",
    script: str = "",
    script_hash: str = "",
) -> str:
    """A whole page: title and lead (escaped here), sections (HTML), facts of how it was made, and the notice.

    ``advice`` follows the notice at the end; ``style`` is added to the page's own. ``script`` ends the page, which
    allows that one by ``script_hash``, and no other.
    """
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    lead = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    policy += f"; script-src {script_hash}" if script else ""
    ending = f"<script>{script}</script>" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>AdaptSAM: {escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="research">{NOTICE}</p>
{lead}
</header>
<main>
{"".join(sections)}
<h2>How it was made</h2>
<table class="facts">{rows}</table>
</main>
<footer>{NOTICE} {advice}</footer>
{ending}</body>
</html>
"""


def document(
    sections: Sequence[str],
    facts: Mapping[str, str],
    note: str = "",
    *,
    propagated: bool = True,
    style: str = "",
    script: str = "",
    script_hash: str = "",
) -> str:
    """The whole page from the sections of the targets and the facts of the run; the rest as :func:`page` has it."""
    title = "Propagated contours" if propagated else "Contours found by agents"
    origin = "carried over" if propagated else "found"
    advice = f"Contours were {origin} by a model and drawn by nobody: check every slice."
    return page(title, note, sections, facts, advice=advice, style=style, script=script, script_hash=script_hash)


def section(
    title: str,
    warnings: Sequence[str],
    table: str,
    review: str,
    blocks: Sequence[str],
    *,
    propagated: bool = True,
) -> str:
    """One target."""
    notes = "".join(f'<p class="warning">{escape(warning)}</p>' for warning in warnings)
    sides = "Left the prior, right the target" if propagated else "Left the slice as it is, right what was found"
    legend = (
        f'<p class="legend">{sides} at the same scale. Green discs are positive prompts, red '
        "crosses negative ones. A white contour is the reference, where there is one.</p>"
    )
    return f"<section><h2>{escape(title)}</h2>{notes}{table}{review}{legend}{''.join(blocks)}</section>"


def course(title: str, rows: Sequence[Mapping[str, str]], blocks: Sequence[str]) -> str:
    """Section on the changes over several targets."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in rows[0])
    lines = "".join("<tr>" + "".join(_cell(value) for value in row.values()) + "</tr>" for row in rows)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    return f"<section><h2>{escape(title)}</h2>{table}{''.join(blocks)}</section>"


def structures_table(
    reports: Sequence[StructureReport],
    colors: Mapping[str, tuple[int, int, int]],
    agreements: Mapping[str, Agreement],
    baseline: Mapping[str, Agreement],
) -> str:
    """Volumes, shifts and states; beside them the agreement with a reference where there is one."""
    compared = any(math.isfinite(report.prior_volume_cm3) for report in reports)
    header = [("Structure", ""), ("Status", "word")]
    header += [("Prior cm³", ""), ("Now cm³", ""), ("Change", ""), ("Shift mm", "")] if compared else [("cm³", "")]
    header += [("Slices", ""), ("Lowest confidence", "")]
    if agreements:
        tolerance = next(iter(agreements.values())).tolerance
        header += [("Dice", ""), ("HD95 mm", ""), (f"Surface Dice {tolerance:g} mm", "")]
        header += [("Dice, registration alone", "")] if baseline else []
    rows = []
    for report in reports:
        held = report.held_slices
        lowest = held[0].confidence if held else math.nan
        status = (
            escape(report.status) if report.status == "found" else f'<span class="flag">{escape(report.status)}</span>'
        )
        cells = [
            f"<td>{_name(report.name, colors)}</td>",
            f'<td class="word">{status}</td>',
            *([_cell(number(report.prior_volume_cm3, 1))] if compared else []),
            _cell(number(report.volume_cm3, 1)),
        ]
        if compared:
            cells.append(_cell(change(report.volume_cm3, report.prior_volume_cm3)))
            cells.append(_cell(number(report.centroid_shift_mm, 1)))
        cells += [_cell(str(len(held))), _cell(number(lowest, 2))]
        if agreements:
            cells += _agreement(agreements.get(report.name))
            moved = baseline.get(report.name)
            cells += [_cell(number(moved.dice, 3) if moved else "–")] if baseline else []
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(text)}</th>' if kind else f'<th scope="col">{escape(text)}</th>'
        for text, kind in header
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def review_table(
    slices: Sequence[tuple[str, SliceReport, str]],
    colors: Mapping[str, tuple[int, int, int]],
    viewers: Mapping[str, str],
) -> str:
    """The slices that a person should look at first: the structure, the slice, and where it is in the patient.

    ``viewers`` are the keys of the structures' viewers, which a slice's number leads to.
    """
    if not slices:
        return ""
    paired = any(report.prior_index >= 0 for _, report, _ in slices)
    rows = "".join(
        f"<tr><td>{_name(name, colors)}</td>{_slice(report.index, viewers.get(name))}{_cell(position)}"
        f"{_cell(number(report.confidence, 2))}{_cell(number(report.distance, 3))}{_cell(number(report.threshold, 3))}"
        f"{_cell(str(report.prior_index)) if paired else ''}</tr>"
        for name, report, position in slices
    )
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("Structure", "Slice", "Position", "Confidence", "Distance", "Accepted up to", "Prior slice")
        if paired or text != "Prior slice"
    )
    keys = '<p class="legend keys">Keys: n and p step through these slices, the arrows move a slider.</p>'
    return f"<h3>Look at these first</h3>{keys}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def structure(name: str, color: tuple[int, int, int], images: Sequence[str]) -> str:
    """One structure's plot, viewer and pictures."""
    body = "".join(images) or '<p class="legend">Nothing to show.</p>'
    return f"<h3>{_name(name, {name: color})}</h3>{body}"


def picture(data: bytes, alt: str, kind: str = "png", style: str = "") -> str:
    """An image of that kind, "png" or "jpeg", inside the page; ``style`` is its class."""
    style = f' class="{style}"' if style else ""
    return f'<img{style} alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def number(value: float, digits: int) -> str:
    """A figure, or a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def change(now: float, before: float) -> str:
    """A change of volume in per cent."""
    return f"{100 * (now / before - 1):+.0f} %".replace("-", "−") if before > 0 and math.isfinite(now) else "–"


def plain(value: object) -> str:
    """A setting in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return ", ".join(plain(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return [_cell("–")] * 3
    return [
        _cell(number(agreement.dice, 3)),
        _cell(number(agreement.hausdorff_95, 1)),
        _cell(number(agreement.surface_dice, 3)),
    ]


def _slice(index: int, viewer: str | None) -> str:
    return f'<td><a href="#{viewer}" data-slice="{index}">{index}</a></td>' if viewer else _cell(str(index))


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _name(name: str, colors: Mapping[str, tuple[int, int, int]]) -> str:
    red, green, blue = colors.get(name, (128, 128, 128))
    return f'<span class="swatch" style="background: rgb({red}, {green}, {blue})"></span>{escape(name)}'
