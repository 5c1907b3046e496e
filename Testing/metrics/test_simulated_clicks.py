"""Clicks where a person would click, and the rules of thumb beside a model."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.metrics.simulated_clicks import box_around, boxed, click, clicked, ellipse, grown
from adaptsam.sam import load_sam

ROWS, COLUMNS = np.ogrid[:120, :160]
DISC = (COLUMNS - 90) ** 2 + (ROWS - 50) ** 2 <= 30**2


def test_a_click_falls_in_the_middle_of_the_largest_region() -> None:
    wrong = DISC.copy()
    wrong[100:110, 5:15] = True
    assert click(wrong) == (90, 50)
    border = np.zeros((20, 20), bool)
    border[:, :9] = True
    assert click(border)[0] == 4  # what the image cuts off is no middle


def test_a_box_is_the_first_and_the_last_pixel_and_its_ellipse_nearly_a_disc() -> None:
    assert box_around(DISC).tolist() == [60, 20, 120, 80]
    assert ellipse(DISC) > 0.97
    square = np.zeros((40, 40), bool)
    square[4:36, 4:36] = True
    assert ellipse(square) == pytest.approx(2 * np.pi / 4 / (1 + np.pi / 4), abs=0.01)


def test_region_growing_has_the_tolerance_that_fits_and_stays_in_one_piece() -> None:
    image = np.where(DISC, 100, 0) + np.where((COLUMNS < 20) & (ROWS > 100), 100, 0)
    assert grown(image, DISC) == 1
    assert grown(np.full_like(image, 7), DISC) == pytest.approx(2 * DISC.sum() / (DISC.sum() + DISC.size))


def test_the_bundled_model_follows_clicks_and_a_box_on_a_clear_disc() -> None:
    model = load_sam(device="cpu")
    [embedding] = model.embed([np.where(DISC, 200, 60).astype(np.uint8)])
    scores = clicked(model, embedding, DISC, (1, 3))
    assert set(scores) == {1, 3}
    assert scores[3] > 0.7
    assert boxed(model, embedding, DISC) > 0.7
