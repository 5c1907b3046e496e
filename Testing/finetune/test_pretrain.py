"""Training of the bundled model: prompts, losses, data, and a step that learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.data.phantom.render import STRUCTURES
from adaptsam.finetune import pretrain
from adaptsam.finetune.losses import mask_loss
from adaptsam.finetune.phantom_slices import CLASSES, PhantomSlices, patch_classes
from adaptsam.finetune.pretrain import Recipe, fill_pool, learning_rate, new_sam, train_decoder
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


def test_slices_are_reproducible_and_hold_what_their_masks_say() -> None:
    first, again = (next(iter(PhantomSlices(4, 64, seed=5))) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert first.images.shape == (4, 3, 64, 64)
    assert first.masks.shape == (4, len(STRUCTURES), 64, 64)
    assert first.images.min() >= 0
    assert first.images.max() <= 255
    assert first.masks[:, STRUCTURES.index("Body")].any()


def test_a_patch_is_called_by_what_covers_most_of_it() -> None:
    masks = torch.zeros(1, len(STRUCTURES), 16, 16, dtype=torch.bool)
    masks[0, STRUCTURES.index("Body"), :, :8] = True
    masks[0, STRUCTURES.index("Heart"), :8, :8] = True
    named = [CLASSES[c] for c in patch_classes(masks, 2)[0].flatten()]
    assert named == ["Heart", "Background", "Body", "Background"]


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(step, 100, 1e-3, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 2e-5


@pytest.mark.slow
def test_a_few_steps_on_a_few_slices_teach_the_decoder_to_follow_a_point() -> None:
    torch.manual_seed(0)
    sam = new_sam()
    pool = fill_pool(sam, iter(PhantomSlices(2, 256, seed=1)), 2)
    losses = train_decoder(sam, pool, Recipe(decoder_steps=25, prompts=8, warm_up=2))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.slow
def test_a_short_training_writes_a_model_that_loads_and_an_interrupted_one_keeps_its_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.safetensors"
    recipe = Recipe(encoder_steps=1, batch=1, pool=1, decoder_steps=1, prompts=2)
    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "train_decoder", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain.train(recipe, file, "cpu", workers=0)
    assert not file.exists()
    pretrain.train(recipe, file, "cpu", workers=0)
    assert "resumed" in capsys.readouterr().out
    assert load_sam(file, "cpu").kind == "small"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
