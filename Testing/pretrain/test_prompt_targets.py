"""What is prompted for: never nothing, small structures more often, mostly the part that was pointed at."""

import torch

from adaptsam.pretrain.prompt_targets import draw_targets, part_around, shrunk
from adaptsam.synthetic.device_random import generator

CPU = torch.device("cpu")


def square(*corners: tuple[int, int, int], side: int = 128) -> torch.Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    for y, x, size in corners:
        mask[y : y + size, x : x + size] = True
    return mask


def test_a_target_is_neither_empty_nor_the_whole_image_nor_too_thin_for_the_decoder() -> None:
    good, thin = square((10, 20, 30)), torch.zeros(128, 128, dtype=torch.bool)
    thin[5, ::2] = True
    masks = torch.stack([torch.zeros_like(good), torch.ones_like(good), thin, good])[None]
    targets, there = draw_targets(generator(CPU, 1), masks, 50, 64)
    assert there.all()
    assert all(torch.equal(target, good) for target in targets)


def test_an_image_without_any_target_does_not_count() -> None:
    masks = torch.zeros(2, 3, 128, 128, dtype=torch.bool)
    masks[1, 2] = square((10, 20, 30))
    assert draw_targets(generator(CPU, 1), masks, 2, 64)[1].tolist() == [False, False, True, True]


def test_small_structures_are_drawn_three_times_as_often() -> None:
    masks = torch.stack([square((10, 10, 12)), square((40, 40, 60))])[None]
    targets, _ = draw_targets(generator(CPU, 2), masks, 2000, 64)
    assert abs((targets.sum((1, 2)) == 144).float().mean() - 0.75) < 0.04


def test_three_targets_of_four_are_one_part_and_the_others_all_parts() -> None:
    kidneys = square((40, 10, 30), (40, 90, 30))
    targets, _ = draw_targets(generator(CPU, 3), kidneys[None, None], 1000, 64)
    sizes = targets.sum((1, 2))
    assert set(sizes.tolist()) == {900, 1800}
    assert abs((sizes == 900).float().mean() - 0.75) < 0.05


def test_a_part_is_what_hangs_together_and_a_gap_of_a_few_pixels_does_not_part() -> None:
    near, far = square((40, 40, 20), (40, 61, 20)), square((40, 40, 20), (40, 70, 20))
    parts = part_around(torch.stack([near, far]), torch.tensor([[45.0, 45.0], [75.0, 45.0]]))
    assert torch.equal(parts[0], near)
    assert torch.equal(parts[1], square((40, 70, 20)))


def test_a_part_too_long_to_be_followed_is_left_whole() -> None:
    snake = torch.zeros(128, 128, dtype=torch.bool)
    for number, x in enumerate(range(2, 120, 12)):
        snake[4:124, x : x + 4] = True
        snake[(120 if number % 2 else 4) : (124 if number % 2 else 8), x : x + 16] = True
    lone = square((60, 125, 3))
    assert torch.equal(part_around((snake | lone)[None], torch.tensor([[3.0, 100.0]]))[0], snake | lone)


def test_a_shrunk_mask_has_the_pixels_that_are_at_least_half_filled() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, :3] = True
    assert shrunk(mask, 2)[0].tolist() == [[True, False], [False, False]]
