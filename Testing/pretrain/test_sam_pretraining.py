"""Training of the bundled model: prompts, losses, and steps that learn."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from adaptsam.errors import InputError, TrainingError
from adaptsam.finetune.mask_losses import mask_loss
from adaptsam.finetune.prompt_simulation import box_around, closed, draw_points, error_points, noisy_box
from adaptsam.finetune.recipe_folders import recipe_files
from adaptsam.finetune.recipes import read_recipe, recipe_settings
from adaptsam.pretrain import sam_pretraining as pretrain
from adaptsam.pretrain.optimiser import Optimiser, learning_rate
from adaptsam.pretrain.pair_mixture import TrainingPairs
from adaptsam.pretrain.pretraining_recipe import GPU, Recipe
from adaptsam.pretrain.prompted_loss import Rounds, prompt_loss
from adaptsam.pretrain.sam_pretraining import Training, fill_pool, new_sam
from adaptsam.pretrain.split_checkpoint import PIECE_BYTES, kept_state
from adaptsam.sam import load_sam
from adaptsam.sam.mask_decoder import run_decoder
from adaptsam.synthetic.device_random import generator

SHORT = Recipe(encoder_steps=1, batch=1, pool=1, decoder_steps=2, joint_steps=1, prompts=2, prompts_an_image=1)


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


def test_a_perfect_mask_costs_next_to_nothing_and_a_wrong_one_a_lot() -> None:
    truth = torch.zeros(1, 1, 16, 16)
    truth[..., 4:10, 4:10] = 1
    right, wrong = (truth * 2 - 1) * 20, (1 - truth * 2) * 20
    assert mask_loss(right, truth, torch.ones(1, 1)).item() < 0.01
    assert mask_loss(wrong, truth, torch.ones(1, 1)).item() > 20
    assert mask_loss(right, truth, torch.zeros(1, 1)).item() == pytest.approx(1.0, abs=0.01)


def test_the_dice_of_a_mask_is_monais() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(3, 2, 8, 8, generator=rng), (torch.rand(3, 1, 8, 8, generator=rng) > 0.6).float()
    target = truth.expand_as(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    dice = DiceLoss(sigmoid=True, reduction="none")(logits.view(6, 1, 8, 8), target.reshape(6, 1, 8, 8)).view(3, 2)
    iou = ((logits > 0) & (target > 0)).sum((-2, -1)) / ((logits > 0) | (target > 0)).sum((-2, -1))
    assert torch.allclose(mask_loss(logits, truth, iou), dice + entropy, atol=1e-6)


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


def test_a_stage_that_lasts_for_a_time_ends_its_cosine_in_time_however_fast_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("adaptsam.pretrain.optimiser.time.monotonic", lambda: now[0])

    def trained(optimiser: Optimiser, pace: float, until: float) -> list[float]:
        rates = []
        while not optimiser.finished and now[0] < until:
            optimiser.step((optimiser.parameters[0] ** 2).sum())
            rates.append(optimiser.adam.param_groups[0]["lr"])
            now[0] += pace
        return rates

    def new() -> Optimiser:
        return Optimiser("test", [torch.nn.Parameter(torch.ones(2))], 0, 1.0, 5, 0.0, seconds=100)

    first = new()
    rates = trained(first, 1.0, 40.0)
    now[0] += 1000
    second = new()
    second.load_state_dict(first.state_dict())
    rates += trained(second, 0.25, 1e9)
    assert second.finished
    # The first step of a run is not counted, and neither is the break.
    assert second.spent == pytest.approx(100, abs=1.01)
    assert 270 < len(rates) < 290
    assert rates[39] == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.35)), abs=0.05)
    assert rates[-1] < 0.02
    assert np.all(np.diff(rates[5:]) < 1e-6)


@pytest.mark.slow
def test_a_few_steps_on_a_few_slices_teach_the_decoder_to_follow_prompts() -> None:
    torch.manual_seed(0)
    sam = new_sam()
    pool = fill_pool(sam, TrainingPairs(2, 256, (1,), phantoms=1.0).starting(0), 1)
    optimiser = Optimiser("decoder", [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()], 25, 6e-4, 2, 0)
    for step in range(25):
        rng = generator("cpu", 0, step)
        optimiser.step(prompt_loss(rng, sam, *pool.draw(rng, 6), Rounds(), multimask=step % 5 == 4))
    assert np.mean(optimiser.history[-5:]) < 0.9 * np.mean(optimiser.history[:5])


def test_images_without_a_target_do_not_count() -> None:
    torch.manual_seed(0)
    sam = new_sam()
    features, masks = torch.randn(2, 128, 32, 32), torch.zeros(2, 256, 256, dtype=torch.bool)
    masks[0, 50:90, 50:120] = True
    losses = []
    for second in (1.0, 50.0):
        given = torch.stack([features[0], second * features[1]])
        there = torch.tensor([True, False])
        with torch.no_grad():
            loss = prompt_loss(generator("cpu", 1), sam, given, masks, there, Rounds(rounds=1), False)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1])
    assert np.isfinite(losses).all()


def test_the_decoder_gives_the_same_masks_and_finite_gradients_in_bfloat16() -> None:
    sam = load_sam(device="cpu").sam
    rng = torch.Generator().manual_seed(0)
    sparse, real = torch.randn(2, 5, 128, generator=rng), torch.ones(2, 5, dtype=torch.bool)
    image = torch.randn(2, 1024, 128, generator=rng)
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2).detach()
    exact, _ = run_decoder(sam.mask_decoder, image, position, sparse, real, None, False)
    with torch.autocast("cpu", torch.bfloat16):
        rough, iou = run_decoder(sam.mask_decoder, image, position, sparse, real, None, False)
    mask_loss(rough.float(), (exact > 0).float(), iou.float()).mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in sam.mask_decoder.parameters())
    assert ((rough > 0) == (exact > 0)).float().mean() > 0.97


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_and_refuses_other_settings(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    assert not Training(new_sam(), SHORT, file).run(minutes=0)
    assert not file.exists()
    with pytest.raises(InputError, match="decoder_steps 2 → 3"):
        Training(new_sam(), replace(SHORT, decoder_steps=3), file).run()
    Training(new_sam(), SHORT, file).write_unfinished()
    assert load_sam(file, "cpu").kind == "small"
    training = Training(new_sam(), SHORT, file)
    assert training.run()
    assert {name: len(losses) for name, losses in training.losses.items()} == {"encoder": 1, "decoder": 2, "joint": 1}
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    with pytest.raises(InputError, match="no unfinished training"):
        Training(new_sam(), SHORT, file).write_unfinished()


def test_what_is_written_is_the_average_of_the_weights(tmp_path: Path) -> None:
    training = Training(new_sam(), replace(SHORT, average=0.75), tmp_path / "model.safetensors")
    weight = training.sam.mask_decoder.iou_token.weight
    values = (0.0, 1.0, 2.0)
    for value in values:
        torch.nn.init.constant_(weight, value)
        training.average.update_parameters(training.sam)
    training.write()
    written = load_sam(training.output, "cpu").sam.mask_decoder.iou_token.weight
    assert written.unique().tolist() == [0.75 * 0.25 + 0.25 * 2]


@pytest.mark.slow  # three short trainings in processes of their own
def test_a_training_that_was_killed_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    settings = {"encoder_steps": 0, "pool": 1, "decoder_steps": 5, "joint_steps": 1, "batch": 1, "prompts": 2}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    code = (
        "import sys; from adaptsam.pretrain import sam_pretraining as pretrain; run = pretrain.prepared\n"
        "def often(*given):\n    training = run(*given); training.keep_seconds = 0; return training\n"
        "pretrain.prepared = often; pretrain.main()"
    )
    outcome = {}
    for name in ("whole", "killed"):
        file = tmp_path / name / "model.safetensors"
        command = [sys.executable, "-c", code, "--output", str(file), "--device", "cpu", "--workers", "0", *options]
        index = file.with_suffix(".training")
        if name == "killed":
            process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, env=environment())
            while not index.is_file():
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            state = kept_state(index)
            assert state is not None
            assert len(state["optimiser"]["history"]) < 5 or state["stage"] == "joint"
        subprocess.run(command, cwd=tmp_path, check=True, env=environment())
        outcome[name] = load_sam(file, "cpu")
    whole, killed = (outcome[name].sam.state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


def environment() -> dict[str, str]:
    root = Path(pretrain.__file__).parents[2]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}


def test_the_state_of_a_training_on_a_gpu_travels_in_small_files(tmp_path: Path) -> None:
    training = Training(new_sam(), GPU, tmp_path / "model.safetensors")
    training.device = torch.device("cuda")  # which numbers are kept is all that it decides
    optimiser = training._optimiser("joint")
    for parameter in optimiser.parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimiser.adam.step()
    training._keep("joint", optimiser)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) <= PIECE_BYTES
    assert sum(sizes) < 38 * 2**20
    state = kept_state(training.unfinished)
    assert state is not None
    again = training._optimiser("joint")
    again.load_state_dict(state["optimiser"])
    for before, after in zip(optimiser.adam.state.values(), again.adam.state.values(), strict=True):
        assert after["exp_avg_sq"].dtype == torch.float32
        assert torch.allclose(before["exp_avg_sq"], after["exp_avg_sq"], rtol=1e-2)
        assert before["step"] == after["step"]


def test_the_recipe_file_has_every_number_of_the_recipe() -> None:
    settings = recipe_settings(read_recipe("bundled_small_sam"))
    assert {field.name: settings[field.name] for field in fields(Recipe)} == {
        field.name: field.default for field in fields(Recipe)
    }
    [file] = recipe_files("bundled_small_sam")
    assert json.loads(file.read_text())["recipe"] == {"_target_": "adaptsam.pretrain.pretraining_recipe.Recipe"} | {
        field.name: f"@{field.name}" for field in fields(Recipe)
    }


def test_training_and_its_scores_need_pytorch_and_sam_and_nothing_else_that_adaptsam_uses() -> None:
    absent = ("av", "contourpy", "highdicom", "ignite", "matplotlib", "monai", "ot", "peft", "psutil", "pydicom")
    absent = (*absent, "scipy", "SimpleITK", "sklearn")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"
        "import runpy, adaptsam.pretrain.sam_pretraining\n"
        "runpy.run_path('Testing/tools/experiments/synthetic_scores.py')"
    )
    root = Path(pretrain.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment())
