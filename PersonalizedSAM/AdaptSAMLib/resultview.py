"""The results of a run in a panel: the tree, the keys that go through it, the views that it moves, 3D, plot and export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import display, export, images, review
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.keys import Keys
from AdaptSAMLib.resulttree import ResultTree
from AdaptSAMLib.review import Review, Structure
from AdaptSAMLib.run import BaseRun


class ResultView:
    """Shows a run's results, and goes to what is chosen among them.

    Args:
        ui: the panel's widgets.
        hasPrior: whether results are compared with contours.
        onChosen: called when a structure or slice was chosen, and the views are there.
        tell: called with a sentence for the panel's status.
    """

    def __init__(self, ui: Any, hasPrior: bool, onChosen: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._ui, self._hasPrior, self._onChosen, self._tell = ui, hasPrior, onChosen, tell
        self._run, self._comparison, self._surfaces = None, None, None
        self._tree = ResultTree(ui.resultTree, hasPrior, self._chosen)
        self._keys = Keys(ui.resultTree, {"N": ui.nextButton, "P": ui.previousButton})
        ui.nextButton.clicked.connect(lambda checked=False: self.step(True))
        ui.previousButton.clicked.connect(lambda checked=False: self.step(False))
        ui.compareButton.toggled.connect(lambda on: self._compare())
        ui.surfaceButton.toggled.connect(lambda on: self._showSurfaces())
        ui.plotButton.clicked.connect(lambda checked=False: self.onPlot())
        ui.exportButton.clicked.connect(lambda checked=False: self.onExport())
        self._enable()

    # -- life

    def open(self) -> None:
        self._keys.on()

    def close(self) -> None:
        self._keys.off()

    def forget(self) -> None:
        """The scene is gone, and what views showed before with it."""
        self._run, self._comparison, self._surfaces = None, None, None
        for button in (self._ui.compareButton, self._ui.surfaceButton):
            blocked = button.blockSignals(True)
            button.checked = False
            button.blockSignals(blocked)

    def show(self, run: BaseRun | None) -> None:
        """The results of a run, which may still go on; or none."""
        if run is not self._run and run is not None:
            self._ui.resultsCollapsibleButton.collapsed = False
        self._run = run
        self._tree.show(run)
        self._enable()
        self._follow()

    def _enable(self) -> None:
        ui, there = self._ui, bool(self._tree.structures)
        over = there and self._run.ended is not None
        for button in (ui.nextButton, ui.previousButton, ui.surfaceButton, ui.compareButton):
            button.enabled = there
        ui.compareButton.visible = self._hasPrior
        ui.exportButton.enabled = over
        ui.plotButton.enabled = over and len(self._run.outcomes) > 1

    # -- what is chosen

    @property
    def structures(self) -> list:
        """AdaptSAMLib.review.Structure of all targets, in order."""
        return self._tree.structures

    @property
    def structure(self) -> Structure | None:
        """The one that is chosen, the first one where none is; None without results."""
        return self._tree.structure

    @property
    def current(self) -> Review | None:
        """The slice that is chosen, an AdaptSAMLib.review.Review; None where none is."""
        return self._tree.current

    def step(self, forward: bool) -> None:
        """Go to the next slice that was not seen, or one back."""
        if not self._tree.step(forward) and forward:
            self._tell(_("All slices of the list were seen."))

    def _chosen(self, chosen: Review) -> None:
        try:
            review.jump(chosen)
        except InputProblem as error:
            self._tell(str(error))
            return
        self._follow()
        self._onChosen()

    # -- views

    def _node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation of the chosen result as it is in the scene, or None."""
        one = self.structure
        return self._run.shownNode(one.outcome) if one is not None else None

    def _follow(self) -> None:
        """Comparison and surfaces are those of what is chosen."""
        if self._comparison is not None and self._comparison[0] is not self._node():
            self._compare()
        if self._surfaces is not None and self._surfaces is not self._node():
            self._showSurfaces()

    def _compare(self) -> None:
        if self._comparison is not None:
            self._comparison[1].end()
            self._comparison = None
        node = self._node()
        inputs = images.listed([self._run.prior, self._run.segmentation]) if self._run is not None else []
        if self._ui.compareButton.checked and node is not None and len(inputs) == 2:
            image = self._run.shownImage(self.structure.outcome)
            if image is inputs[0]:
                self._tell(_("A sequence shows one of its items at a time; go there with its browser to compare."))
                return
            self._comparison = node, display.Comparison(*inputs, image, node)

    def _showSurfaces(self) -> None:
        node, before = self._node(), self._surfaces
        if before is not None and before is not node and before.GetScene() is slicer.mrmlScene:
            display.showSurfaces(before, False)
        on = bool(self._ui.surfaceButton.checked)
        self._surfaces = node if on else None
        if node is not None:
            display.showSurfaces(node, on)

    # -- what leaves the panel

    def onPlot(self) -> None:
        charts = images.listed([one for one in self._run.made if one.IsA("vtkMRMLPlotChartNode")])
        if charts:
            slicer.modules.plots.logic().ShowChartInLayout(charts[0])

    def onExport(self) -> None:
        """The chosen result as a file; one question, where to."""
        outcome = self.structure.outcome
        try:
            export.files(outcome.target.volumeNode)
            path = qt.QFileDialog.getSaveFileName(
                None, _("Export RTSTRUCT"), export.suggested(outcome), _("DICOM files (*.dcm)")
            )
            path = path[0] if isinstance(path, tuple) else path
            if path:
                export.write(Engine.shared(), outcome, self._run.names, path, lambda *end: self._exported(path, *end))
        except InputProblem as error:
            self._tell(str(error))

    def _exported(self, path: str, kind: str, message: str) -> None:
        self._tell(message if kind == "error" else _("Written, unapproved: {path}").format(path=path))
