"""Dice on synthetic patients that no model was trained on: parts, retrieval and protocol, side by side.

    python Testing/experiments/phantom_cohort.py --patients 50 --output cohort.jsonl

One line of JSON a patient; patients that are in the file already are not computed again. Two processes may share the
work with --first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptsam.data import Volume, select_structures
from adaptsam.data.phantom import PhantomVisit, phantom_patient
from adaptsam.evaluate.baselines import carry_rigidly
from adaptsam.evaluate.metrics import compare, slice_dice
from adaptsam.p2sam import Settings
from adaptsam.propagate import Propagation, PropagationSettings, papers_protocol, propagate
from adaptsam.sam import EmbeddingStore, SamModel, load_sam

METHODS = {
    "P2SAM, n = 4, retrieval": Settings(),
    "n = 4, no retrieval": Settings(positives=(4, 4), retrieval=False),
    "n = 1 (PerSAM)": Settings(positives=(1, 1)),
}
FIRST_SEED = 100_000


def patient(seed: int) -> tuple[PhantomVisit, PhantomVisit]:
    """Two visits of a patient whose seed no training used."""
    first, second = phantom_patient(seed, 2, shape=(64, 224, 224), spacing=(1.95, 1.95, 4.5))
    return first, second


def figures(seed: int, model: SamModel, structure: str = "GTV-1") -> dict[str, float]:
    """Mean Dice over the slices that hold the structure (papers' protocol) and over the volume (ours).

    Without fusion, so that parts and retrieval are seen; options.py measures fusion.
    """
    first, second = patient(seed)
    prior = select_structures(first.structures, [structure])
    truth = select_structures(second.structures, [structure]).structures[0].mask
    store = EmbeddingStore(model)
    slices = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    found: dict[str, float] = {}
    for name, p2sam in METHODS.items():
        for protocol, settings in _protocols(slices, p2sam):
            [result] = propagate(first.volume, prior, [second.volume], settings=settings, store=store)
            found[f"{name} | {protocol}"] = _score(result, truth, protocol, second.volume)
    moved = carry_rigidly(first.volume, prior, second.volume).structures[0].mask
    found["rigid registration | ours"] = compare(moved, truth, second.volume.geometry).dice
    found["rigid registration | papers'"] = slice_dice(moved, truth)
    return found


def _protocols(slices: list[int], p2sam: Settings) -> Iterator[tuple[str, PropagationSettings]]:
    yield "papers'", replace(papers_protocol(slices), p2sam=p2sam)
    yield "ours", PropagationSettings(p2sam=p2sam, register="rigid", fusion="off")


def _score(result: Propagation, truth: np.ndarray, protocol: str, target: Volume) -> float:
    mask = result.structures.structures[0].mask
    if protocol == "papers'":
        return slice_dice(mask, truth)
    return compare(mask, truth, target.geometry).dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="how many patients to leave to another process")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    done = {json.loads(line)["seed"]: json.loads(line)["dice"] for line in lines}
    model = load_sam(args.checkpoint, "cpu")
    for seed in range(FIRST_SEED + args.first, FIRST_SEED + args.first + args.patients):
        if seed not in done:
            done[seed] = figures(seed, model)
            with args.output.open("a") as file:
                file.write(json.dumps({"seed": seed, "dice": done[seed]}) + "\n")
    for name in next(iter(done.values())):
        values = np.array([dice[name] for dice in done.values()])
        error = values.std(ddof=1) / len(values) ** 0.5
        print(f"{name:42s} {values.mean():.3f} ± {error:.3f}  median {np.median(values):.3f}")


if __name__ == "__main__":
    main()
