"""What an evaluation costs: six methods beside one (they share embeddings), two workers beside one, and memory.

    python Testing/tools/benchmarks/evaluation.py --kind vit_b --repeats 3

Costs are processor time, so that a busy machine disturbs them little. Weights are random with "vit_b", which changes
nothing in the encoder; masks are then nonsense. Workers are timed by the clock and need a quiet machine: --workers.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from adaptsam.evaluation.case_results import Results, identity_of
from adaptsam.evaluation.case_worker import ModelSource, Setting, Worker
from adaptsam.evaluation.evaluation_cases import PictureTask, Study, StudyCase
from adaptsam.evaluation.evaluation_run import run_here, run_study
from adaptsam.evaluation.methods import Outlined, Pair
from adaptsam.evaluation.pooled_measures import SLICE_DICE
from adaptsam.sam import VIT_B, SamModel, build_sam, load_sam

SIX = ("p2sam", "persam", "persam-f", "matcher", "panet", "direct-transfer")


class DiscTasks:
    """Discs on noise, all from one outlined disc."""

    def __init__(self, seed: int, count: int, size: int = 512) -> None:
        self.seed, self.count, self.size = seed, count, size

    def __call__(self) -> Iterator[PictureTask]:
        prior = Outlined(*self._drawn(0))
        for number in range(1, self.count + 1):
            image, mask = self._drawn(number)
            yield PictureTask(Pair(f"disc-{self.seed}/{number}", prior, image), mask)

    def _drawn(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, number])
        rows, columns = np.mgrid[: self.size, : self.size] / self.size
        image = rng.integers(0, 80, (self.size, self.size, 3)).astype(np.uint8)
        mask = (rows - rng.uniform(0.4, 0.6)) ** 2 + (columns - rng.uniform(0.4, 0.6)) ** 2 < 0.02
        image[mask] += 120
        return image, mask


def run(repeats: int = 3, kind: str = "lite", images: int = 3) -> dict[str, Any]:
    """Processor time of one method, of each of six, and of the six together, on one case of some images."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = load_sam(device="cpu") if kind == "lite" else _random_vit_b()
    case = StudyCase("discs", DiscTasks(0, images))
    worker = Worker(model, Setting(SIX))
    figures: dict[str, Any] = {"kind": kind, "images": images, "repeats": repeats}
    alone = {name: median(_cost(worker, case, [name]) for _ in range(repeats)) for name in SIX}
    together = median(_cost(worker, case, list(SIX)) for _ in range(repeats))
    torch.set_num_threads(before)
    figures |= {f"{name}, s": round(cost, 2) for name, cost in alone.items()}
    figures |= {"six together, s": round(together, 2), "six one by one, s": round(sum(alone.values()), 2)}
    figures["six together, x p2sam alone"] = round(together / alone["p2sam"], 2)
    figures["without Matcher, x p2sam alone"] = round(
        _median_of(worker, case, [n for n in SIX if n != "matcher"], repeats) / alone["p2sam"], 2
    )
    return figures


def memory(cases: int) -> float:
    """Peak MiB of this process after a study of so many cases; run it in a process of its own."""
    model = load_sam(device="cpu")
    study = Study("discs", "Discs", _cases(cases, 1), (SLICE_DICE,), "Discs on noise.")
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder), identity_of("discs", {}, model))
        run_study(study, model, Setting(("p2sam", "panet")), results, backend=run_here)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def workers(counts: tuple[int, ...] = (1, 2), cases: int = 16) -> dict[str, float]:
    """Seconds of a study by the number of Ray workers of one thread each, without their start."""
    from adaptsam.evaluation.ray_cluster import on_cluster

    model = load_sam(device="cpu")
    figures = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            results = Results(Path(folder), identity_of("discs", {}, model))
            begun: list[float] = []

            def note(stage: str, done: int, total: int, begun: list[float] = begun) -> None:
                begun.append(time.perf_counter())

            study = Study("discs", "Discs", _cases(cases, 2), (SLICE_DICE,), "Discs on noise.")
            backend = on_cluster(ModelSource(None, "cpu"), count)
            run_study(study, model, Setting(("p2sam", "matcher")), results, backend=backend, progress=note)
            # From the first result to the last: what starting costs is left out on both sides.
            figures[f"{count} workers, s"] = round(begun[-1] - begun[count], 2)
            figures[f"{count} workers, cases a s"] = round((cases - count) / (begun[-1] - begun[count]), 3)
    return figures


def _cases(count: int, images: int) -> tuple[StudyCase, ...]:
    return tuple(StudyCase(f"disc-{n}", DiscTasks(n, images)) for n in range(count))


def _median_of(worker: Worker, case: StudyCase, names: list[str], repeats: int) -> float:
    return median(_cost(worker, case, names) for _ in range(repeats))


def _cost(worker: Worker, case: StudyCase, names: list[str]) -> float:
    begun = time.process_time()
    result = worker.run(case, names)
    assert "error" not in result.record
    return time.process_time() - begun


def _random_vit_b() -> SamModel:
    torch.manual_seed(0)
    return SamModel.from_sam(build_sam(VIT_B), VIT_B, kind="vit_b", device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=["lite", "vit_b"], default="lite")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--memory", type=int, metavar="CASES", help="peak memory of a study of so many cases instead")
    parser.add_argument("--workers", action="store_true", help="one and two Ray workers instead")
    args = parser.parse_args()
    if args.memory:
        figures: dict[str, Any] = {"cases": args.memory, "peak MiB": round(memory(args.memory))}
    elif args.workers:
        figures = workers()
    else:
        figures = run(args.repeats, args.kind, args.images)
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
