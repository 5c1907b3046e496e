import numpy as np
import pytest

from adaptsam.slicewise.acceptance import Threshold, calibrate, choose_pairs, decide, surroundings
from adaptsam.slicewise.slice_method import SliceMethod
from adaptsam.slicewise.volume_settings import AcceptanceSettings

RULE = AcceptanceSettings(gap_mm=5.0, pairs=12, enough_pairs=3, quantile=0.9, factor=2.0, background_share=0.8)


def test_the_limit_is_a_multiple_of_the_priors_own_distances() -> None:
    threshold = decide([1.0] * 10, [100.0], RULE)
    assert threshold.limit == 2.0
    assert threshold.accepts(1.9)
    assert not threshold.accepts(2.1)


def test_the_surroundings_cap_the_limit_where_they_are_farther_than_the_prior_itself() -> None:
    assert decide([1.0] * 10, [2.0], RULE).limit == pytest.approx(1.6)
    assert decide([1.0] * 10, [0.5], RULE).limit == 2.0


def test_a_single_slice_is_judged_by_its_distance_to_its_surroundings() -> None:
    assert decide([], [10.0], RULE).limit == pytest.approx(RULE.single_slice_share * 10)


def test_an_empty_mask_is_never_accepted() -> None:
    assert not Threshold().accepts(float("inf"))
    assert Threshold().accepts(1e9)


def test_pairs_lie_about_the_gap_apart_whatever_the_slice_thickness() -> None:
    assert all(b - a == 5 for a, b in choose_pairs(range(30), 1.0, RULE))
    assert all(b - a == 1 for a, b in choose_pairs(range(30), 5.0, RULE))
    assert len(choose_pairs(range(100), 1.0, RULE)) == 12


def test_slices_contoured_sparsely_are_compared_at_their_own_distance() -> None:
    assert choose_pairs([0, 4, 8, 12, 16], 3.0, RULE) == [(0, 4), (4, 8), (8, 12), (12, 16)]


def test_with_few_slices_wider_pairs_are_used_too() -> None:
    assert choose_pairs([3, 4, 5], 5.0, RULE) == [(3, 4), (3, 5), (4, 5)]
    assert choose_pairs([3], 5.0, RULE) == []


def test_surroundings_are_a_ring_in_mm() -> None:
    mask = np.zeros((41, 41), bool)
    mask[20, 20] = True
    ring = surroundings(mask, (2.0, 1.0), 6.0)
    assert not ring[20, 20]
    assert ring[20, 23]
    assert not ring[20, 24]
    assert ring[26, 20]
    assert not ring[27, 20]


def test_a_threshold_comes_from_the_methods_own_measure(by_gray: SliceMethod) -> None:
    image = np.full((32, 32, 3), 50, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[10:20, 10:20] = True
    slices = {}
    for k, gray in enumerate((100, 101, 103, 104, 106)):
        one = image.copy()
        one[mask] = gray
        slices[k] = (one, mask)
    threshold = calibrate(by_gray, range(5), slices.__getitem__, (1.0, 1.0, 5.0), RULE)
    assert threshold.own == pytest.approx(3.0, abs=0.1)
    assert threshold.background == pytest.approx(54, abs=5)
    assert threshold.limit == pytest.approx(6.0, abs=0.2)
