"""Prompts drawn for a whole batch: the same distributions as those drawn mask by mask, and never waiting for a GPU."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from adaptsam.finetune import prompt_simulation as prompting
from adaptsam.pretrain import batch_prompts
from adaptsam.pretrain.batch_prompts import boxes_around, error_points, first_prompts, noisy_boxes, random_pixels
from adaptsam.pretrain.prompt_targets import draw_targets
from adaptsam.sam.prompt_encoder import NOT_A_POINT, PADDING
from adaptsam.synthetic.device_random import choice, generator
from adaptsam.synthetic.random_scenes import draw_scenes

CPU = torch.device("cpu")
MANY = 2000


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(40, 64, dtype=torch.bool)
    mask[10:20, 30:50] = True
    mask[15, 2] = True
    return mask


def many(mask: torch.Tensor) -> torch.Tensor:
    return mask.expand(MANY, -1, -1)


def test_a_choice_has_the_shares_that_were_asked_for() -> None:
    drawn = choice(generator(CPU, 1), (1.0, 3.0, 6.0), (20000,), CPU)
    assert (drawn.bincount() / 20000 - torch.tensor([0.1, 0.3, 0.6])).abs().max() < 0.015


def test_pixels_are_drawn_evenly_from_all_of_the_mask_and_from_nothing_else(mask: torch.Tensor) -> None:
    pixels, there = random_pixels(generator(CPU, 2), mask[None], 40200)
    x, y = pixels[0].long().T
    assert there.all()
    assert mask[y, x].all()
    counts = torch.bincount(y * 64 + x, minlength=mask.numel())[mask.flatten()]
    # 201 pixels, 200 draws each: a standard deviation of 14.
    assert counts.min() > 140
    assert counts.max() < 260
    assert not random_pixels(generator(CPU, 2), torch.zeros(1, 8, 8, dtype=torch.bool), 3)[1].any()


def test_a_box_is_that_of_the_prompts_drawn_mask_by_mask_and_so_is_its_noise(mask: torch.Tensor) -> None:
    box, there = boxes_around(torch.stack([mask, torch.zeros_like(mask)]))
    assert box[0].tolist() == prompting.box_around(mask.numpy()).coordinates.tolist()
    assert there.tolist() == [True, False]
    noise = (noisy_boxes(generator(CPU, 3), many(mask))[0] - box[0]).numpy()
    rng = np.random.default_rng(3)
    single = [prompting.noisy_box(rng, mask.numpy()).coordinates - box[0].numpy() for _ in range(MANY)]
    assert np.allclose(noise.std(0), np.std(single, axis=0), rtol=0.08)
    assert np.abs(noise.mean(0)).max() < 0.3
    large = torch.ones(40, 500, 500, dtype=torch.bool)
    noise = noisy_boxes(generator(CPU, 3), large)[0] - boxes_around(large)[0]
    assert noise.std().item() == pytest.approx(20, rel=0.15)
    assert noise.abs().max() > 20


def test_first_prompts_are_boxes_or_points_that_never_call_background_foreground(mask: torch.Tensor) -> None:
    prompts = first_prompts(generator(CPU, 4), many(mask), boxes=0.5)
    real = prompts.labels != PADDING
    x, y = prompts.points.long().unbind(-1)
    assert torch.equal(mask[y, x][real], prompts.labels[real] == 1)
    assert abs(prompts.boxed.float().mean() - 0.5) < 0.04
    pointed = ~prompts.boxed
    inside, outside = ((prompts.labels == label).sum(1) for label in (1, 0))
    assert sorted(set(inside[pointed].tolist())) == [1, 2, 3, 4]
    assert sorted(set(outside[pointed].tolist())) == [0, 1, 2, 3, 4]
    assert abs(inside[pointed].float().mean() - 2.5) < 0.12
    assert abs(outside[pointed].float().mean() - 2.0) < 0.15
    with_box = (inside[prompts.boxed] > 0).float().mean()
    assert abs(with_box - batch_prompts._BOX_WITH_POINTS) < 0.04


def test_tokens_end_with_not_a_point_where_there_is_no_box(mask: torch.Tensor) -> None:
    prompts = first_prompts(generator(CPU, 4), mask.expand(20, -1, -1), boxes=0.5)
    coordinates, kinds = prompts.tokens()
    assert coordinates.shape == (20, 11, 2)
    for boxed, row in zip(prompts.boxed, kinds, strict=True):
        assert row[-3:].tolist() == ([2, 3, PADDING] if boxed else [PADDING, PADDING, NOT_A_POINT])


def test_error_points_are_those_of_the_prompts_drawn_mask_by_mask(mask: torch.Tensor) -> None:
    found = mask.roll(5, dims=1)
    count = torch.full((MANY,), 3)
    points, labels = error_points(generator(CPU, 5), many(mask), many(found), count, 3)
    x, y = points.long().unbind(-1)
    assert (mask[y, x] != found[y, x]).all()
    assert torch.equal(mask[y, x], labels == 1)
    rng = np.random.default_rng(5)
    single = [int((prompting.error_points(rng, mask.numpy(), found.numpy(), 3).kinds == 1).sum()) for _ in range(MANY)]
    shares = torch.bincount((labels == 1).sum(1), minlength=4) / MANY
    assert np.allclose(shares, np.bincount(single, minlength=4) / MANY, atol=0.045)


def test_there_are_as_many_error_points_as_asked_for_and_none_where_nothing_is_wrong(mask: torch.Tensor) -> None:
    found = torch.stack([mask, torch.zeros_like(mask), mask.roll(5, dims=1), mask.roll(5, dims=1)])
    count = torch.tensor([3, 3, 2, 0])
    _, labels = error_points(generator(CPU, 6), mask.expand(4, -1, -1), found, count, 3)
    assert (labels != PADDING).sum(1).tolist() == [0, 3, 2, 0]
    assert (labels[1] == 1).all()


def test_what_is_drawn_on_a_device_never_comes_back_to_the_program() -> None:
    # A tensor without numbers refuses whatever would wait for a GPU: .item(), nonzero, a mask as an index.
    with FakeTensorMode():
        pairs = draw_scenes(torch.Generator(), 2, 64)
        masks, _ = draw_targets(torch.Generator(), pairs.masks.flatten(0, 1), 2, 32)
        prompts = first_prompts(torch.Generator(), masks, 0.5)
        assert prompts.tokens()[0].shape == (8, 11, 2)
        error_points(torch.Generator(), masks, ~masks, torch.ones(8, dtype=torch.int64), 3)
        with pytest.raises(RuntimeError):
            masks.sum().item()
