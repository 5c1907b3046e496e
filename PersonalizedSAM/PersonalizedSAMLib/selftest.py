"""Slicer's own tests of the module: Reload and Test, the Self Tests module, and CTest run them."""

from __future__ import annotations

import unittest

import numpy as np
import slicer
import slicer.util
from AdaptSAMLib import geometry, packages, segments
from AdaptSAMLib.geometry import InputProblem


class PersonalizedSAMTests(unittest.TestCase):
    """Tests with a small sphere in a box of two grays; the part that runs a model is skipped where packages are missing."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def _visit(self, name: str, shift: int) -> tuple[slicer.vtkMRMLVolumeNode, np.ndarray]:
        k, j, i = np.indices((16, 48, 48))
        ball = (i - 24 - shift) ** 2 + (j - 24) ** 2 + (2 * (k - 8)) ** 2 <= 100
        array = np.where(ball, 200, -700) + np.random.default_rng(shift).normal(0, 10, ball.shape)
        matrix = np.array([[-3.0, 0, 0, 70], [0, -3.0, 0, 70], [0, 0, 5.0, -40], [0, 0, 0, 1]])
        return slicer.util.addVolumeFromArray(array.astype(np.int16), ijkToRAS=matrix, name=name), ball

    def _contours(self, volume: slicer.vtkMRMLVolumeNode, mask: np.ndarray) -> slicer.vtkMRMLSegmentationNode:
        node = segments.newSegmentation(volume, "Contours")
        prototype = slicer.vtkSegment()
        prototype.SetName("ball")
        prototype.SetColor(0.9, 0.4, 0.1)
        inner, first = segments.cropped(mask)
        segments.setSegment(node, "ball-1", prototype, inner, first, volume)
        return node

    def test_a_mask_comes_back_from_a_segment(self) -> None:
        volume, ball = self._visit("Planning", 0)
        node = self._contours(volume, ball)
        assert np.array_equal(segments.readMask(node, "ball-1", volume), ball)
        assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "ball-1", volume) > 0, ball)
        assert geometry.grid(volume)["spacing"] == [3.0, 3.0, 5.0]

    def test_the_panel_says_why_apply_cannot_work(self) -> None:
        widget = slicer.modules.personalizedsam.widgetRepresentation().self()
        widget.initializeParameterNode()
        assert not widget.ui.applyButton.enabled
        assert widget.ui.applyButton.toolTip

    def test_what_cannot_be_used_is_told(self) -> None:
        volume, ball = self._visit("Planning", 0)
        logic = slicer.util.getModuleLogic("PersonalizedSAM")
        with self.assertRaises(InputProblem):
            logic.propagate(volume, self._contours(volume, ball), [volume])

    def test_a_ball_is_carried_to_the_next_visit(self) -> None:
        if packages.missing():
            self.skipTest("AdaptSAM's Python packages are not installed: " + ", ".join(packages.missing()))
        volume, ball = self._visit("Planning", 0)
        target, moved = self._visit("Week 3", 2)
        contours = self._contours(volume, ball)
        run = slicer.util.getModuleLogic("PersonalizedSAM").propagate(volume, contours, [target])
        assert run.ended[0] == "done"
        node = run.outcomes[0].segmentationNode
        assert node.GetSegmentation().GetSegment("ball-1").GetName() == "ball"
        mask = segments.readMask(node, "ball-1", target)
        assert 2 * (mask & moved).sum() / (mask.sum() + moved.sum()) > 0.7
