import numpy as np
import pytest

from adaptsam.slicewise import MisfitSettings
from adaptsam.slicewise.registration_error import LEAST_CHANGE, Misfit, misfit

PIXEL = (2.0, 2.0)
Y, X = np.mgrid[:60, :60]
RULE = MisfitSettings()


def disc(centre: tuple[float, float], radius: float = 10.0, noise: int = 0) -> np.ndarray:
    """A bright disc, its border a pixel wide, on dark ground with noise."""
    away = np.hypot(Y - centre[0], X - centre[1]) - radius
    return 60 + 90 * np.clip(0.5 - away, 0, 1) + np.random.default_rng(noise).normal(0, 4, away.shape)


def doubts(target: np.ndarray, prior: np.ndarray, pixel: tuple[float, float] = PIXEL) -> Misfit:
    return misfit(target, prior, np.ones(target.shape, bool), pixel, 1.5, RULE)


def test_where_target_and_prior_look_alike_the_contour_is_not_doubted() -> None:
    found = doubts(disc((30, 30), noise=1), disc((30, 30)))
    assert np.mean(found.error_mm == RULE.least_error_mm) > 0.98
    assert np.mean(found.change < 2 * LEAST_CHANGE) > 0.98


def test_a_contour_that_lies_beside_its_edge_is_doubted_by_about_as_much() -> None:
    """The disc moved 2 mm along x: its left and right borders are off by so much, the others by nothing."""
    found = doubts(disc((30, 31), noise=1), disc((30, 30)))
    assert 1.5 < found.error_mm[30, 40] <= RULE.largest * 1.5
    assert 1.5 < found.error_mm[30, 21] <= RULE.largest * 1.5
    assert found.error_mm[20, 30] < 1.0
    assert found.error_mm[5, 5] == RULE.least_error_mm


def test_tissue_that_was_replaced_is_doubted_as_far_in_as_it_was() -> None:
    found = doubts(disc((30, 30), radius=5, noise=1), disc((30, 30)))
    ring = (np.hypot(Y - 30, X - 30) > 6) & (np.hypot(Y - 30, X - 30) < 9)
    assert found.change[ring].min() > 0.8 * RULE.change
    assert found.change[5, 5] == pytest.approx(LEAST_CHANGE)


def test_noise_is_not_taken_for_a_change() -> None:
    rng = np.random.default_rng(3)
    noisy = disc((30, 30), noise=1) + rng.normal(0, 25, Y.shape)
    found = doubts(noisy, disc((30, 30)))
    assert np.mean(found.change < 0.05) > 0.95


@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_a_single_row_or_column_is_judged_too(shape: tuple[int, int]) -> None:
    prior = np.linspace(0, 200, 9).reshape(shape)
    found = misfit(prior, prior, np.zeros(shape, bool), (1.0, 3.0), 1.5, RULE)
    assert (found.error_mm == RULE.least_error_mm).all()
