"""From the slice with the most evidence outwards."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.autoprompting.hysteresis import HysteresisSettings, outward
from adaptsam.errors import InputError

RULES = HysteresisSettings(share=0.5, alike=0.5, gap_mm=10.0)


def disc(radius: float, centre: int = 20) -> np.ndarray:
    rows, columns = np.mgrid[:40, :40]
    return (rows - 20) ** 2 + (columns - centre) ** 2 <= radius**2


def test_neighbours_are_kept_with_less_evidence_than_the_first_slice_needs() -> None:
    evidence = {2: 0.2, 3: 0.35, 4: 0.4, 5: 0.9, 6: 0.45, 7: 0.2}
    assert outward(evidence, lambda k: disc(10), 0.6, 5.0, RULES) == [3, 4, 5, 6]


def test_nothing_is_found_where_no_slice_has_enough() -> None:
    assert outward({1: 0.5, 2: 0.55}, lambda k: disc(10), 0.6, 5.0, RULES) == []
    assert outward({}, lambda k: disc(10), 0.6, 5.0, RULES) == []


def test_a_mask_elsewhere_is_not_a_neighbour() -> None:
    masks = {4: disc(10, centre=6), 5: disc(10), 6: disc(9), 7: disc(3)}
    evidence = {4: 0.8, 5: 0.9, 6: 0.8, 7: 0.8}
    assert outward(evidence, masks.__getitem__, 0.6, 5.0, RULES) == [5, 6]


@pytest.mark.parametrize(("pitch", "expected"), [(5.0, [5, 8]), (6.0, [5])])
def test_the_search_goes_on_over_a_short_gap_only(pitch: float, expected: list[int]) -> None:
    evidence = {5: 0.9, 6: 0.1, 7: 0.1, 8: 0.7}
    assert outward(evidence, lambda k: disc(10), 0.6, pitch, RULES) == expected


def test_slices_far_from_the_best_one_are_not_reached() -> None:
    """A liver that looks like a heart, with enough evidence of its own."""
    evidence = {3: 0.9, 4: 0.8, 5: 0.1, 6: 0.1, 7: 0.1, 8: 0.85}
    assert outward(evidence, lambda k: disc(10), 0.6, 5.0, RULES) == [3, 4]


def test_a_run_of_good_slices_outweighs_the_best_one_alone() -> None:
    masks = {2: disc(4, centre=4), 5: disc(10), 6: disc(10), 7: disc(9)}
    evidence = {2: 0.95, 5: 0.7, 6: 0.8, 7: 0.4}
    assert outward(evidence, masks.__getitem__, 0.6, 5.0, RULES) == [5, 6, 7]


def test_settings_that_mean_nothing_are_refused() -> None:
    for wrong in ({"share": 1.5}, {"alike": -0.1}, {"gap_mm": -1.0}):
        with pytest.raises(InputError, match="Hysteresis"):
            HysteresisSettings(**wrong)
