"""The tutorial of docs/slicer/autoprompt.md on the bench, driven click by click, with nobody drawing.

    python Testing/tools/slicer/tutorial_autoprompt.py phantom --output docs/slicer       (agent, replay, prior, later visit)
    python Testing/tools/slicer/tutorial_autoprompt.py train --output docs/slicer         (an own agent from 10 slices)
    python Testing/tools/slicer/tutorial_autoprompt.py lung --output DIR --image CT_FOLDER --mask RTSTRUCT \\
           --change GTV-1 --truth left_lung=Lung-Left --truth right_lung=Lung-Right
    python Testing/tools/slicer/tutorial_autoprompt.py abdomen --output DIR --image FILE --mask FILE \\
           --change label-5 --truth left_lung=label-10,label-11

Agents of one's own lie where ADAPTSAM_AGENTS says: "phantom" uses one called "heart", "lung" and "abdomen" use all of them, also "lung", which "train" leaves
there. --truth names the structures that together are what an agent looks for: what it finds is measured, and carried to a
digital follow-up; --change is what changes there. The panel
is grabbed from Qt, slices are drawn by Slicer's own slice view; steps side by side and curves with matplotlib, from the
scene's nodes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]
mpl.use("Agg")

from tools.slicer.tutorial import Driver, addVolume, dice, middle

#: What an agent that has learnt nothing is given: a limit of evidence means nothing to it.
EVERY_SLICE = {"acceptance": "off", "cleanup": False}


class AgentDriver(Driver):
    """A user of AutoPromptSAM."""

    height = 1800

    def makePanel(self, window: Any) -> Any:
        import slicer

        from AutoPromptSAM import AutoPromptSAMWidget
        from PersonalizedSAM import PersonalizedSAMLogic

        slicer.util.getModuleLogic = lambda name: PersonalizedSAMLogic()
        slicer.util.selectModule = lambda name: None
        return AutoPromptSAMWidget(window)

    def choose(self, target: Any, *agents: str) -> None:
        """Tick an image and agents by their names."""
        self.panel.initializeParameterNode()
        self.until(lambda: {one["name"] for one in self.panel.knownAgents} >= set(agents))
        node = self.panel.parameterNode
        node.targets = [target]
        node.agents = [one["path"] for one in self.panel.knownAgents if one["name"] in agents]

    def unfold(self, *names: str) -> None:
        for name in ("inputs", "where", "model", "results", "replay", "train"):
            getattr(self.panel.ui, f"{name}CollapsibleButton").collapsed = name not in names
        settled = time.monotonic() + 0.5
        self.until(lambda: time.monotonic() > settled)

    def mask(self, outcome: Any, name: str) -> np.ndarray:
        from AdaptSAMLib import segments

        return segments.readMask(outcome.segmentationNode, name, outcome.target.volumeNode)

    def tell(self, outcome: Any, truths: dict[str, np.ndarray]) -> None:
        """What came out, beside the truth where there is one."""
        for name, report in outcome.reports.items():
            accepted = sum(one["accepted"] for one in report["slices"])
            text = f"{report['volume_cm3']:.1f} cm³, {accepted} of {len(report['slices'])} slices accepted"
            if name in truths:
                text += f", Dice {dice(self.mask(outcome, name), truths[name]):.3f}"
            print(f"{self.name}: {outcome.target.title}: {name}: {text}", flush=True)

    def carry(self, outcome: Any, target: Any, truths: dict[str, np.ndarray]) -> None:
        """Use as prior, and propagate what was found to a later image."""
        from PersonalizedSAM import PersonalizedSAMLogic

        self.panel.ui.priorButton.click()
        node = PersonalizedSAMLogic().getParameterNode()
        run = PersonalizedSAMLogic().propagate(
            node.priorVolume, node.priorSegmentation, [target], segments=node.segments
        )
        self.tell(run.outcomes[0], truths)
        for name in run.outcomes[0].reports:
            if run.outcomes[0].reports[name]["volume_cm3"] > 0:
                self.slice(f"later-{name.lower()}", run.outcomes[0], middle(run.outcomes[0], name))


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


def curves_picture(charts: dict[str, Any], path: Path) -> None:
    """The charts of a training, from their nodes."""
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(1, len(charts), figsize=(4 * len(charts), 3.2), dpi=100, layout="constrained")
    for axes, chart in zip(all_axes, charts.values(), strict=True):
        for number in range(chart.GetNumberOfPlotSeriesNodes()):
            series = chart.GetNthPlotSeriesNode(number)
            table = series.GetTableNode().GetTable()
            x, y = (
                [table.GetValueByName(row, name).ToDouble() for row in range(table.GetNumberOfRows())]
                for name in (series.GetXColumnName(), series.GetYColumnName())
            )
            axes.plot(x, y, color=series.GetColor(), marker="o", markersize=3, label=series.GetYColumnName())
        axes.set_xlabel(chart.GetXAxisTitle())
        axes.set_ylabel(chart.GetYAxisTitle())
        axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(path)
    plt.close(figure)


def phantom(driver: AgentDriver, _args: argparse.Namespace) -> None:
    from PersonalizedSAMLib import samples

    from adaptsam.worker.sample_data import visits_with_truth

    first, _contours, second = samples.load("PersonalizedSAMVisits")
    hearts = [visit.structures.structures[visit.structures.names.index("Heart")].mask for visit in visits_with_truth()]
    driver.choose(first, "heart")
    run = driver.run()
    driver.tell(run.outcomes[0], {"Heart": hearts[0]})
    panel = driver.panel
    panel.ui.replayButton.click()
    start, count = time.monotonic(), 0
    for step in range(panel.replay.steps):
        panel.ui.stepSlider.value, count = step, count + 1
    print(f"replay: {1000 * (time.monotonic() - start) / count:.0f} ms a step")
    driver.unfold("inputs", "where", "model", "results", "replay")
    driver.picture("panel")
    steps_picture(panel.replay, driver.output / "autoprompt-steps.png")
    driver.carry(run.outcomes[0], second, {"Heart": hearts[1]})


FORGET = """
import subprocess
import sys
from adaptsam.alignsam.agent_folders import own_agent
path = own_agent(sys.argv[1])
path.unlink(missing_ok=True)
print(path)
"""

UNTRAINED = """
import subprocess
import sys
from dataclasses import replace
from adaptsam.alignsam import Agent, load_agent, save_agent
trained = load_agent(sys.argv[1])
blank = Agent(trained.agent.settings, trained.agent.channels, seed=0).eval()
save_agent(sys.argv[2], replace(trained, agent=blank))
"""


def elsewhere(program: str, *arguments: str) -> str:
    """What a program prints in a process of its own: PyTorch ends one in which slice views have drawn."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def train(driver: AgentDriver, args: argparse.Namespace) -> None:
    from PersonalizedSAMLib import samples

    from adaptsam.worker.sample_data import visits_with_truth

    first, _contours, second = samples.load("PersonalizedSAMVisits")
    truths = [one.structures.structures[one.structures.names.index(args.learn)].mask for one in visits_with_truth()]
    panel, ui = driver.panel, driver.panel.ui
    own = elsewhere(FORGET, "lung")
    panel.initializeParameterNode()
    driver.unfold("inputs", "train")
    ui.tabWidget.currentIndex = 1
    driver.window.resize(540, 1250)
    names = [ui.trainSegmentComboBox.itemText(n) for n in range(ui.trainSegmentComboBox.count)]
    ui.trainSegmentComboBox.currentIndex = names.index(args.learn)
    ui.trainNameLineEdit.text = "lung"
    ui.trainImagesSpinBox.value = args.slices
    ui.trainAnewCheckBox.checked = ui.trainAnewCheckBox.enabled
    driver.heart.anew()
    start = time.monotonic()
    ui.trainButton.click()
    assert panel.training is not None, ui.trainStatusLabel.text
    job = panel.training
    driver.until(lambda: panel.training is None or job.curves.table is not None)
    driver.until(lambda: panel.training is None or job.curves.table.GetTable().GetNumberOfRows() > 9)
    driver.picture("running")
    driver.until(lambda: panel.training is None)
    print(f"{driver.name}: {ui.trainStatusLabel.text} {time.monotonic() - start:.0f} s")
    print(f"{driver.name}: {driver.heart}")
    curves_picture(job.curves.charts, driver.output / "autoprompt-train-curves.png")
    driver.until(lambda: "lung" in {one["name"] for one in panel.knownAgents})
    driver.picture("done")

    path = driver.output / "blank.agent.safetensors"
    elsewhere(UNTRAINED, own, str(path))
    for what, agent in (("before", str(path)), ("after", "lung")):
        run = panel.logic.segment([first, second], [agent], settings={} if what == "after" else EVERY_SLICE)
        for outcome, truth in zip(run.outcomes, truths, strict=True):
            mask = driver.mask(outcome, "lung")
            mean = np.mean([dice(mask[k], truth[k]) for k in np.flatnonzero(truth.any(axis=(1, 2)))])
            print(
                f"{driver.name}: {what}: {outcome.target.title}: Dice {dice(mask, truth):.3f}, mean of slices with the "
                f"target {mean:.3f}",
                flush=True,
            )
    driver.slice("result", run.outcomes[1], middle(run.outcomes[1], "lung"))
    path.unlink()


