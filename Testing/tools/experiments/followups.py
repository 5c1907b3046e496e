"""A real scan carried to digital follow-ups whose truth is known: contours copied, registered, and found by P²SAM.

    python Testing/tools/experiments/followups.py --image CT_FOLDER --mask RTSTRUCT --output followups.jsonl
    python Testing/tools/experiments/followups.py --image … --mask … --output hard.jsonl --cases vanish away split \\
                                            --structures GTV-1 --methods p2sam-default

One line of JSON for every follow-up, method and structure; what is in the file already is not computed again. The
follow-ups are made anew from their seed. The table at the end is of everything in the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.image import StructureSet, Volume, select_structures
from adaptsam.io import read_structures, read_volume
from adaptsam.metrics.volume_metrics import compare
from adaptsam.propagation.baselines import carry_deformably, carry_rigidly, copy_contours
from adaptsam.propagation.volume_propagation import Propagation, PropagationSettings, papers_protocol, propagate
from adaptsam.sam import EmbeddingStore, load_sam
from adaptsam.synthetic.digital_followup import FollowUp, FollowUpSettings, digital_followup, settings_for

CASES: dict[str, FollowUpSettings] = {
    "small": settings_for("small"),
    "medium": settings_for("medium"),
    "large": settings_for("large"),
    "grow": settings_for("medium", "grow"),
    "vanish": settings_for("medium", "vanish"),
    "away": settings_for("medium", field_of_view="away"),
    "split": settings_for("medium", "split"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """The prior, one follow-up of it, and embeddings that all runs of the model share."""

    prior: Volume
    structures: StructureSet
    later: FollowUp
    store: EmbeddingStore

    @property
    def truth(self) -> dict[str, np.ndarray]:
        return {one.name: one.mask for one in self.later.structures.structures}


#: What a method gives: masks on the follow-up's grid, and the propagation where there was one.
Found = tuple[StructureSet, Propagation | None]


def plain(case: Case, names: Sequence[str]) -> Found:
    """P²SAM as published: whole slices, no registration; it is told which slices hold the structure."""
    slices = {name: np.flatnonzero(case.truth[name].any(axis=(1, 2))).tolist() for name in names}
    return _propagated(case, names, papers_protocol(slices))


def default(case: Case, names: Sequence[str]) -> Found:
    return _propagated(case, names, PropagationSettings())


def _propagated(case: Case, names: Sequence[str], settings: PropagationSettings) -> Found:
    [result] = propagate(
        case.prior, case.structures, [case.later.volume], names=names, settings=settings, store=case.store
    )
    return result.structures, result


METHODS: dict[str, Callable[[Case, Sequence[str]], Found]] = {
    "copied": lambda case, names: (copy_contours(select_structures(case.structures, names), case.later.volume), None),
    "rigid": lambda case, names: (
        carry_rigidly(case.prior, select_structures(case.structures, names), case.later.volume),
        None,
    ),
    "deformable": lambda case, names: (
        carry_deformably(case.prior, select_structures(case.structures, names), case.later.volume),
        None,
    ),
    "p2sam-plain": plain,
    "p2sam-default": default,
}


def measure(case: Case, name: str, method: str, names: Sequence[str]) -> list[dict[str, object]]:
    """One record a structure: agreement with the truth, and what the propagation said of it."""
    started = time.perf_counter()
    found, propagation = METHODS[method](case, names)
    seconds = time.perf_counter() - started
    records: list[dict[str, object]] = []
    for number, structure in enumerate(found.structures):
        agreement = asdict(compare(structure.mask, case.truth[structure.name], case.later.volume.geometry))
        figures = {key: None if isinstance(v, float) and np.isnan(v) else v for key, v in agreement.items()}
        record: dict[str, object] = {"case": name, "method": method, "structure": structure.name, **figures}
        if propagation is not None:
            record |= {"status": propagation.reports[number].status, "warnings": propagation.warnings}
        records.append(record | {"seconds": round(seconds, 1)})
    return records


def table(records: Sequence[dict[str, Any]]) -> None:
    """All figures, a line for every follow-up, structure and method."""
    print(f"{'follow-up':10s} {'structure':14s} {'method':14s}  Dice   HD95 mm  surf. Dice   cm³ (true)")
    for one in sorted(records, key=lambda r: (list(CASES).index(str(r["case"])), str(r["structure"]))):
        hausdorff = "–" if one["hausdorff_95"] is None else f"{one['hausdorff_95']:.1f}"
        volumes = f"{one['volume']:.1f} ({one['reference_volume']:.1f})"
        print(
            f"{one['case']:10s} {one['structure']:14s} {one['method']:14s} {one['dice']:.3f}  {hausdorff:>7s}  "
            f"{one['surface_dice']:10.3f}   {volumes}  {one.get('status', '')}"
        )
    said = {f"{one['case']}, {one['method']}: {text}" for one in records for text in one.get("warnings", ())}
    print("".join(f"! {text}\n" for text in sorted(said)), end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--target", default="GTV-1")
    parser.add_argument("--structures", nargs="+", help="default: all")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["small", "medium", "large"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    prior = read_volume(args.image)
    structures = select_structures(read_structures(args.mask, prior))
    names = args.structures or list(structures.names)
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    records = [json.loads(line) for line in lines]
    done = {(r["case"], r["method"], r["structure"]) for r in records}
    model = load_sam(args.checkpoint, "cpu")
    for name in args.cases:
        wanted = {m: [n for n in names if (name, m, n) not in done] for m in args.methods}
        if not any(wanted.values()):
            continue
        later = digital_followup(prior, structures, args.target, seed=args.seed, settings=CASES[name])
        print(f"{name}: {later.description}", flush=True)
        case = Case(prior, structures, later, EmbeddingStore(model))
        for method, missing in wanted.items():
            # What the follow-up does not hold has no slices to be told of.
            told = [n for n in missing if method != "p2sam-plain" or case.truth[n].any()]
            if told:
                new = measure(case, name, method, told)
                records += new
                with args.output.open("a") as file:
                    file.writelines(json.dumps(record) + "\n" for record in new)
    table(records)


if __name__ == "__main__":
    main()
