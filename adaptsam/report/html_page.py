"""Pages and parts of the reports, filled into the templates beside this file: all text is escaped there.

What these functions return is Markup, which goes into other parts as it is. A page holds nothing from outside the file.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adaptsam.metrics.volume_metrics import Agreement
from adaptsam.provenance import NOTICE

if TYPE_CHECKING:
    from adaptsam.slicewise.slice_report import SliceReport, StructureReport

Color = tuple[int, int, int]
GRAY: Color = (128, 128, 128)


class Cell(NamedTuple):
    """One cell of a table, or of its head.

    ``word`` is set to the left, ``flagged`` in the colour of a warning; a ``color`` stands before the text; ``viewer``
    is the key of the viewer that a slice's number leads to; ``small`` stands below; ``best`` is bold.
    """

    text: str
    word: bool = False
    flagged: bool = False
    color: Color | None = None
    viewer: str | None = None
    small: str = ""
    best: bool = False


@cache
def _environment() -> Environment:
    loader = PackageLoader("adaptsam.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _parts() -> Any:
    return _environment().get_template("parts.html").module


@cache
def asset(name: str) -> Markup:
    """A style or script among the templates."""
    return Markup(files("adaptsam.report").joinpath("templates", name).read_text(encoding="utf-8"))


def page(
    title: str,
    lead: str,
    sections: Sequence[Markup],
    facts: Mapping[str, str],
    *,
    advice: str = "",
    styles: Sequence[str] = (),
    script: str = "",
) -> str:
    """Fill a whole page: title and lead, sections, facts of how it was made, and the notice.

    ``advice`` follows the notice at the end; ``styles`` are added to the page's own. ``script``, the name of an asset,
    ends the page, which allows that one by its hash, and no other.
    """
    code = asset(script) if script else Markup()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            facts=facts,
            advice=advice,
            notice=NOTICE,
            style=Markup().join(asset(name) for name in ("report.css", *styles)),
            script=code,
            script_hash=f"'sha256-{digest}'",
        )
    )


def document(
    sections: Sequence[Markup],
    facts: Mapping[str, str],
    lead: str = "",
    *,
    propagated: bool = True,
    viewers: bool = False,
) -> str:
    """Fill the whole page from the sections of the targets and the facts of the run."""
    title = "Propagated contours" if propagated else "Contours found by agents"
    origin = "carried over" if propagated else "found"
    advice = f"Contours were {origin} by a model and drawn by nobody: check every slice."
    styles, script = (("slice_viewer.css",), "slice_viewer.js") if viewers else ((), "")
    return page(title, lead, sections, facts, advice=advice, styles=styles, script=script)


def section(title: str, blocks: Sequence[str], warnings: Sequence[str] = ()) -> Markup:
    """A part of the page: its title, warnings, and blocks."""
    return Markup(_parts().section(title, warnings, blocks))


def note(text: str) -> Markup:
    """A legend in small letters."""
    return Markup(_parts().note(text))


def table(head: Sequence[Cell], rows: Sequence[Sequence[Cell]], below: str = "") -> Markup:
    """A table with its head, and a legend below."""
    return Markup(_parts().table(head, rows, below))


def text_table(rows: Sequence[Mapping[str, str]]) -> Markup:
    """A table whose rows are text by column."""
    return table([Cell(name) for name in rows[0]], [[Cell(text) for text in row.values()] for row in rows])


def structures_table(
    reports: Sequence[StructureReport],
    colors: Mapping[str, Color],
    agreements: Mapping[str, Agreement],
    baseline: Mapping[str, Agreement],
) -> Markup:
    """Volumes, shifts and states; beside them the agreement with a reference where there is one."""
    compared = any(math.isfinite(report.prior_volume_cm3) for report in reports)
    head = [Cell("Structure"), Cell("Status", word=True)]
    head += map(Cell, ("Prior cm³", "Now cm³", "Change", "Shift mm") if compared else ("cm³",))
    head += map(Cell, ("Slices", "Lowest confidence"))
    if agreements:
        tolerance = next(iter(agreements.values())).tolerance
        head += map(Cell, ("Dice", "HD95 mm", f"Surface Dice {tolerance:g} mm"))
        head += [Cell("Dice, registration alone")] if baseline else []
    rows = []
    for report in reports:
        cells = _structure_cells(report, colors.get(report.name, GRAY), compared)
        if agreements:
            cells += _agreement(agreements.get(report.name))
            moved = baseline.get(report.name)
            cells += [Cell(number(moved.dice, 3) if moved else "–")] if baseline else []
        rows.append(cells)
    return table(head, rows)


def _structure_cells(report: StructureReport, color: Color, compared: bool) -> list[Cell]:
    held = report.held_slices
    before, now = report.prior_volume_cm3, report.volume_cm3
    volumes = [number(before, 1), number(now, 1), change(now, before), number(report.centroid_shift_mm, 1)]
    return [
        Cell(report.name, color=color),
        Cell(report.status, word=True, flagged=report.status != "found"),
        *map(Cell, volumes if compared else volumes[1:2]),
        Cell(str(len(held))),
        Cell(number(held[0].confidence if held else math.nan, 2)),
    ]


def _agreement(agreement: Agreement | None) -> list[Cell]:
    if agreement is None:
        return [Cell("–")] * 3
    figures = (agreement.dice, 3), (agreement.hausdorff_95, 1), (agreement.surface_dice, 3)
    return [Cell(number(value, digits)) for value, digits in figures]


def review_table(
    slices: Sequence[tuple[str, SliceReport, str]], colors: Mapping[str, Color], viewers: Mapping[str, str]
) -> Markup:
    """The slices that a person should look at first: the structure, the slice, and where it is in the patient.

    ``viewers`` are the keys of the structures' viewers, which a slice's number leads to.
    """
    if not slices:
        return Markup()
    paired = any(report.prior_index >= 0 for _, report, _ in slices)
    head = ["Structure", "Slice", "Position", "Confidence", "Distance", "Accepted up to", *["Prior slice"] * paired]
    rows = [
        [
            Cell(name, color=colors.get(name, GRAY)),
            Cell(str(report.index), viewer=viewers.get(name)),
            Cell(position),
            Cell(number(report.confidence, 2)),
            Cell(number(report.distance, 3)),
            Cell(number(report.threshold, 3)),
            *[Cell(str(report.prior_index))] * paired,
        ]
        for name, report, position in slices
    ]
    return Markup(_parts().review(table([Cell(text) for text in head], rows)))


def structure(name: str, color: Color, images: Sequence[str]) -> Markup:
    """One structure's plot, viewer and pictures."""
    return Markup(_parts().structure(name, color, images))


def picture(data: bytes, alt: str, kind: str = "png", style: str = "") -> Markup:
    """An image of that kind, "png" or "jpeg", inside the page; ``style`` is its class."""
    return Markup(_parts().picture(base64.b64encode(data).decode(), alt, kind, style))


def gallery(title: str, legend: str, pictures: Sequence[tuple[str, str]], style: str = "grid") -> Markup:
    """Pictures with their captions below a title and a legend, either of which may be empty."""
    return Markup(_parts().gallery(title, legend, pictures, style))


def viewer(key: str, name: str, label: str, last: int, data: Markup) -> Markup:
    """The slider through a structure's slices, numbered from 0 to ``last``; ``data`` is what its script reads."""
    return Markup(_parts().viewer(key, name, label, last, data))


def left_out(first: str, shown: Sequence[str], hidden: Sequence[str]) -> Markup:
    """A section on what is missing: a sentence, warnings, and more of them behind a fold."""
    return Markup(_parts().left_out(first, shown, hidden))


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
