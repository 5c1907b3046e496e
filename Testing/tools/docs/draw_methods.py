"""Draw the two methods as SVG: boxes, arrows and words of our own, after Figure 2 of each paper.

python Testing/tools/docs/draw_methods.py        # writes docs/images/p2sam.svg and docs/images/alignsam.svg
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "images"
INK, FROZEN, LEARNT, DATA = "#1c2733", "#dcebf2", "#f9e3cd", "#eef1f4"
STYLE = "font-family: system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels with a bold first line and further lines; ``fill`` says what kind of thing it is."""

    x: float
    y: float
    width: float
    height: float
    lines: Sequence[str]
    fill: str = FROZEN

    def svg(self) -> str:
        middle = self.x + self.width / 2
        first = self.y + self.height / 2 - 8.5 * (len(self.lines) - 1) + 4.5
        words = "".join(
            f'<text x="{middle}" y="{first + 17 * n}" text-anchor="middle" font-size="13" fill="{INK}" '
            f'font-weight="{650 if n == 0 else 400}">{escape(line)}</text>'
            for n, line in enumerate(self.lines)
        )
        return (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="7" fill="{self.fill}" '
            f'stroke="{INK}" stroke-width="1"/>{words}'
        )


def arrow(points: Sequence[tuple[float, float]], label: str = "", at: tuple[float, float] | None = None) -> str:
    """A line through points that ends in an arrowhead, with words beside it."""
    path = " ".join(f"{'M' if n == 0 else 'L'}{x},{y}" for n, (x, y) in enumerate(points))
    line = f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="1.4" marker-end="url(#head)"/>'
    if not label or at is None:
        return line
    return (
        f'{line}<text x="{at[0]}" y="{at[1]}" text-anchor="middle" font-size="12" fill="#4a5763">{escape(label)}</text>'
    )


def drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """A whole SVG file that says aloud what it shows."""
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L10,5 L0,10 z" fill="{INK}"/></marker></defs>'
    )
    legend = "".join(
        f'<rect x="{20 + 190 * n}" y="{height - 30}" width="16" height="16" rx="3" fill="{fill}" stroke="{INK}"/>'
        f'<text x="{42 + 190 * n}" y="{height - 17}" font-size="12.5" fill="{INK}">{words}</text>'
        for n, (fill, words) in enumerate(
            ((DATA, "images and masks"), (FROZEN, "computed, not trained"), (LEARNT, "learnt or chosen"))
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" style="{STYLE}"><title>{escape(title)}</title>{head}'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}{legend}</svg>\n'
    )


def p2sam() -> str:
    boxes = [
        Box(20, 30, 150, 64, ("Prior slice", "with its contour"), DATA),
        Box(20, 230, 150, 64, ("Target slice", "without a contour"), DATA),
        Box(210, 30, 130, 64, ("Image encoder", "of SAM")),
        Box(210, 230, 130, 64, ("Image encoder", "of SAM")),
        Box(380, 20, 200, 84, ("Parts", "k-means of the features", "inside, and outside"), LEARNT),
        Box(380, 220, 200, 84, ("Similarity", "of each target patch", "to each part")),
        Box(620, 220, 170, 84, ("Points", "+ on the structure", "− around it")),
        Box(830, 220, 150, 84, ("Mask decoder", "of SAM,", "three passes")),
        Box(830, 20, 150, 84, ("One mask", "for every number", "of parts"), DATA),
        Box(620, 20, 170, 84, ("Retrieval", "the mask nearest to the", "prior (Wasserstein)"), LEARNT),
        Box(620, 130, 170, 60, ("Contour", "on the target slice"), DATA),
    ]
    arrows = [
        arrow([(170, 62), (208, 62)]),
        arrow([(170, 262), (208, 262)]),
        arrow([(340, 62), (378, 62)]),
        arrow([(340, 262), (378, 262)]),
        arrow([(480, 104), (480, 218)], "1, 2, … parts", (430, 166)),
        arrow([(580, 262), (618, 262)]),
        arrow([(790, 262), (828, 262)]),
        arrow([(905, 220), (905, 106)]),
        arrow([(830, 62), (792, 62)]),
        arrow([(580, 62), (618, 62)], "", None),
        arrow([(705, 104), (705, 128)]),
    ]
    title = (
        "P²SAM: parts of the prior's features are compared with the target's, give positive and negative points, SAM "
        "decodes one mask for every number of parts, and the one whose features are nearest to the prior's is kept"
    )
    return drawing(1000, 350, title, [*(box.svg() for box in boxes), *arrows])


def alignsam() -> str:
    boxes = [
        Box(20, 120, 130, 64, ("Image",), DATA),
        Box(190, 120, 130, 64, ("Image encoder", "of SAM")),
        Box(370, 30, 190, 84, ("State", "features × the mask", "of the last step (Eq. 4)")),
        Box(585, 30, 170, 84, ("Actor", "which of the patches", "to click (Eq. 3, 5)"), LEARNT),
        Box(820, 30, 160, 84, ("Point", "in the middle", "of that patch")),
        Box(585, 190, 170, 84, ("Recalibration", "is it the target or not?", "(Eq. 12)"), LEARNT),
        Box(820, 190, 160, 84, ("Mask decoder", "of SAM, all points", "so far")),
        Box(370, 190, 190, 84, ("Mask", "of this step;", "the last one is the result"), DATA),
        Box(370, 310, 190, 60, ("Text or image", "explicit: CLIP; implicit: SAM"), DATA),
    ]
    arrows = [
        arrow([(150, 152), (188, 152)]),
        arrow([(320, 140), (345, 140), (345, 72), (368, 72)]),
        arrow([(560, 72), (583, 72)]),
        arrow([(755, 72), (818, 72)]),
        arrow([(900, 114), (900, 188)], "with its label", (943, 155)),
        arrow([(820, 100), (690, 150), (690, 188)], "", None),
        arrow([(755, 232), (818, 232)], "+ or −", (786, 222)),
        arrow([(860, 274), (860, 292), (573, 292), (573, 232), (562, 232)]),
        arrow([(465, 190), (465, 116)], "next step", (500, 156)),
        arrow([(560, 340), (670, 340), (670, 276)]),
    ]
    title = (
        "AlignSAM: an agent sees SAM's features under the last mask, chooses a patch, a recalibration module labels it "
        "as target or not, SAM decodes all points so far, and the new mask is the next state"
    )
    return drawing(1000, 420, title, [*(box.svg() for box in boxes), *arrows])


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in (("p2sam", p2sam()), ("alignsam", alignsam())):
        (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
