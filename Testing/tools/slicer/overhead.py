"""What AutoPromptSAM costs beside `adaptsam` called directly on the same volumes, in CPU time (Linux); costs.py has the other.

    python Testing/tools/slicer/overhead.py --agents 5

CPU time of the run alone, after imports and the first look at the model; of the module, the worker's and the window's.
Agents of random weights, so many times, in turns, on images that nobody has seen; medians; and what two targets cost
beside one, whose decoding is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]

from slicer_bench import bench
from slicer_bench.conftest import volumeNode
from thorax import thorax

from adaptsam.image.volume import Geometry

#: Eight slices of the thorax.
GRID = Geometry((8, 80, 96), (4.0, 4.0, 5.0), (-190.0, -158.0, -27.5))

#: Agents on a volume of its own each time, once to fill the store and once with everything encoded.
DIRECT_AGENTS = """
import json, sys, time
sys.path[:0] = sys.argv[1:3]
from dataclasses import replace
import numpy as np
from thorax import thorax
from adaptsam.alignsam import load_agent
from adaptsam.autoprompting.volume_autoprompting import autoprompt
from adaptsam.sam import EmbeddingStore, load_sam
from tools.slicer.overhead import GRID
model = load_sam(device="cpu")
agents = [load_agent(path, model) for path in sys.argv[4:]]
def spent(count, volume, store):
    start = time.process_time()
    autoprompt(agents[:count], volume, store=store)
    return time.process_time() - start
for line in sys.stdin:
    told = {}
    for count in (1, 2):
        one = thorax(seed=int(line), geometry=GRID).volume
        volume = replace(one, array=one.array.astype(np.int16))
        store = EmbeddingStore(model, memory_bytes=2**30)
        told[count] = spent(count, volume, store)
        if count == 1:
            told["decoding"] = spent(1, volume, store)
    print(json.dumps(told), flush=True)
"""


def agents(repeats: int) -> None:
    """AutoPromptSAM and `adaptsam` in turns."""
    from blob_agent import make_agent

    from adaptsam.alignsam import Agent, AlignSamSettings, save_agent
    from adaptsam.sam import load_sam

    with tempfile.TemporaryDirectory() as folder:
        model = load_sam(device="cpu")
        paths = [str(Path(folder) / f"{n}.agent.safetensors") for n in range(2)]
        for number, path in enumerate(paths):
            small = make_agent(model, f"blob{number}", seed=number)
            save_agent(path, replace(small, agent=Agent(AlignSamSettings(), model.embed_dim, seed=number).eval()))
        os.environ["ADAPTSAM_AGENTS"] = folder
        command = [sys.executable, "-c", DIRECT_AGENTS, *sys.path[:2], "-", *paths]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdin is not None
        assert worker.stdout is not None
        bench.start()
        from AdaptSAMLib.engine import Engine

        from AutoPromptSAM import AutoPromptSAMLogic

        engine, logic = Engine.shared(), AutoPromptSAMLogic()
        logic.segment(
            volumeNode(thorax(seed=999, geometry=GRID), "first"), paths[:1]
        )  # imports, and the first look at the model
        told: list[dict[str, float]] = []
        for seed in range(repeats):
            worker.stdin.write(f"{seed}\n")
            worker.stdin.flush()
            direct_told = json.loads(worker.stdout.readline())
            told.append(
                direct_told
                | in_module(engine, logic, volumeNode(thorax(seed=seed, geometry=GRID), f"v{seed}"), paths[:1])
            )
            print({key: round(value, 2) for key, value in told[-1].items()}, flush=True)
        worker.stdin.close()
        worker.wait()
        engine.close()
    middle = {key: median(one[key] for one in told) for key in told[0]}
    print(f"medians, CPU in s: { {key: round(value, 2) for key, value in middle.items()} }")
    over = median((one["worker"] + one["window"]) / one["1"] for one in told)
    print(f"the module beside adaptsam: {over:.3f}")
    share = median((one["2"] - one["decoding"]) / one["1"] for one in told)
    print(f"two targets without the decoding of one: {share:.3f} of one target")


def in_module(engine: Any, logic: Any, node: Any, paths: list[str]) -> dict[str, float]:
    process = psutil.Process(engine.workerPid)  # not its launcher
    before, own = sum(process.cpu_times()[:2]), 0.0
    run = logic.segment(node, paths, wait=False)
    while run.ended is None:
        start = time.thread_time()
        engine.pump()
        own += time.thread_time() - start
        bench.idle(0.01)
    assert run.ended[0] == "done", run.ended
    return {"worker": sum(process.cpu_times()[:2]) - before, "window": own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, metavar="N", default=5, help="so many times")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ADAPTSAM_CACHE"] = cache  # nothing was encoded before
        agents(args.agents)


if __name__ == "__main__":
    main()
