"""SAM's interactive training: what is drawn, when it is drawn, and what is computed once."""

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.finetune import differentiable_decoding as decoding
from adaptsam.finetune import interactive_training as interactive
from adaptsam.finetune.interactive_training import Interaction, TrainableSam, evaluation_prompt, interactive_rounds
from adaptsam.finetune.mask_losses import mask_loss, sam_loss

SIZE = 64


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, list[tuple[int, int, int]]]:
    masks = torch.zeros(4, SIZE, SIZE, dtype=torch.bool)
    for row in range(4):
        masks[row, 10 + 5 * row : 40 + 5 * row, 12:44] = True
    noise = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 60
    return noise + 150 * masks[:, None], masks, [(7, 0, sample) for sample in range(4)]


def test_eleven_rounds_with_points_between_the_first_and_the_last(tiny: Sam, batch) -> None:
    images, masks, seeds = batch
    with torch.no_grad():
        rounds = list(interactive_rounds(TrainableSam(tiny), images, masks, seeds))
    assert [one.number for one in rounds] == list(range(11))
    assert all(len(prompt) == 0 for prompt in rounds[-1].prompts)
    later = np.array([[len(prompt) for prompt in one.prompts] for one in rounds[1:-1]])
    assert (np.sum(later == 0, axis=0) == 1).all()
    # Up to nine points, and the token that says there is no box.
    assert later.max() <= 10
    kinds = {tuple(prompt.kinds.tolist()) for one in rounds[1:] for prompt in one.prompts if len(prompt)}
    assert all(set(kind[:-1]) <= {0, 1} and kind[-1] == -1 for kind in kinds)


def test_the_first_prompt_is_nothing_a_point_or_a_box_equally_often(tiny: Sam, batch) -> None:
    _, masks, _ = batch
    drawn = [interactive._first(np.random.default_rng([seed, 2]), masks[0].numpy(), "any") for seed in range(600)]
    share = np.bincount([0 if len(p) == 0 else 1 if p.kinds[0] == 1 else 2 for p in drawn]) / 600
    assert share == pytest.approx([1 / 3] * 3, abs=0.06)


