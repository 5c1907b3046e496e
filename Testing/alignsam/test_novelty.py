"""Whether an image is of the kind that an agent learnt from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptsam.alignsam import Novelty
from adaptsam.alignsam.novelty import LEAST_IMAGES, MARGIN, MARGIN_ALONE, SHARE, description
from adaptsam.errors import InputError
from adaptsam.sam import Embedding


def image(seed: int, shift: float = 0.0, input_size: tuple[int, int] = (64, 64)) -> Embedding:
    """Eight channels on a grid of 4×4, of images of one kind or, shifted, of another."""
    generator = torch.Generator().manual_seed(seed)
    return Embedding(torch.randn(8, 4, 4, generator=generator) + shift, input_size, input_size)


def test_images_of_the_kind_are_known_and_others_are_not() -> None:
    kind = Novelty.of([image(seed) for seed in range(30)], [image(seed) for seed in range(30, 40)], 64)
    assert kind is not None
    assert sum(kind.knows(kind.of_image(image(seed), 64)) for seed in range(100, 120)) >= 18
    assert not any(kind.knows(kind.of_image(image(seed, shift=2.0), 64)) for seed in range(100, 120))


def test_the_limit_lies_beyond_what_was_held_back() -> None:
    held = [image(seed) for seed in range(30, 40)]
    kind = Novelty.of([image(seed) for seed in range(30)], held, 64)
    assert kind is not None
    assert kind.limit == pytest.approx(MARGIN * np.quantile([kind.of_image(one, 64) for one in held], SHARE))


def test_without_images_of_other_patients_the_limit_is_wider() -> None:
    learnt = [image(seed) for seed in range(30)]
    kind = Novelty.of(learnt, [], 64)
    assert kind is not None
    assert kind.limit == pytest.approx(MARGIN_ALONE * np.quantile([kind.of_image(one, 64) for one in learnt], SHARE))


def test_the_empty_part_of_sams_square_does_not_count() -> None:
    wide = image(1, input_size=(32, 64))
    other = Embedding(wide.features.clone(), wide.input_size, wide.original_size)
    other.features[:, 2:] = 1000.0
    np.testing.assert_array_equal(description(wide, 64), description(other, 64))


def test_too_few_images_tell_no_kind_and_nonsense_is_refused() -> None:
    assert Novelty.of([image(seed) for seed in range(LEAST_IMAGES - 1)], [], 64) is None
    ones = np.ones(4, np.float32)
    for mean, spread, limit in (
        (ones, -ones, 1.0),
        (ones, ones[:2], 1.0),
        (ones, ones, np.nan),
        (ones * np.inf, ones, 1),
    ):
        with pytest.raises(InputError):
            Novelty(mean, spread, limit)
