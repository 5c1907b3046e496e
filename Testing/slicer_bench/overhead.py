"""What the module costs beside `adaptsam` called directly on the same volumes: CPU time and peak memory (Linux).

    python Testing/slicer_bench/overhead.py

CPU time of the run alone, after imports and the first look at the model; of the module, the worker's and the window's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from slicer_bench import bench
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import thorax

DIRECT = """
import json, resource, sys, time
sys.path[:0] = sys.argv[1:3]
from dataclasses import replace
import numpy as np
from thorax import thorax
from adaptsam.propagate import PropagationSettings, propagate
from adaptsam.sam import load_sam
from slicer_bench.conftest import QUICK
model = load_sam()
prior, target = thorax(), thorax(shift_mm=(6, 4, 0), seed=1)
volumes = [replace(one.volume, array=one.volume.array.astype(np.int16)) for one in (prior, target)]
start = time.process_time()
propagate(volumes[0], prior.structures, [volumes[1]], names=["heart"], model=model, settings=PropagationSettings(**QUICK))
print(json.dumps({"cpu": time.process_time() - start, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def direct() -> dict[str, float]:
    command = [sys.executable, "-c", DIRECT, *sys.path[:2]]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


def module() -> dict[str, float]:
    bench.start()
    from AdaptSAMLib.engine import Engine

    from PersonalizedSAM import PersonalizedSAMLogic

    engine, logic = Engine.shared(), PersonalizedSAMLogic()
    prior = volumeNode(thorax(), "Planning")
    contours = segmentationNode(thorax(), prior)
    target = volumeNode(thorax(shift_mm=(6, 4, 0), seed=1), "Week 3")
    engine.waitFor(engine.request("hello", lambda event: None))
    worker = psutil.Process(engine.pid)
    before, own, memory = sum(worker.cpu_times()[:2]), 0.0, psutil.Process().memory_info().rss
    run = logic.propagate(prior, contours, [target], segments=["heart"], settings=QUICK, wait=False)
    while run.ended is None:
        start = time.thread_time()
        engine.pump()
        own += time.thread_time() - start
        time.sleep(0.01)
    cpu = sum(worker.cpu_times()[:2]) - before
    status = Path(f"/proc/{engine.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    window = (psutil.Process().memory_info().rss - memory) / 2**20
    engine.close()
    return {"cpu": cpu, "window cpu": own, "peak": peak, "window memory": window}


def main() -> None:
    for name, figures in (("direct", direct()), ("module", module())):
        print(name, {key: round(value, 2) for key, value in figures.items()}, "(CPU in s, memory in MiB)", flush=True)


if __name__ == "__main__":
    main()
