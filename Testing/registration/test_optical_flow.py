"""Flow between frames whose motion is known, and masks carried by it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adaptsam.propagation.carried_masks import FrameVotes, Remembered
from adaptsam.registration.optical_flow import FlowFrame, picture_flows


def textured(seed: int = 1) -> np.ndarray:
    """A picture with structure of several sizes, uint8 (120, 160, 3)."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.normal(size=(n, n + n // 3, 3)), (160, 120), interpolation=cv2.INTER_CUBIC)
        for n in (9, 24, 60)
    ]
    return np.clip(128 + 45 * sum(layers), 0, 255).astype(np.uint8)


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, matrix, (160, 120), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


FAR = np.array([[0.94, -0.34, 22.0], [0.34, 0.94, -18.0]])  # 20 degrees and tens of pixels


def test_a_far_turned_and_dimmer_frame_is_brought_near_by_its_keypoints() -> None:
    first = textured()
    second = np.rint(0.6 * moved(first, FAR).astype(float) + 10).astype(np.uint8)
    best = max(picture_flows(FlowFrame(first), FlowFrame(second)), key=lambda flow: flow.belief.mean())
    j, i = np.mgrid[40:80, 60:100]
    back = np.linalg.inv(np.vstack([FAR, [0, 0, 1]]))
    truth = np.stack([i, j, np.ones_like(i)], -1) @ back.T
    found = np.stack([i, j], -1) + best.displacement[40:80, 60:100]
    assert np.linalg.norm(found - truth[..., :2], axis=-1).mean() < 1.0
    assert best.belief[40:80, 60:100].mean() > 0.5


def test_another_picture_is_not_believed() -> None:
    flows = picture_flows(FlowFrame(textured(1)), FlowFrame(textured(2)))
    assert max(flow.belief.mean() for flow in flows) < 0.1


def test_the_number_of_threads_changes_nothing() -> None:
    one, two = FlowFrame(textured()), FlowFrame(moved(textured(), FAR))
    before = cv2.getNumThreads()
    fields = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        fields.append(picture_flows(one, two)[0].displacement)
    cv2.setNumThreads(before)
    assert np.array_equal(*fields)


def test_a_neighbour_helps_where_the_outlined_frame_is_of_another_scene() -> None:
    near, here = textured(1), moved(textured(1), np.array([[1, 0, 6.0], [0, 1, 3.0]]))
    mask = np.zeros((120, 160), np.float32)
    mask[40:80, 50:100] = 1
    sources = []
    for index, picture, place in ((-1, textured(5), np.roll(mask, 50, axis=1)), (3, near, mask)):
        sources.append(Remembered(index, FlowFrame(picture), {"it": place}, {"it": np.ones_like(mask)}))
    carried = FrameVotes(FlowFrame(here), (120, 160)).carry("it", sources)
    assert carried is not None
    truth = np.roll(mask, (3, 6), axis=(0, 1)) > 0.5
    found = carried.share > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


@pytest.mark.parametrize("name", ["other"])
def test_what_no_frame_knows_is_not_carried(name: str) -> None:
    votes = FrameVotes(FlowFrame(textured()), (120, 160))
    assert votes.carry(name, [Remembered(-1, FlowFrame(textured()))]) is None
