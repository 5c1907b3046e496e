"""The tutorial of docs/slicer, driven click by click on the bench, with screenshots and the time the window was blocked.

    python Testing/tools/slicer/tutorial.py visits --output docs/slicer            (the sample data, nothing else needed)
    python Testing/tools/slicer/tutorial.py phases --output docs/slicer
    python Testing/tools/slicer/tutorial.py endoscopy --output docs/slicer --frames FOLDER --masks FOLDER
    python Testing/tools/slicer/tutorial.py lung --output docs/slicer --image CT_FOLDER --mask RTSTRUCT

Panels are grabbed from Qt; slices are drawn by Slicer's own slice view, off screen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[2])]
from slicer_bench import bench


def without_empty_end(path: Path, margin: int = 20) -> None:
    """Cut a picture off below the last row in which something is drawn."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
        last = int(np.flatnonzero((np.abs(pixels - pixels[-1, 0]) > 8).any(axis=(1, 2)))[-1])
        image.crop((0, 0, image.width, min(image.height, last + margin))).save(path, optimize=True)


class Heartbeat:
    """How long Qt's event loop did not come round, and what the window's thread did of it.

    On a machine that others use, the wall clock counts their work too; the thread's CPU time is the window's own.
    """

    def __init__(self, engine: Any) -> None:
        from PySide6.QtCore import QTimer

        self.longest, self.longestCpu, self.longestPump, self.pumpCpu = 0.0, 0.0, 0.0, 0.0
        self._last, self._lastCpu = time.perf_counter(), time.thread_time()
        self._timer = QTimer()
        self._timer.setProperty("interval", 5)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        engine._timer.timeout.disconnect(engine.pump)
        engine._timer.timeout.connect(lambda: self._pumped(engine))

    def _beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now
        self.longestCpu, self._lastCpu = max(self.longestCpu, cpu - self._lastCpu), cpu

    def rest(self) -> None:
        """Leave out what was until now: pictures, which no user takes."""
        self._last, self._lastCpu = time.perf_counter(), time.thread_time()

    def anew(self) -> None:
        """Count from here on."""
        self.longest, self.longestCpu, self.longestPump, self.pumpCpu = 0.0, 0.0, 0.0, 0.0
        self.rest()

    def __str__(self) -> str:
        wall, cpu, pump, pumpCpu = (
            round(1000 * one) for one in (self.longest, self.longestCpu, self.longestPump, self.pumpCpu)
        )
        return (
            f"the event loop was blocked for {wall} ms at most ({cpu} ms of the window's own CPU time); "
            f"the worker's events took {pump} ms at a time at most ({pumpCpu} ms of CPU)"
        )

    def _pumped(self, engine: Any) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        engine.pump()
        self.longestPump = max(self.longestPump, time.perf_counter() - wall)
        self.pumpCpu = max(self.pumpCpu, time.thread_time() - cpu)


class Driver:
    """A user: clicks, waits with the event loop alive, and takes pictures."""

    #: Of the window.
    height = 1250

    def __init__(self, output: Path, name: str) -> None:
        self.application = bench.start()
        from AdaptSAMLib.engine import Engine
        from PySide6 import QtWidgets
        from slicer_bench.views import SliceView

        self.output, self.name, self.count = output, name, 0
        output.mkdir(parents=True, exist_ok=True)
        self.window = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.window)
        self.panel = self.makePanel(self.window)
        self.panel.setup()
        self.window.resize(520, self.height)
        self.window.show()
        self.engine = Engine.shared()
        self.panel.enter()
        self.panel.ui.modelCollapsibleButton.collapsed = False
        self.until(lambda: self.panel.models)
        self.heart = Heartbeat(self.engine)
        self.view = SliceView(bench.applicationLogic())

    def makePanel(self, window: Any) -> Any:
        from PersonalizedSAM import PersonalizedSAMWidget

        return PersonalizedSAMWidget(window)

    def until(self, condition: Callable[[], Any], seconds: float = 3000.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self.panel.ui.statusLabel.text)
            self.application.processEvents()
            bench.idle(0.001)

    def picture(self, what: str) -> None:
        for _ in range(5):
            self.application.processEvents()
        path = self.output / f"{self.name}-{what}.png"
        self.window.grab().save(str(path))
        without_empty_end(path)
        self.heart.rest()

    def tickOnly(self, names: list[str]) -> None:
        node = self.panel.parameterNode
        from AdaptSAMLib import segments

        node.segments = [key for key, name in segments.segmentNames(node.priorSegmentation).items() if name in names]

    def run(self) -> Any:
        """Click Apply, picture half-way, wait for the end."""
        assert self.panel.ui.applyButton.enabled, self.panel.ui.applyButton.toolTip
        self.heart.anew()
        start = time.monotonic()
        self.panel.ui.applyButton.click()
        self.until(lambda: self.panel.ui.progressBar.value > 500 or self.panel.run is None)
        self.picture("running")
        self.until(lambda: self.panel.run is None)
        print(f"{self.name}: {self.panel.ui.statusLabel.text}")
        print(f"{self.name}: {time.monotonic() - start:.0f} s; {self.heart}")
        self.picture("done")
        return self.panel.finished

    def slice(self, what: str, outcome: Any, index: int | None = None) -> None:
        """The red slice view on a target's slice, as Slicer draws it; the slice that it is on by default."""
        import slicer
        from AdaptSAMLib import results

        target = outcome.target
        shown = results.bringUp(target)
        if index is not None:
            self.look(shown, index)
        proxy = target.browserNode and target.browserNode.GetProxyNode(self.panel.finished.sequenceOf(target))
        for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
            node = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
            node.GetDisplayNode().SetOpacity2DFill(0.15)
            node.GetDisplayNode().SetVisibility(node is (proxy or outcome.segmentationNode))
        self.view.save(self.output / f"{self.name}-{what}.png")
        self.heart.rest()

    def look(self, volume: Any, index: int) -> None:
        """Bring a slice of a volume into the red view, and fit it."""
        import slicer
        from AdaptSAMLib import geometry

        self.view.show(volume)
        i, j, _ = volume.GetImageData().GetDimensions()
        ras = geometry.worldOfVoxel(volume, [(i - 1) / 2, (j - 1) / 2, index])
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *ras, slicer.vtkMRMLSliceNode.OffsetJumpSlice)

    def close(self) -> None:
        self.panel.cleanup()
        self.engine.close()


