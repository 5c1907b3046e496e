import numpy as np
import pytest

from adaptsam.slicewise.confidence import (
    Continuity,
    accepted_confidence,
    continuity,
    rejected_confidence,
    usual_continuity,
)
from adaptsam.slicewise.volume_settings import ConfidenceSettings

RULE = ConfidenceSettings()
GOOD = Continuity(0.9, 0.9)


def _confidence(
    distance: float = 1.0, iou: float = 0.9, found: Continuity | None = GOOD, touches: bool = False
) -> float:
    return accepted_confidence(distance, 4.0, iou, found, Continuity(0.9, 0.9), RULE, touches)


def test_confidence_falls_with_distance_doubt_jumps_and_touching() -> None:
    best = _confidence()
    assert 0.9 < best <= 1
    assert _confidence(distance=3.9) < best
    assert _confidence(iou=0.4) < best
    assert _confidence(found=Continuity(0.3, 0.9)) < best
    assert _confidence(found=Continuity(0.9, 0.3)) < best
    assert _confidence(touches=True) < best


def test_a_slice_alone_is_judged_without_neighbours() -> None:
    assert _confidence(found=None) == pytest.approx(_confidence(), abs=0.05)


def test_confidence_stays_between_0_and_1() -> None:
    assert 0 <= _confidence(distance=1e9, iou=-3, found=Continuity(0, 0)) < 0.01
    assert _confidence(distance=0, iou=7) == 1


def test_emptiness_is_surer_the_farther_the_slice_is_from_the_limit() -> None:
    assert rejected_confidence(4.0, 4.0, RULE) == 0
    assert rejected_confidence(40.0, 4.0, RULE) == pytest.approx(0.9)
    assert rejected_confidence(float("inf"), 4.0, RULE) == RULE.unseen


def test_neighbours_are_compared_by_overlap_and_area() -> None:
    mask, half, none = np.zeros((3, 10, 10), bool)
    mask[:, :] = True
    half[:5] = True
    found = continuity(mask, [half, none])
    assert found.dice == pytest.approx(2 / 3)
    assert found.area == 0.5


def test_a_gap_between_two_parts_does_not_count_as_usual() -> None:
    slices = np.zeros((12, 6, 6), bool)
    slices[[0, 1, 10, 11], 1:5, 1:5] = True
    assert usual_continuity(slices) == Continuity(1.0, 1.0)
