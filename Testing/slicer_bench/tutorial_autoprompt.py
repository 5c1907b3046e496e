"""The tutorial of docs/slicer/autoprompt.md on the bench: agent, replay, prior, propagation, with nobody drawing.

    python Testing/slicer_bench/tutorial_autoprompt.py --output docs/slicer

The panel is grabbed from Qt. The steps are drawn from the scene's nodes with matplotlib: the bench has no slice views.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]
mpl.use("Agg")

from slicer_bench import bench
from slicer_bench.tutorial import dice


def steps_picture(replay: Any, path: Path) -> None:
    """The first pair, a few steps, and the end, as the step slider shows them."""
    import matplotlib.pyplot as plt
    from AdaptSAMLib import geometry, segments

    image = geometry.pixels(replay.volumeNode)[replay.index]
    chosen = sorted({round(one) for one in np.linspace(0, replay.steps - 1, 4)})
    figure, all_axes = plt.subplots(1, len(chosen), figsize=(3.2 * len(chosen), 3.5), dpi=100)
    for axes, step in zip(all_axes, chosen, strict=True):
        replay.show(replay.index, step)
        mask = segments.readMask(replay.preview, "step", replay.volumeNode)[replay.index]
        axes.imshow(image, cmap="gray", vmin=-910, vmax=590)
        if mask.any():
            axes.contour(mask, [0.5], colors="#ffe633", linewidths=1.4)
        for number in range(replay.markups.GetNumberOfControlPoints()):
            ras = [0.0, 0.0, 0.0]
            replay.markups.GetNthControlPointPositionWorld(number, ras)
            i, j, _ = geometry.voxelOfWorld(replay.volumeNode, ras)
            positive = replay.markups.GetNthControlPointSelected(number)
            axes.plot(i, j, "o", color="#33dd33" if positive else "#ee3333", markeredgecolor="white", markersize=5)
        axes.set_title(f"slice {replay.index}, step {step}", fontsize=9)
        axes.axis("off")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    application = bench.start()
    import slicer
    from AdaptSAMLib import segments
    from AdaptSAMLib.engine import Engine
    from PersonalizedSAMLib import samples
    from PySide6 import QtWidgets

    from adaptsam.data.phantom import phantom_visits
    from adaptsam.worker import samples as made
    from AutoPromptSAM import AutoPromptSAMWidget
    from PersonalizedSAM import PersonalizedSAMLogic

    args.output.mkdir(parents=True, exist_ok=True)
    first, _contours, second = samples.load("PersonalizedSAMVisits")
    truths = phantom_visits(7, 2, shape=made._SHAPE, spacing=made._SPACING)
    hearts = [visit.structures.structures[visit.structures.names.index("Heart")].mask for visit in truths]
    slicer.util.getModuleLogic = lambda name: PersonalizedSAMLogic()
    slicer.util.selectModule = lambda name: None
    window = QtWidgets.QWidget()
    QtWidgets.QVBoxLayout(window)
    panel = AutoPromptSAMWidget(window)
    panel.setup()
    window.resize(480, 1650)
    window.show()

    def until(condition: Any) -> None:
        while not condition():
            application.processEvents()
            time.sleep(0.002)

    panel.enter()
    until(lambda: panel._agents and panel._models)
    panel._parameterNode.targets = [first]
    panel._parameterNode.agents = [one["path"] for one in panel._agents if one["name"] == "heart"]
    start = time.monotonic()
    panel.ui.applyButton.click()
    until(lambda: panel.run is None)
    print(f"{panel.ui.statusLabel.text} {time.monotonic() - start:.0f} s")
    outcome = panel.finished.outcomes[0]
    found = segments.readMask(outcome.segmentationNode, "Heart", first)
    print(f"visit 1, found by the agent: Dice {dice(found, hearts[0]):.3f}")
    panel.ui.replayButton.click()
    start, count = time.monotonic(), 0
    for step in range(panel.replay.steps):
        panel.ui.stepSlider.value, count = step, count + 1
    print(f"replay: {1000 * (time.monotonic() - start) / count:.0f} ms a step")
    for box in (panel.ui.whereCollapsibleButton, panel.ui.replayCollapsibleButton):
        box.collapsed = False
    settled = time.monotonic() + 0.5
    until(lambda: time.monotonic() > settled)
    window.grab().save(str(args.output / "autoprompt-panel.png"))
    steps_picture(panel.replay, args.output / "autoprompt-steps.png")
    panel.ui.priorButton.click()
    node = PersonalizedSAMLogic().getParameterNode()
    run = PersonalizedSAMLogic().propagate(node.priorVolume, node.priorSegmentation, [second], segments=node.segments)
    carried = segments.readMask(run.outcomes[0].segmentationNode, "Heart", second)
    print(f"visit 2, carried from there: Dice {dice(carried, hearts[1]):.3f}")
    panel.cleanup()
    Engine.shared().close()


if __name__ == "__main__":
    main()
