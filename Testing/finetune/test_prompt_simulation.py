"""Prompts that are drawn from the truth to train with."""

from __future__ import annotations

import numpy as np
import pytest

from adaptsam.finetune.prompt_simulation import box_around, closed, draw_points, error_points, noisy_box


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    return mask


def test_points_are_drawn_from_inside_of_the_mask_as_x_then_y(mask: np.ndarray) -> None:
    prompt = draw_points(np.random.default_rng(0), mask, 50, 1)
    x, y = prompt.coordinates.T.astype(int)
    assert mask[y, x].all()
    assert (prompt.kinds == 1).all()


def test_a_box_holds_the_mask_and_noise_stays_within_its_limit(mask: np.ndarray) -> None:
    assert box_around(mask).coordinates.tolist() == [[30, 10], [49, 19]]
    for seed in range(20):
        noise = noisy_box(np.random.default_rng(seed), mask).coordinates - box_around(mask).coordinates
        assert np.abs(noise).max() <= 20
    assert len(box_around(np.zeros_like(mask))) == 0


def test_error_points_say_what_was_missed_and_what_was_too_much(mask: np.ndarray) -> None:
    found = np.roll(mask, 8, axis=1)
    prompt = error_points(np.random.default_rng(0), mask, found, 9)
    x, y = prompt.coordinates.T.astype(int)
    assert (mask[y, x] != found[y, x]).all()
    assert np.array_equal(mask[y, x], prompt.kinds == 1)
    assert len(error_points(np.random.default_rng(0), mask, mask, 9)) == 0


def test_error_points_are_drawn_evenly_from_all_that_is_wrong_and_none_twice() -> None:
    mask, found = np.zeros((2, 40, 60), bool)
    mask[5, 10:12], found[10:30, 20:40] = True, True
    drawn = [error_points(np.random.default_rng(seed), mask, found, 1).kinds[0] for seed in range(200)]
    assert np.mean(drawn) < 0.05  # 2 of 402 pixels were missed
    few = error_points(np.random.default_rng(0), mask, np.zeros_like(mask), 9)
    assert sorted(few.coordinates.tolist()) == [[10, 5], [11, 5]]


def test_points_without_a_box_end_with_not_a_point(mask: np.ndarray) -> None:
    assert closed(draw_points(np.random.default_rng(0), mask, 2, 1)).kinds.tolist() == [1, 1, -1]
