"""The default beside copied contours, rigid and deformable registration, and ANTs SyN, on pairs whose truth is known.

    python Testing/tools/experiments/against_registration.py --pairs tumours organs --output rivals.jsonl
    python Testing/tools/experiments/against_registration.py --list pairs/cases.json --output rivals.jsonl

A list is what ``adaptsam evaluate own`` takes (see real_pairs.py). Registration is computed once a pair. SyN needs the
extra "ants"; it is left out, with a sentence, where that is missing. One line of JSON for every pair, method and
structure; of the default also each slice that was looked at. Pairs that are in the file are not computed again;
``followup_table.py`` makes the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.errors import NotInstalledError
from adaptsam.evaluation.evaluation_cases import VolumeTask
from adaptsam.evaluation.methods import Workbench, make_methods
from adaptsam.evaluation.protocols import Options, open_protocol
from adaptsam.image.volume import Geometry
from adaptsam.metrics.volume_metrics import compare, dice
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.volume_propagation import PropagationSettings
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise import PriorVisit, StructureReport, carry

sys.path.insert(0, str(Path(__file__).parent))
from followup_pairs import Known, hippocampi, organs, phantoms, tumours

METHODS = ("copied", "rigid", "registration", "syn")
OBSERVER = "observer"
DEFAULT = "default"


def listed(path: Path) -> Iterator[Known]:
    """The pairs of a list of one's own; the kind is the case's name up to its number."""
    for case in open_protocol("own", path, Options()).cases:
        for task in case.tasks():
            assert isinstance(task, VolumeTask)
            yield Known(case.name.rstrip("0123456789-"), task.pair.name, task.pair, task.truth)


def measured(one: Known, model: SamModel, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A record for every method and structure of a pair."""
    bench = Workbench(EmbeddingStore(model))
    for name in methods:
        started = time.process_time()
        if name == DEFAULT:
            masks, reports, warnings = _default(one, model)
        else:
            [method] = make_methods([name])
            masks = {title: found.mask for title, found in method.volume(bench, one.pair).items()}
            reports, warnings = {}, ()
        seconds = round(time.process_time() - started, 2)
        for title, mask in masks.items():
            truth = next((each.mask for each in one.truth.structures if each.name == title), None)
            if truth is None:
                continue
            record = {"kind": one.kind, "pair": one.name, "structure": title, "method": name, "cpu": seconds}
            record |= {"structures": len(masks), **_agreement(mask, truth, one.truth.geometry)}
            if title in reports:
                told = reports[title]
                record |= {"status": told.status, "warnings": list(warnings), "slices": _slices(told, mask, truth)}
            yield record


def _default(one: Known, model: SamModel) -> tuple[dict[str, np.ndarray], dict[str, StructureReport], tuple[str, ...]]:
    """What ``propagate`` gives, from the pair's registration."""
    pair = one.pair
    visit = PriorVisit(P2SamSlices(EmbeddingStore(model)), pair.prior, pair.structures, PropagationSettings())
    carried = carry(visit, pair.target, registration=pair.rigid if pair.rigid.warning else pair.deformation)
    names = pair.structures.names
    return (
        dict(zip(names, carried.masks, strict=True)),
        dict(zip(names, carried.reports, strict=True)),
        carried.warnings,
    )


def _agreement(mask: np.ndarray, truth: np.ndarray, geometry: Geometry) -> dict[str, Any]:
    return {key: None if np.isnan(v) else round(v, 4) for key, v in asdict(compare(mask, truth, geometry)).items()}


def _slices(report: StructureReport, mask: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Each slice that was looked at: its confidence and Dice, whether it is drawn, true, and to be looked at first."""
    ours, theirs = (np.moveaxis(array, report.slice_axis, 0) for array in (mask, truth))
    listed = {one.index for one in report.worst_slices}
    return [
        {
            "k": one.index,
            "confidence": round(float(one.confidence), 4),
            "dice": round(float(dice(ours[one.index], theirs[one.index])), 4),
            "drawn": bool(ours[one.index].any()),
            "true": bool(theirs[one.index].any()),
            "listed": one.index in listed,
        }
        for one in report.slices
    ]


def usable(methods: Sequence[str]) -> list[str]:
    """Those whose library is installed; a sentence for the others."""
    found = []
    for name in methods:
        try:
            if name != DEFAULT:
                make_methods([name])[0].prepare(None)  # type: ignore[arg-type]
            found.append(name)
        except NotInstalledError as missing:
            print(f"{name} is left out: {missing}")
    return found


def _pairs(args: argparse.Namespace) -> Iterable[Known]:
    if "tumours" in args.pairs:
        yield from tumours(args.data, args.changes)
    if "organs" in args.pairs:
        yield from organs(args.data)
    if "hippocampi" in args.pairs:
        yield from hippocampi(args.data)
    if "phantoms" in args.pairs:
        yield from phantoms()
    for path in args.list:
        yield from listed(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pairs", nargs="+", choices=("tumours", "organs", "hippocampi", "phantoms"), default=[])
    parser.add_argument("--changes", nargs="+", default=["small", "medium", "large"])
    parser.add_argument("--list", type=Path, nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="pairs whose names hold one of these")
    parser.add_argument("--methods", nargs="+", choices=(*METHODS, OBSERVER, DEFAULT), default=[*METHODS, DEFAULT])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    done = {(one["pair"], one["method"]) for one in map(json.loads, lines)}
    model, methods = load_sam(None, "cpu"), usable(args.methods)
    for one in _pairs(args):
        if not any(word in one.name for word in args.only):
            continue
        wanted = [name for name in methods if (one.name, name) not in done]
        records = list(measured(one, model, wanted))
        with args.output.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        said = (f"{r['method']} {r['structure']} {r['dice']:.3f} ({r['cpu']} s)" for r in records)
        print(one.name, *said, flush=True)


if __name__ == "__main__":
    main()
