"""Interactive training inside MONAI's engines."""

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice
from segment_anything.modeling import Sam
from torch import nn
from torch.utils.data import DataLoader

from adaptsam.errors import TrainingError
from adaptsam.finetune.interactive_training import Interaction, TrainableSam
from adaptsam.finetune.monai_engine import InteractiveUpdate, PromptedEvaluation

SIZE, ROUNDS = 64, 4


def samples(count: int = 4) -> list[dict]:
    items = []
    for number in range(count):
        mask = torch.zeros(1, SIZE, SIZE)
        mask[:, 8 + 4 * number : 34 + 4 * number, 12:44] = 1
        items.append({"image": (60 + 150 * mask).expand(3, -1, -1).clone(), "label": mask, "sample": number})
    return items


def train(
    sam: Sam, epochs: int = 1, batch: int = 4, rate: float = 1e-3, **options: int
) -> tuple[SupervisedTrainer, list[float]]:
    network = TrainableSam(sam)
    losses: list[float] = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(samples(), batch_size=batch),
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), rate),
        loss_function=nn.Identity(),
        iteration_update=InteractiveUpdate(Interaction(rounds=ROUNDS), seed=3, **options),
        decollate=False,
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"]))
    trainer.run()
    return trainer, losses


def test_a_monai_trainer_lowers_the_loss_and_steps_once_a_round(tiny: Sam) -> None:
    trainer, losses = train(tiny, epochs=8, rate=5e-3)
    assert losses[-1] < 0.8 * losses[0]
    assert len(trainer.state.output["losses"]) == ROUNDS
    names = {id(parameter): name for name, parameter in tiny.named_parameters()}
    steps = {names[id(one)]: int(state["step"]) for one, state in trainer.optimizer.state.items() if "step" in state}
    prompts = [steps.pop(name) for name in list(steps) if "point_embed" in name]
    # The encoder learns in round 0 only, what reads a mask in the others, points and boxes where there are any.
    assert set(steps.values()) == {8, 8 * (ROUNDS - 1), 8 * ROUNDS}
    assert 0 < min(prompts) < max(prompts) < 8 * ROUNDS


def test_a_batch_in_parts_takes_the_same_step(tiny: Sam) -> None:
    other = copy.deepcopy(tiny)
    train(tiny)
    train(other, accumulate=2)
    pairs = zip(tiny.state_dict().values(), other.state_dict().values(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 2e-4


def test_a_loss_that_is_not_finite_stops_before_the_step(tiny: Sam) -> None:
    with torch.no_grad():
        tiny.mask_decoder.iou_token.weight.fill_(float("nan"))
    before = tiny.image_encoder.patch_embed.proj.weight.clone()
    with pytest.raises(TrainingError, match="not finite in epoch 1, iteration 1"):
        train(tiny)
    assert torch.equal(before, tiny.image_encoder.patch_embed.proj.weight)


def test_an_evaluator_gives_monais_dice_for_each_kind_of_prompt(tiny: Sam) -> None:
    train(tiny, epochs=12, rate=5e-3)
    metrics = {
        kind: MeanDice(output_transform=lambda output, kind=kind: (output[kind], output["label"]))
        for kind in ("none", "point", "box")
    }
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(samples(), batch_size=2),
        network=TrainableSam(tiny),
        iteration_update=PromptedEvaluation(),
        key_val_metric={"none": metrics.pop("none")},
        additional_metrics=metrics,
        decollate=False,
    )
    evaluator.run()
    first = dict(evaluator.state.metrics)
    assert set(first) == {"none", "point", "box"}
    assert all(0 <= value <= 1 for value in first.values())
    assert max(first.values()) > 0.3
    evaluator.run()
    assert evaluator.state.metrics == first
