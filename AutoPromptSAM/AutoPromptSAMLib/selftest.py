"""Slicer's own tests of the module: Reload and Test, the Self Tests module, and CTest run them."""

from __future__ import annotations

import os
import unittest

import numpy as np
import slicer
import slicer.util
from AdaptSAMLib import packages, segments
from AdaptSAMLib.geometry import InputProblem

from AutoPromptSAMLib.trainingPanel import MORE

#: A training of seconds, which teaches next to nothing.
BRIEF = {"environment.patch": 160, "environment.steps": 2, "training.episodes": 1, "training.epochs": 1}


class AutoPromptSAMTests(unittest.TestCase):
    """Tests with a ball in a box; the part that runs a model is skipped where packages are missing."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def _volume(self) -> slicer.vtkMRMLVolumeNode:
        ball = self._ball()
        matrix = np.array([[-3.0, 0, 0, 70], [0, -3.0, 0, 70], [0, 0, 5.0, -40], [0, 0, 0, 1]])
        return slicer.util.addVolumeFromArray(np.where(ball, 100, -700).astype(np.int16), ijkToRAS=matrix, name="CT")

    @staticmethod
    def _ball() -> np.ndarray:
        k, j, i = np.indices((8, 48, 48))
        return (i - 24) ** 2 + (j - 24) ** 2 + (3 * (k - 4)) ** 2 <= 100

    def _contours(self, volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLSegmentationNode:
        node, ball = segments.newSegmentation(volume, "Contours"), slicer.vtkSegment()
        ball.SetName("ball")
        inner, first = segments.cropped(self._ball())
        segments.setSegment(node, "ball-1", ball, inner, first, volume)
        return node

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

    def test_an_agent_is_trained_and_what_it_does_can_be_watched(self) -> None:
        lacking = packages.missing() + packages.missing(MORE)
        if lacking:
            self.skipTest("AdaptSAM's Python packages are not installed: " + ", ".join(lacking))
        volume, logic = self._volume(), slicer.util.getModuleLogic("AutoPromptSAM")
        how = {"count": 2, "settings": BRIEF, "anew": True, "overwrite": True}
        agent = logic.train("AdaptSAM self test", volume, self._contours(volume), "ball", **how).agent
        try:
            run = logic.segment(volume, [agent], settings={"use.steps": 2})
            assert run.ended[0] == "done"
            replay = logic.replay(run, run.outcomes[0], agent["target"]["name"])
            replay.show(replay.best())
            assert replay.steps == 3
            assert replay.markups.GetNumberOfControlPoints() == 4
        finally:
            os.remove(agent["path"])