def middle(outcome: Any, segmentId: str) -> int:
    """The slice on which a structure is largest."""
    from AdaptSAMLib import segments

    mask = segments.readMask(outcome.segmentationNode, segmentId, outcome.target.volumeNode)
    return int(mask.sum(axis=(1, 2)).argmax())


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum()))


def correct(driver: Driver, run: Any, name: str) -> None:
    """Go to the least trusted slice, place a prompt, run it again, undo."""
    panel = driver.panel
    listed = [one for structure in panel.view.structures for one in structure.slices]
    if not listed:
        print(f"{driver.name}: no slice to look at")
        return
    panel.ui.nextButton.click()
    review = panel.view.current
    outcome = panel.view.structure.outcome
    panel.ui.addButton.click()
    driver.slice("review", outcome)
    driver.heart.anew()
    start = time.monotonic()
    panel.correction.prompts[1].AddControlPointWorld(*review.ras)  # "here it is"
    driver.until(lambda: panel.ui.statusLabel.text in ("Corrected.",) or "positive" in panel.ui.statusLabel.text)
    print(
        f"{driver.name}: {review.place} of {panel.view.structure.name} run again in {time.monotonic() - start:.2f} s: {panel.ui.statusLabel.text} {driver.heart}"
    )
    panel.ui.addButton.click()
    driver.slice("corrected", outcome)
    driver.picture("correction")
    panel.ui.undoButton.click()


def compare(driver: Driver, run: Any, truths: list[Any]) -> None:
    """Print how well each structure agrees with the phantom's own contours."""
    from AdaptSAMLib import segments

    for segmentId, name in run.names.items():
        values = []
        for outcome, truth in zip(run.outcomes, truths, strict=True):
            found = segments.readMask(outcome.segmentationNode, segmentId, outcome.target.volumeNode)
            values.append(dice(found, truth.structures[truth.names.index(name)].mask))
        print(f"{driver.name}: {name}: Dice {np.mean(values):.3f} ({min(values):.3f} at least, of {len(values)})")


def visits(driver: Driver, _args: argparse.Namespace) -> None:
    from PersonalizedSAMLib import samples

    from adaptsam.synthetic.thorax_phantom import phantom_visits
    from adaptsam.worker import sample_data as made

    samples.load("PersonalizedSAMVisits")
    driver.picture("empty")
    driver.panel.initializeParameterNode()
    driver.tickOnly(["GTV-1", "Heart"])
    if not driver.panel.parameterNode.segments:
        driver.tickOnly([driver.panel.ui.segmentList.item(0).text()])
    driver.picture("ready")
    run = driver.run()
    _, later = phantom_visits(7, 2, shape=made._SHAPE, spacing=made._SPACING)
    compare(driver, run, [later.structures])
    for segmentId in run.names:
        driver.slice(f"result-{run.names[segmentId].lower()}", run.outcomes[0], middle(run.outcomes[0], segmentId))
    correct(driver, run, "visits")


