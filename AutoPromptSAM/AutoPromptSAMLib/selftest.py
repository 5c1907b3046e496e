"""Slicer's own tests of the module: Reload and Test, the Self Tests module, and CTest run them."""

from __future__ import annotations

import unittest

import numpy as np
import slicer
import slicer.util
from AdaptSAMLib import packages
from AdaptSAMLib.geometry import InputProblem


class AutoPromptSAMTests(unittest.TestCase):
    """With a ball in a box; what runs a model is skipped where packages are missing."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def _volume(self):
        k, j, i = np.indices((8, 48, 48))
        ball = (i - 24) ** 2 + (j - 24) ** 2 + (3 * (k - 4)) ** 2 <= 100
        matrix = np.array([[-3.0, 0, 0, 70], [0, -3.0, 0, 70], [0, 0, 5.0, -40], [0, 0, 0, 1]])
        return slicer.util.addVolumeFromArray(np.where(ball, 100, -700).astype(np.int16), ijkToRAS=matrix, name="CT")

    def test_the_panel_says_why_apply_cannot_work(self) -> None:
        widget = slicer.modules.autopromptsam.widgetRepresentation().self()
        widget.initializeParameterNode()
        assert not widget.ui.applyButton.enabled
        assert widget.ui.applyButton.toolTip

    def test_what_cannot_be_used_is_told(self) -> None:
        with self.assertRaises(InputProblem):
            slicer.util.getModuleLogic("AutoPromptSAM").segment([], [])

    def test_what_cannot_be_trained_with_is_told(self) -> None:
        logic = slicer.util.getModuleLogic("AutoPromptSAM")
        with self.assertRaises(InputProblem):
            logic.train("")
        with self.assertRaises(InputProblem):
            logic.train("heart", self._volume(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"), "heart")

    def test_the_bundled_agents_look_at_every_slice(self) -> None:
        if packages.missing():
            self.skipTest("AdaptSAM's Python packages are not installed: " + ", ".join(packages.missing()))
        volume = self._volume()
        run = slicer.util.getModuleLogic("AutoPromptSAM").segment(volume, ["heart"], settings={"use.steps": 2})
        assert run.ended[0] == "done"
        replay = slicer.util.getModuleLogic("AutoPromptSAM").replay(run, run.outcomes[0], "Heart")
        replay.show(replay.best())
        assert replay.steps == 3
        assert replay.markups.GetNumberOfControlPoints() == 4
