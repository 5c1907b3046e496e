"""What each kind of data is worth to the bundled model: short trainings from one start, each without one kind.

    python Testing/tools/experiments/leave_one_out.py --data pools --former early.safetensors --output runs
    python Testing/tools/experiments/leave_one_out.py --data pools --imagenet efficientnet_lite0.pth --output runs

Every training has the same number of steps, seed and start: an early state of the model, ImageNet weights, or both. All
are scored on the same held-out images, those of the kind that they never saw included. What is done already is not
done again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from adaptsam.pretrain.held_out import parted_pools, validation_scores
from adaptsam.pretrain.image_pool import INDEX
from adaptsam.pretrain.lite_training import LiteRecipe, LiteTraining, new_lite_sam

Entry = dict[str, Any]

SOURCES = {
    "polyps": {"kvasir"},
    "chest CT": {"msd-lung", "4d-lung"},
    "brain MR": {"msd-hippocampus", "ms-visits"},
}
SYNTHETIC = "phantoms and scenes"
REGIONS = "regions that nobody outlined"
SMALL = "small sets"
KINDS = ("nothing", *SOURCES, SMALL, REGIONS, SYNTHETIC)


def kept_entry(without: str) -> Callable[[Entry], Entry | None]:
    """A function that changes an image's entry in the index of its pool, or leaves it out with None."""
    large = set().union(*SOURCES.values())

    def kept(entry: Entry) -> Entry | None:
        if entry["source"] in SOURCES.get(without, ()) or (without == SMALL and entry["source"] not in large):
            return None
        if without == REGIONS:
            return {**entry, "regions": 0} if entry["labels"] else None
        return entry

    return kept


def pools_without(data: Path, without: str, output: Path) -> Path:
    """A folder of the same pools and drawn pairs, by links, whose indices leave one kind out."""
    output.mkdir(parents=True, exist_ok=True)
    keep = kept_entry(without)
    for path in sorted(data.iterdir()):
        if not path.is_dir():
            link(output / path.name, path)
            continue
        entries = [entry for entry in map(keep, json.loads((path / INDEX).read_text())) if entry is not None]
        if entries:
            (output / path.name).mkdir(exist_ok=True)
            (output / path.name / INDEX).write_text(json.dumps(entries))
            for other in path.iterdir():
                if other.name != INDEX:
                    link(output / path.name / other.name, other)
    return output


def link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target.resolve())


def trained(args: argparse.Namespace, without: str) -> dict[str, dict[str, float]]:
    """Scores by data set of a training without one kind."""
    folder = args.output / without.replace(" ", "_")
    scores = folder / "scores.json"
    if not scores.is_file():
        torch.manual_seed(2026)
        shares = {"phantoms": 0.0, "scenes": 0.0} if without == SYNTHETIC else {}
        recipe = LiteRecipe(size=args.size, average=0.99, warm_up=50, **shares)
        data = pools_without(args.data, without, folder / "data")
        training = LiteTraining(folder, data, new_lite_sam(args.imagenet, args.former, args.size), recipe)
        training.resume()
        training.run(math.inf, validate_minutes=math.inf, decay=True, steps=args.steps)
        found = validation_scores(training.average.module.eval(), parted_pools(args.data)[1], args.size)
        scores.write_text(json.dumps(found, indent=1))
    result: dict[str, dict[str, float]] = json.loads(scores.read_text())
    return result


def table(
    rows: dict[str, dict[str, dict[str, float]]], sets: tuple[str, ...] = ("kvasir", "msd-lung", "msd-hippocampus")
) -> str:
    """Markdown: box, one and five clicks of each set, in Dice."""
    head = [f"{name}: box, 1, 5 clicks" for name in sets]
    lines = ["| without | " + " | ".join(head) + " |", "|---" * (len(sets) + 1) + "|"]
    for without, scores in rows.items():
        cells = [", ".join(f"{scores[name][key]:.3f}" for key in ("box", "1", "5")) for name in sets]
        lines.append(f"| {without} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="pools and drawn pairs")
    parser.add_argument("--imagenet", type=Path, help="weights of EfficientNet-Lite0 for the encoder")
    parser.add_argument("--former", type=Path, help="a lite model to begin with; with --imagenet its decoder alone")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    if args.former is None and args.imagenet is None:
        parser.error("a training begins with --former, --imagenet, or both")
    torch.set_num_threads(1)
    print(table({without: trained(args, without) for without in args.only}))


if __name__ == "__main__":
    main()
