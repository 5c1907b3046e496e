"""What the module costs beside `adaptsam` called directly, a correction beside one cascade, ten phases beside one (Linux).

    python Testing/tools/slicer/costs.py run          (at most 10 % more, and 200 MiB)
    python Testing/tools/slicer/costs.py correction   (at most 1.5 cascades and 0.1 s)
    python Testing/tools/slicer/costs.py phases       (at most ten times one)

CPU seconds, for the machine may have other work: of the module, the worker's and the window's together. What is compared
takes turns, every turn with new images, so that no embedding is found; medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]

from slicer_bench import bench
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import Case, thorax

#: A process that carries the heart over directly, once for each seed that it reads.
DIRECT = """
import json, resource, sys, time
sys.path[:0] = sys.argv[1:3]
from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
from adaptsam.sam import load_sam
from slicer_bench.conftest import QUICK
from tools.slicer.costs import pair
model = load_sam()
print(0, flush=True)
for line in sys.stdin:
    prior, target = pair(int(line))
    start = time.process_time()
    propagate(prior.volume, prior.structures, [target.volume], names=["heart"], model=model, settings=PropagationSettings(**QUICK))
    cpu, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([cpu, peak]), flush=True)
"""


def pair(seed: int) -> tuple[Case, Case]:
    """Two visits in integers, as scanners give them."""
    first, second = thorax(seed=2 * seed), thorax(shift_mm=(6, 4, 0), seed=2 * seed + 1)
    return _whole(first), _whole(second)


def _whole(case: Case) -> Case:
    return replace(case, volume=replace(case.volume, array=case.volume.array.astype(np.int16)))


class Module:
    """The module's logic on the bench, and the CPU time of window and worker together."""

    def __init__(self) -> None:
        bench.start()
        from AdaptSAMLib.engine import Engine

        from PersonalizedSAM import PersonalizedSAMLogic

        self.engine, self.logic = Engine.shared(), PersonalizedSAMLogic()
        self.engine.waitFor(self.engine.request("hello", lambda event: None))
        self.worker = psutil.Process(self.engine.workerPid)  # not its launcher

    def cpu(self) -> float:
        return sum(self.worker.cpu_times()[:2])

    def timed(self, begin: Callable[[], Any], ended: Callable[[], bool]) -> tuple[float, float, Any]:
        """CPU of the worker, CPU of this thread while it looks after Qt, and what ``begin`` gave."""
        before, own = self.cpu(), time.thread_time()
        made = begin()
        while not ended():
            self.engine.pump()
            bench.idle(0.01)
        return self.cpu() - before, time.thread_time() - own, made

    def run(self, prior: Any, contours: Any, targets: list[Any], settings: dict[str, Any]) -> tuple[float, float, Any]:
        runs: list[Any] = []

        def begin() -> Any:
            made = self.logic.propagate(prior, contours, targets, segments=["heart"], settings=settings, wait=False)
            runs.append(made)
            return made

        worker, window, run = self.timed(begin, lambda: runs[0].ended is not None)
        assert run.ended[0] == "done", run.ended
        return worker, window, run

    def peak(self) -> float:
        return int(Path(f"/proc/{self.engine.workerPid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def run(module: Module, turns: int) -> None:
    command = [sys.executable, "-c", DIRECT, *map(str, (bench.REPOSITORY, bench.REPOSITORY / "Testing"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as direct:
        assert direct.stdin is not None
        assert direct.stdout is not None
        direct.stdout.readline()
        figures, window = [], 0.0
        for seed in range(turns):
            direct.stdin.write(f"{seed}\n")
            direct.stdin.flush()
            alone, alonePeak = json.loads(direct.stdout.readline())
            first, second = pair(seed)
            prior, target = volumeNode(first, "Planning"), volumeNode(second, "Week 3")
            contours = segmentationNode(first, prior)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            worker, own, _ = module.run(prior, contours, [target], QUICK)
            window = max(window, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - memory)
            figures.append((alone, worker, own, (worker + own) / alone))
            print(f"directly {alone:.2f} s; worker {worker:.2f} s, window {own:.2f} s", flush=True)
        direct.stdin.close()
    alone, worker, own, ratio = np.median(figures, axis=0)
    print(
        f"run: directly {alone:.2f} s, module {worker:.2f} + {own:.2f} s; {100 * (ratio - 1):+.1f} % (median of {turns})"
    )
    print(f"peak memory: directly {alonePeak:.0f} MiB, worker {module.peak():.0f} MiB, window {window:.0f} MiB more")


def correction(module: Module, turns: int) -> None:
    from adaptsam.p2sam import Job, Prior, segment_points
    from adaptsam.sam import EmbeddingStore, load_sam

    first, second = pair(0)
    prior, target = volumeNode(first, "Planning"), volumeNode(second, "Week 3")
    _, _, done = module.run(prior, segmentationNode(first, prior), [target], {})
    outcome = done.outcomes[0]
    best = max(outcome.reports["id-heart"]["slices"], key=lambda one: one["confidence"])
    store = EmbeddingStore(load_sam())
    images = [np.clip((case.volume.array[12] + 160) / 400 * 255, 0, 255).astype(np.uint8) for case in (first, second)]
    a, b = store.get(images)
    job = Job(Prior.from_mask(store.model, a, first.mask("heart")[12]), b)
    points, labels = np.array(best["points"]), np.array(best["labels"])
    object_ = module.logic.correction(done, outcome, "heart")
    object_.showPrompts(best["index"])
    figures = []
    for turn in range(turns + 1):
        start = time.process_time()
        segment_points(store.model, job, points, labels)
        cascade = time.process_time() - start
        wall = time.monotonic()
        worker, own, _ = module.timed(lambda: object_.rerun(best["index"]), lambda: object_.ended is not None)
        wall = time.monotonic() - wall
        if turn:  # the first of each warms up
            figures.append((cascade, worker, own, wall))
    cascade, worker, own, wall = np.median(figures, axis=0)
    print(
        f"correction: cascade {1000 * cascade:.0f} ms, worker {1000 * worker:.0f} ms, window {1000 * own:.0f} ms of CPU; "
        f"{1000 * (worker + own - 1.5 * cascade):.0f} ms over 1.5 cascades; {1000 * wall:.0f} ms by the clock"
    )


def phases(module: Module, turns: int) -> None:
    import slicer

    def sequence(seed: int, count: int) -> tuple[Any, Any, Any]:
        """Phases of six slices; the first is contoured."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Phases")
        cases = [thorax(shift_mm=(0, number, 0), seed=1000 * seed + number) for number in range(count + 1)]
        for number, case in enumerate(cases[1:]):
            volume = _part(case)
            node.SetDataNodeAtValue(volume, str(number))
            slicer.mrmlScene.RemoveNode(volume)
        prior = _part(cases[0])
        contours = segmentationNode(cases[0], volumeNode(cases[0], "whole"))
        return prior, contours, node

    figures = []
    for turn in range(turns):
        cpu = []
        for number, count in enumerate((1, 10)):
            prior, contours, node = sequence(2 * turn + number, count)
            worker, own, done = module.run(prior, contours, [node], {"register": "rigid"})
            assert len(done.outcomes) == count
            cpu.append(worker + own)
        figures.append((*cpu, cpu[1] / cpu[0]))
        print(f"one {cpu[0]:.2f} s, ten {cpu[1]:.2f} s", flush=True)
    one, ten, ratio = np.median(figures, axis=0)
    print(f"phases: one {one:.2f} s, ten {ten:.2f} s; {ratio:.1f} times (median of {turns})")


def _part(case: Case) -> Any:
    """Six slices through the heart."""
    import slicer
    from slicer_bench.conftest import lpsToRas

    matrix = lpsToRas(case.volume.geometry)
    matrix[:3, 3] += 6 * matrix[:3, 2]
    return slicer.util.addVolumeFromArray(case.volume.array[6:12].astype(np.int16), ijkToRAS=matrix, name="phase")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "correction", "phases"))
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ADAPTSAM_CACHE"] = cache  # nothing was encoded before
        module = Module()
        {"run": run, "correction": correction, "phases": phases}[args.what](module, args.turns)
        module.engine.close()


if __name__ == "__main__":
    main()
