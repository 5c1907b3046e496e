import numpy as np
import pytest

from adaptsam.slicewise.tissue_appearance import SUREST, vote

PIXEL = (2.0, 2.0)


def _scene(centre: tuple[int, int], radius: float = 7.0, noise: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on dark ground with noise, and where it is."""
    j, i = np.mgrid[:48, :48]
    disc = (j - centre[0]) ** 2 + (i - centre[1]) ** 2 <= radius**2
    return np.where(disc, 150.0, 60.0) + np.random.default_rng(noise).normal(0, 4, disc.shape), disc


def test_tissue_that_moved_a_little_finds_its_own_label() -> None:
    before, inside = _scene((24, 24))
    after, moved = _scene((24, 26), noise=1)
    odds = vote(after, before, inside.astype(float), PIXEL, search_mm=6.0)
    assert ((odds > 0) == moved).mean() > 0.99


def test_tissue_that_was_replaced_finds_the_label_of_what_replaced_it() -> None:
    before, inside = _scene((24, 24))
    after, left = _scene((24, 24), radius=4.0, noise=1)
    odds = vote(after, before, inside.astype(float), PIXEL, search_mm=10.0)
    assert ((odds > 0) == left).mean() > 0.98


def test_where_nothing_in_the_prior_looks_alike_the_vote_is_nearly_silent() -> None:
    before, inside = _scene((24, 24))
    odds = vote(np.full((48, 48), 255.0), before, inside.astype(float), PIXEL, search_mm=6.0)
    assert np.abs(odds).max() < 0.05 * SUREST


@pytest.mark.parametrize("pixel", [(0.7, 0.7), (0.9, 2.1)])
def test_fine_and_unequal_pixels_give_an_answer_for_every_pixel(pixel: tuple[float, float]) -> None:
    before, inside = _scene((24, 24), radius=10.0)
    odds = vote(_scene((24, 24), radius=10.0, noise=1)[0], before, inside.astype(float), pixel, search_mm=3.0)
    assert odds.shape == inside.shape
    assert ((odds > 0) == inside).mean() > 0.95
