"""Draw README's picture: the prior and its contour, the later scan and the contour found, the confidence of each slice.

From files that the commands write, so that it can be made of any scan whose licence allows showing it:

    adaptsam followup --image ct --mask rtstruct.dcm --target Tumor_c40 --output later
    adaptsam propagate --prior-image ct --prior-mask rtstruct.dcm --structure Tumor_c40 --target later/ct \\
             --reference later/rtstruct.dcm --output result
    python Testing/tools/docs/draw_followup.py --prior-image ct --prior-mask rtstruct.dcm --structure Tumor_c40 \\
           --target later/ct --result result --credit "Scan: 4D-Lung 113_HM10395, TCIA, CC BY 3.0"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import adaptsam
from adaptsam.image import Structure, StructureSet, Volume

OUTPUT = Path(__file__).resolve().parents[3] / "docs" / "images" / "followup.png"
PAPER, INK, SOFT, FOUND, PRIOR, LOW = "white", "#1c2733", "#5d6b78", "#12a5a0", "#f2b632", "#d9542b"
WINDOW = (-1000.0, 350.0)


def draw(
    prior: tuple[Volume, StructureSet], target: tuple[Volume, StructureSet], slices: list[dict[str, Any]], credit: str
) -> Figure:
    """The picture.

    Args:
        prior, target: a scan, and a set of structures whose first one is drawn.
        slices: of the summary: "index", "prior_index" and "confidence" of each.
        credit: a line below, with the licence of the scan.
    """
    mask = target[1].structures[0].mask
    chosen = max(slices, key=lambda one: (mask[one["index"]].sum(), one["confidence"]))
    figure = Figure(figsize=(12, 4.5), dpi=110, facecolor=PAPER)
    panes = ((prior, chosen["prior_index"], PRIOR, "Planning scan: contoured by hand"),)
    panes += ((target, chosen["index"], FOUND, "Later scan: contour found"),)
    for number, ((volume, structures), index, color, title) in enumerate(panes):
        axes = figure.add_axes((0.008 + 0.335 * number, 0.07, 0.325, 0.8))
        _slice(axes, volume, structures.structures[0], index, color)
        figure.text(0.012 + 0.335 * number, 0.91, title, color=INK, fontsize=13.5, fontweight="bold")
    axes = figure.add_axes((0.735, 0.2, 0.255, 0.6))
    _confidence(axes, slices)
    figure.text(0.69, 0.91, "How far to trust each slice", color=INK, fontsize=13.5, fontweight="bold")
    figure.text(0.012, 0.02, credit, color=SOFT, fontsize=8.5)
    return figure


def _slice(axes: Axes, volume: Volume, structure: Structure, index: int, color: str) -> None:
    dx, dy = volume.geometry.spacing[:2]
    image, mask = volume.array[index], structure.mask[index]
    rows, columns = np.nonzero(mask)
    middle = np.array([columns.mean() * dx, rows.mean() * dy])
    half = max(75.0, 0.9 * max(np.ptp(columns) * dx, np.ptp(rows) * dy))
    size = (-dx / 2, (image.shape[1] - 0.5) * dx, (image.shape[0] - 0.5) * dy, -dy / 2)
    axes.imshow(image, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], extent=size, interpolation="bicubic")
    x, y = np.arange(image.shape[1]) * dx, np.arange(image.shape[0]) * dy
    axes.contour(x, y, mask, [0.5], colors=[color], linewidths=2.6)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] + half, middle[1] - half)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])


def _confidence(axes: Axes, slices: list[dict[str, Any]]) -> None:
    values = [one["confidence"] for one in slices]
    worst = int(np.argmin(values))
    axes.barh(range(len(values)), values, color=[LOW if value < 0.5 else FOUND for value in values], height=0.8)
    axes.annotate(
        "look here first",
        (values[worst], worst),
        (0.76, worst),
        color=LOW,
        fontsize=11.5,
        fontweight="bold",
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "->", "color": LOW, "linewidth": 1.6},
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, len(values) - 1], ["lowest", "highest"])
    axes.set_xlabel("confidence (expected Dice)", color=SOFT)
    axes.tick_params(colors=SOFT, length=0)
    for side in axes.spines.values():
        side.set_color("#dfe4e8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior-image", required=True, type=Path)
    parser.add_argument("--prior-mask", required=True, type=Path)
    parser.add_argument("--structure", required=True)
    parser.add_argument("--target", required=True, type=Path)
    parser.add_argument("--result", required=True, type=Path, help="the folder that adaptsam propagate wrote")
    parser.add_argument("--credit", default="")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    prior, target = adaptsam.read_volume(args.prior_image), adaptsam.read_volume(args.target)
    drawn = adaptsam.read_structures(args.prior_mask, prior, [args.structure])
    found = adaptsam.read_structures(args.result / "target-1.seg.nrrd", target, [args.structure])
    summary = json.loads((args.result / "summary.json").read_text(encoding="utf-8"))
    [report] = [one for one in summary["targets"][0]["structures"] if one["name"] == args.structure]
    figure = draw((prior, drawn), (target, found), [one for one in report["slices"] if one["accepted"]], args.credit)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, facecolor=PAPER)
    print(args.output)


if __name__ == "__main__":
    main()
