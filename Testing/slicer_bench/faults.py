"""Faults at random moments of a run: the worker killed, the scene closed, the run cancelled. Nothing may be lost.

    python Testing/slicer_bench/faults.py --times 20

After every fault the scene must hold what it held before (or nothing, when it was closed), the drawn contours must be
the same voxels, and a sentence must have been told. At the end, a run must go through as if nothing had been.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from slicer_bench import bench
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import thorax


class Bench:
    """A panel on a prior, its contours, and a target."""

    def __init__(self) -> None:
        self.application = bench.start()
        from AdaptSAMLib import packages
        from AdaptSAMLib.engine import Engine
        from PersonalizedSAMLib import parameters
        from PySide6 import QtWidgets

        from PersonalizedSAM import PersonalizedSAMWidget

        packages.missing = list
        parameters.settingsOf = lambda node: QUICK
        self.engine = Engine.shared()
        self.window = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.window)
        self.panel = PersonalizedSAMWidget(self.window)
        self.panel.setup()
        self.fill()

    def fill(self) -> None:
        prior = volumeNode(thorax(), "Planning")
        self.contours = segmentationNode(thorax(), prior)
        self.prior, self.target = prior, volumeNode(thorax(shift_mm=(6, 4, 0), seed=1), "Week 3")
        self.panel.initializeParameterNode()
        self.panel._parameterNode.segments = ["id-heart"]
        self.drawn = self.mask()

    def mask(self) -> np.ndarray:
        from AdaptSAMLib import segments

        return segments.readMask(self.contours, "id-heart", self.prior)

    def ids(self) -> set[str]:
        import slicer

        nodes = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
        return {node.GetID() for node in nodes if not node.GetSingletonTag()}

    def until(self, condition: Callable[[], Any], seconds: float = 300.0) -> float:
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, "It did not happen in time."
            self.application.processEvents()
            time.sleep(0.002)
        return time.monotonic() - start

    def during(self, moment: float) -> bool:
        """Click Apply and let that time go by; whether the run is still under way then."""
        self.panel.ui.applyButton.click()
        end = time.monotonic() + moment
        self.until(lambda: time.monotonic() > end or self.panel.run is None)
        return self.panel.run is not None


def cancelled(on: Bench, moment: float) -> float | None:
    before = on.ids()
    if not on.during(moment):
        return None
    on.panel.ui.applyButton.click()
    took = on.until(lambda: on.panel.run is None)
    assert on.panel.ui.statusLabel.text == "Cancelled.", on.panel.ui.statusLabel.text
    assert on.ids() == before
    assert np.array_equal(on.mask(), on.drawn)
    return took


def killed(on: Bench, moment: float) -> float | None:
    before = on.ids()
    if not on.during(moment) or on.engine.pid is None:
        return None
    os.kill(on.engine.pid, signal.SIGKILL)
    took = on.until(lambda: on.panel.run is None)
    assert "ended from outside" in on.panel.ui.statusLabel.text, on.panel.ui.statusLabel.text
    assert on.ids() == before
    assert np.array_equal(on.mask(), on.drawn)
    return took


def closed(on: Bench, moment: float) -> float | None:
    import slicer

    if not on.during(moment):
        return None
    start = time.monotonic()
    on.panel.onSceneStartClose()
    bench.clear()
    on.panel.onSceneEndClose()
    took = time.monotonic() - start
    assert on.panel.run is None
    on.until(lambda: not on.engine.busy)
    kinds = ("vtkMRMLSegmentationNode", "vtkMRMLVolumeNode", "vtkMRMLTableNode")
    assert not any(slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds)
    on.fill()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--within", type=float, default=20.0, help="seconds after Apply in which the fault happens")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    on = Bench()
    for fault in (cancelled, closed, killed):
        took: list[float] = []
        tries = 0
        while len(took) < args.times and tries < 3 * args.times:
            tries += 1
            seconds = fault(on, float(rng.uniform(0, args.within)))
            if seconds is not None:
                took.append(seconds)
        print(
            f"{fault.__name__} {len(took)} times: over after {np.median(took):.2f} s, {max(took):.2f} s at most",
            flush=True,
        )
    on.panel.ui.applyButton.click()
    on.until(lambda: on.panel.run is None)
    print(f"afterwards: {on.panel.ui.statusLabel.text}")
    on.panel.cleanup()
    on.engine.close()


if __name__ == "__main__":
    main()
