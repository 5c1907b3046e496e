"""Training of the bundled model: prompts, losses, and steps that learn."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.errors import InputError, TrainingError
from adaptsam.finetune.losses import mask_loss
from adaptsam.finetune.mixture import TrainingPairs
from adaptsam.finetune.optimiser import Optimiser, learning_rate
from adaptsam.finetune.pretrain import Recipe, Training, fill_pool, new_sam
from adaptsam.finetune.promptable import draw_mask, prompt_loss
from adaptsam.finetune.prompting import box_around, closed, draw_points, error_points, first_prompt, noisy_box
from adaptsam.sam import load_sam


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


def test_a_first_prompt_never_calls_background_foreground(mask: np.ndarray) -> None:
    for seed in range(40):
        prompt, is_points = first_prompt(np.random.default_rng(seed), mask)
        if is_points:
            x, y = prompt.coordinates.T.astype(int)
            assert np.array_equal(mask[y, x], prompt.kinds == 1)
            assert (prompt.kinds == 1).any()
        else:
            assert prompt.kinds.tolist() == [2, 3]


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


def test_points_without_a_box_end_with_not_a_point(mask: np.ndarray) -> None:
    assert closed(draw_points(np.random.default_rng(0), mask, 2, 1)).kinds.tolist() == [1, 1, -1]


def test_a_perfect_mask_costs_next_to_nothing_and_a_wrong_one_a_lot() -> None:
    truth = torch.zeros(1, 1, 16, 16)
    truth[..., 4:10, 4:10] = 1
    right, wrong = (truth * 2 - 1) * 20, (1 - truth * 2) * 20
    assert mask_loss(right, truth, torch.ones(1, 1)).item() < 0.01
    assert mask_loss(wrong, truth, torch.ones(1, 1)).item() > 20
    assert mask_loss(right, truth, torch.zeros(1, 1)).item() == pytest.approx(1.0, abs=0.01)


def test_a_mask_drawn_for_training_is_neither_empty_nor_the_whole_image() -> None:
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[1], masks[2, 4:12, 4:12] = True, True
    rng = np.random.default_rng(0)
    assert all(torch.equal(draw_mask(rng, masks), masks[2]) for _ in range(10))


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(step, 100, 1e-3, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 2e-5


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_parameters() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimiser = Optimiser("test", [weight], 10, 0.1, 0, 0.0)
    with pytest.raises(TrainingError, match="not finite at step 0"):
        optimiser.step((weight / 0 * 0).sum())
    assert torch.equal(weight, torch.ones(2, 2))


@pytest.mark.slow
def test_a_few_steps_on_a_few_slices_teach_the_decoder_to_follow_a_point() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sam = new_sam()
    pool = fill_pool(sam, iter(TrainingPairs(2, 256, seed=1, phantoms=1.0)), 1)
    optimiser = Optimiser("decoder", [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()], 25, 6e-4, 2, 0)
    for _ in range(25):
        optimiser.step(prompt_loss(rng, sam, *pool.draw(rng, 8)))
    assert np.mean(optimiser.history[-5:]) < 0.9 * np.mean(optimiser.history[:5])


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_and_refuses_other_settings(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    recipe = Recipe(encoder_steps=1, batch=1, pool=1, decoder_steps=2, joint_steps=1, prompts=2, prompts_an_image=1)
    assert not Training(new_sam(), recipe, file, "cpu").run(minutes=0)
    assert not file.exists()
    with pytest.raises(InputError, match="decoder_steps 2 → 3"):
        Training(new_sam(), replace(recipe, decoder_steps=3), file, "cpu").run()
    training = Training(new_sam(), recipe, file, "cpu")
    assert training.run()
    assert {name: len(losses) for name, losses in training.losses.items()} == {"encoder": 1, "decoder": 2, "joint": 1}
    assert load_sam(file, "cpu").kind == "small"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_damaged_unfinished_training_is_refused_in_a_sentence_and_nothing_in_it_runs(tmp_path: Path) -> None:
    training = Training(new_sam(), Recipe(), tmp_path / "model.safetensors", "cpu")
    for content in (b"PK\x03\x04half", pickle.dumps(Path.unlink)):
        training.unfinished.write_bytes(content)
        with pytest.raises(InputError, match="is damaged; delete it to begin again"):
            training.run(minutes=0)