def phases(driver: Driver, _args: argparse.Namespace) -> None:
    from PersonalizedSAMLib import samples

    from adaptsam.synthetic.thorax_phantom import Breathing, PhantomSettings, phantom_visits
    from adaptsam.worker import sample_data as made

    _volume, _contours, sequence, _browser = samples.load("PersonalizedSAMPhases")
    driver.panel.initializeParameterNode()
    driver.panel.parameterNode.targets = [sequence]
    driver.tickOnly(
        [
            driver.panel.ui.segmentList.item(n).text()
            for n in range(driver.panel.ui.segmentList.count)
            if "umour" in driver.panel.ui.segmentList.item(n).text()
            or "GTV" in driver.panel.ui.segmentList.item(n).text()
        ]
    )
    driver.panel.ui.registrationComboBox.currentIndex = 1
    driver.picture("ready")
    run = driver.run()
    settings = PhantomSettings(breathing=Breathing(phases=10))
    [truth] = phantom_visits(7, 1, shape=made._PHASE_SHAPE, spacing=made._PHASE_SPACING, settings=settings)
    compare(driver, run, [truth.phases[one.target.item].structures for one in run.outcomes])
    driver.slice("result", run.outcomes[5], middle(run.outcomes[5], next(iter(run.names))))


def endoscopy(driver: Driver, args: argparse.Namespace) -> None:
    import slicer
    from AdaptSAMLib import segments
    from PIL import Image

    frames = [np.asarray(Image.open(one).convert("RGB"))[None] for one in sorted(args.frames.iterdir())]
    masks = [np.asarray(Image.open(one).convert("L")) > 127 for one in sorted(args.masks.iterdir())]
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Colonoscopy")
    for number, frame in enumerate(frames):
        node = slicer.util.addVolumeFromArray(
            np.ascontiguousarray(frame), nodeClassName="vtkMRMLVectorVolumeNode", name=f"frame {number}"
        )
        sequence.SetDataNodeAtValue(node, str(number))
        slicer.mrmlScene.RemoveNode(node)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Colonoscopy browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    volume = browser.GetProxyNode(sequence)
    contours = segments.newSegmentation(volume, "Outlined")
    prototype = slicer.vtkSegment()
    prototype.SetName("Polyp")
    prototype.SetColor(0.95, 0.75, 0.2)
    inner, first = segments.cropped(masks[0][None])
    segments.setSegment(contours, "polyp", prototype, inner, first, volume)
    driver.panel.initializeParameterNode()
    driver.panel.parameterNode.targets = [sequence]
    driver.picture("ready")
    run = driver.run()
    values = [
        dice(segments.readMask(one.segmentationNode, "polyp", one.target.volumeNode)[0], masks[one.target.item])
        for one in run.outcomes
    ]
    print(f"{driver.name}: Dice over {len(values)} frames {np.mean(values):.3f}")
    for number in (0, len(run.outcomes) // 2, len(run.outcomes) - 1):
        driver.slice(f"result-{number}", run.outcomes[number], 0)
    correct(driver, run, "endoscopy")


def addVolume(volume: Any, name: str) -> Any:
    """A volume of `adaptsam` as a node."""
    import slicer
    from AdaptSAMLib import geometry

    matrix = geometry.RAS_TO_LPS @ volume.geometry.index_to_world
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(volume.array), ijkToRAS=matrix, name=name)


def addContours(node: Any, structures: Any, name: str) -> Any:
    """Structures on a volume node as segments s0, s1, …"""
    import slicer
    from AdaptSAMLib import segments

    contours = segments.newSegmentation(node, name)
    for number, one in enumerate(structures.structures):
        prototype = slicer.vtkSegment()
        prototype.SetName(one.name)
        prototype.SetColor(*(value / 255 for value in one.color))
        inner, first = segments.cropped(one.mask)
        segments.setSegment(contours, f"s{number}", prototype, inner, first, node)
    return contours


def lung(driver: Driver, args: argparse.Namespace) -> None:
    from AdaptSAMLib import segments

    from adaptsam.image import select_structures
    from adaptsam.io import read_structures, read_volume
    from adaptsam.synthetic.digital_followup import digital_followup

    prior = read_volume(args.image)
    structures = select_structures(read_structures(args.mask, prior), args.structure)
    later = digital_followup(prior, structures, "GTV-1", "medium", seed=1)
    planning, week = addVolume(prior, "Planning CT"), addVolume(later.volume, "Week 3 CT")
    addContours(planning, structures, "Plan contours")
    driver.panel.initializeParameterNode()
    driver.picture("ready")
    run = driver.run()
    for number, truth in enumerate(later.structures.structures):
        found = segments.readMask(run.outcomes[0].segmentationNode, f"s{number}", week)
        print(f"{driver.name}: {truth.name}: Dice {dice(found, truth.mask):.3f}")
        driver.slice(f"result-{number}", run.outcomes[0], middle(run.outcomes[0], f"s{number}"))
    correct(driver, run, "lung")


CASES = {"visits": visits, "phases": phases, "endoscopy": endoscopy, "lung": lung}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--output", type=Path, required=True)
    for name in ("image", "mask", "frames", "masks"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--structure", action="append", help="of the RTSTRUCT; default: all that are not empty")
    args = parser.parse_args()
    driver = Driver(args.output, args.case)
    try:
        CASES[args.case](driver, args)
    finally:
        driver.close()


if __name__ == "__main__":
    main()