def test_the_image_is_encoded_once_for_all_rounds(tiny: Sam, batch, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks, seeds = batch
    calls = []
    real = interactive.encode
    monkeypatch.setattr(interactive, "encode", lambda *args: calls.append(1) or real(*args))
    with torch.no_grad():
        list(interactive_rounds(TrainableSam(tiny), images, masks, seeds))
    assert len(calls) == 1


def test_mixed_precision_leaves_prompts_where_they_are(tiny: Sam, batch, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks, seeds = batch
    embedded = []
    real = decoding._decoded
    monkeypatch.setattr(decoding, "_decoded", lambda *args: embedded.append(args[2]) or real(*args))
    for amp in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=amp):
            list(interactive_rounds(TrainableSam(tiny), images, masks, seeds, Interaction(rounds=1, first="box")))
    assert torch.equal(*embedded)


def test_only_round_zero_trains_the_encoder(tiny: Sam, batch) -> None:
    images, masks, seeds = batch
    weight = tiny.image_encoder.patch_embed.proj.weight
    for one in interactive_rounds(TrainableSam(tiny), images, masks, seeds, Interaction(rounds=3)):
        tiny.zero_grad()
        one.loss.mean().backward()
        assert (weight.grad is not None) == (one.number == 0)


@pytest.mark.parametrize(("name", "loss"), [("sam", sam_loss), ("cross-entropy", mask_loss)])
def test_answers_are_held_to_the_loss_that_was_chosen(tiny: Sam, batch, name: str, loss) -> None:
    images, masks, seeds = batch
    with torch.no_grad():
        [one] = interactive_rounds(TrainableSam(tiny), images, masks, seeds, Interaction(rounds=1, loss=name))
        logits, iou, _ = TrainableSam(tiny)(images, one.prompts)
        upscaled = functional.interpolate(logits, masks.shape[-2:], mode="bilinear")
    assert torch.allclose(one.loss, loss(upscaled, masks[:, None].float(), iou)[:, 0])


def test_what_is_drawn_does_not_depend_on_the_batch(tiny: Sam, batch) -> None:
    images, masks, seeds = batch
    model = TrainableSam(tiny, drop_path=0.5)
    how = Interaction(rounds=4)
    with torch.no_grad():
        together = list(interactive_rounds(model, images, masks, seeds, how))
        alone = list(interactive_rounds(model, images[2:3], masks[2:3], seeds[2:3], how))
    for whole, single in zip(together, alone, strict=True):
        assert np.array_equal(whole.prompts[2].coordinates, single.prompts[0].coordinates)
        assert whole.loss[2].item() == pytest.approx(single.loss[0].item(), rel=1e-3)


def test_another_epoch_draws_other_prompts(tiny: Sam, batch) -> None:
    images, masks, _ = batch
    with torch.no_grad():
        first, second = (
            list(interactive_rounds(TrainableSam(tiny), images[:1], masks[:1], [(7, epoch, 0)])) for epoch in (0, 1)
        )
    assert any(
        a.prompts[0].coordinates.tolist() != b.prompts[0].coordinates.tolist()
        for a, b in zip(first, second, strict=True)
    )


def test_dropped_branches_are_seeded_and_the_first_block_keeps_its_own(tiny: Sam) -> None:
    model = TrainableSam(tiny, drop_path=0.5)
    like = torch.zeros(())
    kept = model._kept([(0, 0, sample) for sample in range(200)], like)
    assert kept.shape == (2, 2, 200)
    assert (kept[0] == 1).all()
    assert set(kept[1].unique().tolist()) == {0.0, 2.0}
    assert kept[1].mean().item() == pytest.approx(1.0, abs=0.15)
    assert torch.equal(kept, model._kept([(0, 0, sample) for sample in range(200)], like))


def test_checkpointing_changes_the_memory_and_not_the_gradients(tiny: Sam, batch) -> None:
    images, masks, seeds = batch
    gradients = []
    for checkpointed in (False, True):
        tiny.zero_grad()
        model = TrainableSam(tiny, drop_path=0.3, checkpointed=checkpointed)
        next(interactive_rounds(model, images, masks, seeds)).loss.mean().backward()
        gradients.append(tiny.image_encoder.patch_embed.proj.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    assert (gradients[0] - gradients[1]).abs().max() < 1e-6


def test_a_few_batches_lower_the_loss(tiny: Sam, batch) -> None:
    images, masks, seeds = batch
    model = TrainableSam(tiny)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    means = []
    for epoch in range(6):
        losses = []
        for one in interactive_rounds(model, images, masks, [(7, epoch, s[2]) for s in seeds]):
            optimiser.zero_grad()
            one.loss.mean().backward()
            optimiser.step()
            losses.append(one.loss.mean().item())
        means.append(np.mean(losses))
    assert means[-1] < 0.7 * means[0]


def test_an_evaluation_asks_with_nothing_a_point_or_the_exact_box(batch) -> None:
    mask = batch[1][0].numpy()
    assert len(evaluation_prompt(mask, "none", (0, 0))) == 0
    assert evaluation_prompt(mask, "box", (0, 0)).coordinates.tolist() == [[12, 10], [43, 39]]
    point = evaluation_prompt(mask, "point", (0, 0))
    assert point.kinds.tolist() == [1, -1]
    assert point.coordinates.tolist() == evaluation_prompt(mask, "point", (0, 0)).coordinates.tolist()


@pytest.mark.parametrize("how", [{"rounds": 0}, {"most_points": 0}, {"first": "circle"}, {"loss": "dice"}])
def test_an_interaction_that_cannot_be_is_refused(how: dict) -> None:
    with pytest.raises(InputError):
        Interaction(**how)
