"""Faults at random moments of a run: the worker killed, the scene closed, the run cancelled. Nothing may be lost.

    python Testing/tools/slicer/faults.py --times 20 --within 8
    python Testing/tools/slicer/faults.py --times 20 --within 8 --module AutoPromptSAM
    python Testing/tools/slicer/faults.py --times 20 --within 8 --module training

After every fault the scene must hold what it held before (or nothing, when it was closed), the drawn contours must be
the same voxels, and a sentence must have been told. At the end, a run must go through as if nothing had been.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]

from slicer_bench import bench
from slicer_bench.conftest import QUICK, segmentationNode, volumeNode
from thorax import thorax


class Bench:
    """A panel of PersonalizedSAM on a prior, its contours, and a target."""

    def __init__(self) -> None:
        self.cache = tempfile.TemporaryDirectory()
        os.environ["ADAPTSAM_CACHE"] = self.cache.name  # nothing was encoded before
        self.application = bench.start()
        from AdaptSAMLib import packages
        from AdaptSAMLib.engine import Engine
        from PySide6 import QtWidgets

        packages.missing = lambda *values: []
        self.engine = Engine.shared()
        self.window = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.window)
        self.panel = self.makePanel(self.window)
        self.panel.setup()
        self.fill()

    def makePanel(self, window: Any) -> Any:
        from PersonalizedSAMLib import parameters

        from PersonalizedSAM import PersonalizedSAMWidget

        parameters.settingsOf = lambda node: QUICK
        return PersonalizedSAMWidget(window)

    def fill(self) -> None:
        prior = volumeNode(thorax(), "Planning")
        self.contours = segmentationNode(thorax(), prior)
        self.prior, self.target = prior, volumeNode(thorax(shift_mm=(6, 4, 0), seed=1), "Week 3")
        self.panel.initializeParameterNode()
        self.choose(self.panel.parameterNode)
        self.drawn = self.mask()

    def choose(self, node: Any) -> None:
        node.segments = ["id-heart"]

    def kept(self) -> int:
        """What a fault must not take away, as a number that never falls."""
        return 0

    def shorten(self) -> None:
        """Before the run that goes through at the end."""

    # What is begun and cancelled by a button, and says how it ended.

    @property
    def button(self) -> Any:
        return self.panel.ui.applyButton

    @property
    def job(self) -> Any:
        return self.panel.run

    @property
    def under_way(self) -> bool:
        return self.job is not None

    @property
    def said(self) -> str:
        return str(self.panel.ui.statusLabel.text)

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
            bench.idle(0.002)
        return time.monotonic() - start

    def during(self, moment: float) -> bool:
        """Click Apply and let that time go by; whether the run is still under way then."""
        self.button.click()
        end = time.monotonic() + moment
        self.until(lambda: time.monotonic() > end or not self.under_way)
        return self.under_way


class AgentBench(Bench):
    """A panel of AutoPromptSAM with an agent of random weights, which keeps every slice."""

    def __init__(self) -> None:
        from blob_agent import make_agent

        from adaptsam.alignsam import save_agent
        from adaptsam.sam import load_sam

        self.folder = tempfile.TemporaryDirectory()
        os.environ["ADAPTSAM_AGENTS"] = self.folder.name
        save_agent(Path(self.folder.name) / "blob.agent.safetensors", make_agent(load_sam(device="cpu")))
        super().__init__()

    def makePanel(self, window: Any) -> Any:
        from AutoPromptSAMLib import parameters

        from AutoPromptSAM import AutoPromptSAMWidget

        parameters.settingsOf = lambda node: {"use.steps": 30, "acceptance": "off", "batch_slices": 4}
        return AutoPromptSAMWidget(window)

    def choose(self, node: Any) -> None:
        self.until(lambda: any(one["name"] == "blob" for one in self.panel.knownAgents))
        node.targets = [self.target]
        node.agents = [one["path"] for one in self.panel.knownAgents if one["name"] == "blob"]


class TrainingBench(AgentBench):
    """The same panel, training an agent from the prior and its contours."""

    def choose(self, node: Any) -> None:
        from AutoPromptSAMLib import parameters

        parameters.reduced = lambda count: {"training.episodes": 1000, "training.epochs": 5}
        self.panel.update()
        node.trainSegment, node.trainName = "heart", "own"
        node.trainVolumes, node.trainSegmentations, node.trainImages = [self.prior], [self.contours], 5

    def kept(self) -> int:
        from adaptsam.alignsam.agent_checkpoint import read_training
        from adaptsam.alignsam.agent_folders import own_agent

        path = own_agent("own")
        path = path.with_name(f"{path.name}.training")
        return len(read_training(path)["history"]) if path.exists() else 0

    def shorten(self) -> None:
        from AutoPromptSAMLib import parameters

        episodes = self.kept() + 1
        parameters.reduced = lambda count: {"training.episodes": episodes, "training.epochs": 5}

    @property
    def button(self) -> Any:
        return self.panel.ui.trainButton

    @property
    def job(self) -> Any:
        return self.panel.training

    @property
    def said(self) -> str:
        return str(self.panel.ui.trainStatusLabel.text)


def cancelled(on: Bench, moment: float) -> float | None:
    before = on.ids()
    if not on.during(moment):
        return None
    on.button.click()
    took = on.until(lambda: not on.under_way)
    assert on.said == "Cancelled.", on.said
    assert on.ids() == before
    assert np.array_equal(on.mask(), on.drawn)
    return took


def killed(on: Bench, moment: float) -> float | None:
    before = on.ids()
    on.during(moment)
    # Before the worker said which process it is, there is nothing to kill; before the request, the next one gets it.
    on.until(lambda: not on.under_way or None not in (on.job._number, on.engine.workerPid))
    if not on.under_way:
        return None
    os.kill(on.engine.workerPid, signal.SIGKILL)
    took = on.until(lambda: not on.under_way)
    assert "ended from outside" in on.said, on.said
    assert on.ids() == before
    assert np.array_equal(on.mask(), on.drawn)
    return took


def closed(on: Bench, moment: float) -> float | None:
    import slicer

    if not on.during(moment):
        return None
    start = time.monotonic()
    slicer.mrmlScene.Clear()
    took = time.monotonic() - start
    assert not on.under_way
    assert isinstance(on, TrainingBench) or on.said == "The scene was closed; the run was stopped.", on.said
    on.until(lambda: not on.engine.busy)
    kinds = ("vtkMRMLSegmentationNode", "vtkMRMLVolumeNode", "vtkMRMLTableNode")
    assert not any(slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds)
    on.fill()
    return took


FAULTS = (cancelled, closed, killed)
KINDS = {"PersonalizedSAM": Bench, "AutoPromptSAM": AgentBench, "training": TrainingBench}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--within", type=float, default=20.0, help="seconds after Apply in which the fault happens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", choices=KINDS, default="PersonalizedSAM")
    parser.add_argument("--fault", choices=[one.__name__ for one in FAULTS], help="one of the faults alone")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    on = KINDS[args.module]()
    for fault in [one for one in FAULTS if args.fault in (None, one.__name__)]:
        took: list[float] = []
        tries = 0
        while len(took) < args.times and tries < 3 * args.times:
            tries += 1
            kept = on.kept()
            seconds = fault(on, float(rng.uniform(0, args.within)))
            assert on.kept() >= kept
            if seconds is not None:
                took.append(seconds)
        print(
            f"{fault.__name__} {len(took)} times: over after {np.median(took):.2f} s, {max(took):.2f} s at most",
            flush=True,
        )
    if on.kept():
        print(f"{on.kept()} episodes were kept")
    on.shorten()
    on.button.click()
    on.until(lambda: not on.under_way, 1200)
    print(f"afterwards: {on.said}")
    on.panel.cleanup()
    on.engine.close()


if __name__ == "__main__":
    main()