def thinned(volume: Any, structures: Any, every: int) -> tuple[Any, Any]:
    """Every so many slices along k."""
    grid = volume.geometry
    shape = (len(range(0, grid.shape[0], every)), *grid.shape[1:])
    coarse = replace(grid, shape=shape, spacing=(*grid.spacing[:2], every * grid.spacing[2]))
    kept = tuple(
        replace(one, mask=np.ascontiguousarray(one.mask[::every]), contoured=None) for one in structures.structures
    )
    return (
        replace(volume, array=np.ascontiguousarray(volume.array[::every]), geometry=coarse, dicom=None),
        replace(structures, structures=kept, geometry=coarse, dicom=None),
    )


def real(driver: AgentDriver, args: argparse.Namespace) -> None:
    """Every agent on a real CT, and then what it found as the prior of a digital follow-up."""
    from adaptsam.image import select_structures
    from adaptsam.io import read_structures, read_volume
    from adaptsam.synthetic.digital_followup import digital_followup

    truths = {agent: names.split(",") for agent, _, names in (one.partition("=") for one in args.truth)}
    wanted = dict.fromkeys([args.change, *(name for names in truths.values() for name in names)])
    prior = read_volume(args.image)
    structures = select_structures(read_structures(args.mask, prior), list(wanted))
    prior, structures = thinned(prior, structures, args.every)
    later = digital_followup(prior, structures, args.change, "medium", seed=1)

    def truth(found: Any, agent: str) -> np.ndarray:
        return np.any([one.mask for one in found.structures if one.name in truths[agent]], axis=0)

    planning, week = addVolume(prior, "Planning CT"), addVolume(later.volume, "Week 3 CT")
    agents = [one["name"] for one in driver.panel.logic.agents() if not one["problem"]]
    for agent in agents:
        driver.choose(planning, agent)
        outcome = driver.run().outcomes[0]
        [name] = outcome.reports
        driver.tell(outcome, {name: truth(structures, agent)} if agent in truths else {})
        if outcome.reports[name]["volume_cm3"] == 0:
            continue
        driver.slice(agent, outcome, middle(outcome, name))
        if agent in truths:
            driver.carry(outcome, week, {name: truth(later.structures, agent)})


CASES = {"phantom": phantom, "train": train, "lung": real, "abdomen": real}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--change", help="what changes in the follow-up")
    parser.add_argument("--truth", action="append", default=[], metavar="AGENT=NAMES", help="what an agent looks for")
    parser.add_argument("--every", type=int, default=1, help="take each so many slices of the image, to save time")
    parser.add_argument("--learn", default="Lung-Left", help="the structure that is learnt")
    parser.add_argument("--slices", type=int, default=10, help="to learn from")
    args = parser.parse_args()
    driver = AgentDriver(args.output, "autoprompt" if args.case == "phantom" else f"autoprompt-{args.case}")
    try:
        CASES[args.case](driver, args)
    finally:
        driver.close()


if __name__ == "__main__":
    main()
