"""The curve of the bundled model's training: Dice on held-out images, and the loss, against images seen.

    python Testing/tools/docs/lite_curve.py training/bundled_lite_sam/curve.jsonl --before 37500 \
        --output docs/images/lite-curve.png

The curve is what :mod:`adaptsam.pretrain.lite_training` keeps beside its state.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from adaptsam.pretrain.lite_training import LiteRecipe

SETS = {"kvasir": "polyps", "msd-hippocampus": "hippocampus", "msd-lung": "lungs and their tumours"}
PROMPTS = {"box": "a box", "1": "one click", "5": "five clicks"}


def draw(lines: list[dict[str, Any]], before: int, each: int, output: Path) -> None:
    """One panel for the loss and one for each set; the ellipse that fills the box is dotted."""
    figure, panels = plt.subplots(1, 1 + len(SETS), figsize=(13, 3.2), layout="constrained")
    losses = [(before + line["images"], line["loss"]) for line in lines if "loss" in line]
    panels[0].plot(*zip(*losses, strict=True), color="0.3")
    panels[0].set_ylabel("loss")
    scored = [line for line in lines if "validation" in line]
    images = [before + each * line["step"] for line in scored]
    for panel, (name, title) in zip(panels[1:], SETS.items(), strict=True):
        for key, label in PROMPTS.items():
            panel.plot(images, [line["validation"][name][key] for line in scored], marker=".", label=label)
        panel.axhline(scored[-1]["validation"][name]["ellipse"], color="0.5", linestyle=":", label="ellipse in the box")
        panel.set(title=title, ylabel="Dice, held out")
    panels[-1].legend(fontsize=8)
    for panel in panels:
        panel.set_xlabel("images seen")
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f}k")
        panel.grid(alpha=0.3)
    figure.savefig(output, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curve", type=Path)
    parser.add_argument("--before", type=int, default=0, help="images that had been seen when the curve began")
    parser.add_argument("--batch", type=int, default=LiteRecipe().batch, help="pairs of a step")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.curve.read_text(encoding="utf-8").splitlines()]
    draw(lines, args.before, 2 * args.batch, args.output)


if __name__ == "__main__":
    main()
