"""The curves of trainings, as TensorBoard has them, in one picture; and a table of their Dice in validation.

    python Testing/tools/experiments/training_curves.py runs/kvasir_full runs/kvasir_lora --output curves.png

Runs whose losses are to be compared (one that was killed, and one that was not) are drawn over each other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DICE = {"none": "no prompt", "point": "one point", "box": "box", "dice": "mean"}


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """By tag, step and value; steps that were trained twice, before and after a kill, have their last value."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {tag: {one.step: one.value for one in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def draw(runs: list[Path], output: Path) -> None:
    figure, (losses, dice) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for number, run in enumerate(runs):
        found = scalars(run)
        style = {"color": f"C{number}", "linestyle": ("-", "--")[number % 2]}
        [loss] = [values for tag, values in found.items() if "loss" in tag and len(values) > 1]
        losses.plot(list(loss), list(loss.values()), label=run.name, linewidth=(3, 1.2)[number % 2], **style)
        for kind, marker in zip(("none", "point", "box"), "os^", strict=True):
            [values] = [values for tag, values in found.items() if tag.split("/")[-1].endswith(kind)]
            dice.plot(list(values), list(values.values()), marker=marker, label=f"{run.name}, {DICE[kind]}", **style)
    losses.set(xlabel="iteration", ylabel="loss, mean of the rounds")
    dice.xaxis.get_major_locator().set_params(integer=True)
    dice.set(xlabel="epoch (0: before training)", ylabel="Dice in validation", ylim=(0, 1))
    losses.legend(fontsize=8)
    dice.legend(fontsize=6, ncols=2)
    figure.savefig(output, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that trainings left")
    parser.add_argument("--output", type=Path, required=True, help="the picture")
    args = parser.parse_args()
    for run in args.runs:
        curves = json.loads((run / "curves.json").read_text())
        scores = curves["scores"]
        best = max(scores, key=lambda row: row["dice"])
        for name, row in (("before", scores[0]), ("best", best), ("last", scores[-1])):
            told = {word: round(row[key], 3) for key, word in DICE.items()}
            print(json.dumps({"run": run.name, "model": name, "epoch": row["epoch"], **told}))
    first, *others = (json.loads((run / "curves.json").read_text()) for run in args.runs)
    for run, other in zip(args.runs[1:], others, strict=True):
        if other["settings"] == first["settings"]:
            difference = np.abs(np.subtract(other["losses"], first["losses"])).max()
            print(json.dumps({"run": run.name, "largest difference of losses": float(difference)}))
    draw(args.runs, args.output)


if __name__ == "__main__":
    main()
