"""A 4D scan of the phantom: every phase from the contours on the first one, with errors of volume and centroid.

    python Testing/tools/experiments/phases.py --phases 10 --seed 4 --output phases.jsonl

One line of JSON a phase; phases that are in the file already are not computed again. CPU seconds are given, since
phases must cost no more than so many single targets; the prior's own share is in the first one computed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptsam.image import Volume, select_structures
from adaptsam.metrics.volume_metrics import compare
from adaptsam.propagation.volume_propagation import propagate_each
from adaptsam.sam import load_sam
from adaptsam.synthetic.thorax_phantom import Breathing, PhantomPhase, PhantomSettings, phantom_patient


def measured(
    phases: Sequence[PhantomPhase], wanted: Sequence[int], names: Sequence[str]
) -> Iterator[dict[str, object]]:
    """A record for every wanted phase, carried from phase 0; all structures in one."""
    prior = select_structures(phases[0].structures, names)
    targets: Iterator[Volume] = (phases[number].volume for number in wanted)
    before = time.process_time()
    results = propagate_each(phases[0].volume, prior, targets, total=len(wanted), model=load_sam())
    for number, (target, result) in zip(wanted, results, strict=True):
        now = time.process_time()
        record: dict[str, object] = {"phase": number, "cpu": round(now - before, 1)}
        truth = {one.name: one.mask for one in phases[number].structures.structures}
        was = {one.name: one.mask for one in prior.structures}
        for one in result.structures.structures:
            found = compare(one.mask, truth[one.name], target.geometry)
            still = compare(was[one.name], truth[one.name], target.geometry)
            record[one.name] = {
                "dice": found.dice,
                "volume_error": found.volume / found.reference_volume - 1 if found.reference_volume else None,
                "centroid_error": None if np.isnan(found.centroid_error) else found.centroid_error,
                "moved": None if np.isnan(still.centroid_error) else still.centroid_error,
                "dice_copied": still.dice,
            }
        before = time.process_time()
        yield record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", type=int, default=10)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--shape", type=int, nargs=3, default=(40, 160, 160), metavar=("K", "J", "I"))
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.6, 2.6, 6.0), metavar=("I", "J", "K"))
    parser.add_argument("--structures", nargs="+", default=["GTV-1", "Lung-Left", "Heart"])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    records = [json.loads(line) for line in args.output.read_text().splitlines()] if args.output.exists() else []
    wanted = [n for n in range(1, args.phases) if n not in {record["phase"] for record in records}]
    settings = PhantomSettings(breathing=Breathing(phases=args.phases))
    (visit,) = phantom_patient(args.seed, 1, shape=tuple(args.shape), spacing=tuple(args.spacing), settings=settings)
    for record in measured(visit.phases, wanted, args.structures) if wanted else ():
        records.append(record)
        with args.output.open("a") as file:
            file.write(json.dumps(record) + "\n")
    print("phase  structure   Dice (copied)   volume error   centroid error (moved)   CPU s")
    for record in sorted(records, key=lambda one: one["phase"]):
        for name in args.structures:
            one = record[name]
            share = f"{100 * record['phase'] / args.phases:4.0f} %  {name:10s}"
            volume = f"{100 * one['volume_error']:+10.1f} %"
            moved = f"{one['centroid_error']:12.1f} mm ({one['moved']:.1f})"
            print(f"{share}  {one['dice']:.3f} ({one['dice_copied']:.3f})  {volume}  {moved}  {record['cpu']:12.1f}")


if __name__ == "__main__":
    main()
