"""An agent on new images."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptsam.alignsam import (
    Agent,
    AgentImage,
    AlignSamSettings,
    Evidence,
    Prompted,
    TrainingImage,
    UseSettings,
    ablation_settings,
    go_on,
    prompt,
    prompt_cases,
    score,
)
from adaptsam.alignsam.actions import Actions
from adaptsam.errors import Cancelled, InputError
from adaptsam.sam import DecodeRequest, EmbeddingStore

Pictures = list[TrainingImage]


@pytest.fixture
def agent(short: AlignSamSettings, store: EmbeddingStore) -> Agent:
    agent = Agent(short, store.model.embed_dim)
    torch.manual_seed(0)
    torch.nn.init.normal_(agent.actor.head.weight)
    return agent


def images(pictures: Pictures) -> list[np.ndarray]:
    return [one.image for one in pictures]


def test_the_mask_after_each_step_is_what_sam_makes_of_the_prompts_so_far(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    for one, result in zip(pictures, prompt(store, agent, images(pictures)), strict=True):
        assert result.points.shape == (5, 2)
        assert result.labels[:2].tolist() == [1, 0]
        assert result.step_masks is not None
        assert result.step_masks.shape == (4, *one.mask.shape)
        assert np.array_equal(result.step_masks[-1], result.mask)
        [embedding] = store.get([one.image])
        for count, mask in enumerate(result.step_masks, start=2):
            [decoded] = store.model.decode([DecodeRequest(embedding, result.points[:count], result.labels[:count])])
            expected = store.model.upscale(decoded.logits[0], embedding).numpy()
            clear = np.abs(expected) > 1e-3
            assert np.array_equal(mask[clear], expected[clear] > 0)


def test_the_answer_is_the_same_every_time_in_any_batch_and_without_a_look_at_the_truth(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    together = prompt(store, agent, images(pictures))
    again = prompt(store, agent, images(pictures), UseSettings(batch=1), keep_steps=False)
    embeddings = store.get(images(pictures))
    wrong = [AgentImage(e, ~one.mask) for e, one in zip(embeddings, pictures, strict=True)]
    for first, second, third in zip(together, again, prompt_cases(store.model, agent, wrong), strict=True):
        assert second.step_masks is None
        assert np.array_equal(first.points, second.points)
        np.testing.assert_allclose(first.logits, second.logits, rtol=1e-3, atol=1e-3)
        assert np.array_equal(first.points, third.points)
        np.testing.assert_array_equal(first.logits, third.logits)


def test_actions_can_be_drawn_as_in_training(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    drawn = [prompt(store, agent, images(pictures), UseSettings(greedy=False, seed=seed)) for seed in (1, 1, 2)]
    points = [np.stack([one.points for one in results]) for results in drawn]
    assert np.array_equal(points[0], points[1])
    assert not np.array_equal(points[0], points[2])


def test_no_action_is_taken_twice_if_that_is_asked_for(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    agent.settings = replace(agent.settings, environment=replace(agent.settings.environment, steps=16))
    for result in prompt(store, agent, images(pictures), UseSettings(mask_taken=True)):
        assert len(np.unique(result.points[2:], axis=0)) == 16


def test_an_image_whose_mask_does_not_change_is_left_early_and_the_others_go_on(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    agent.settings = replace(agent.settings, environment=replace(agent.settings.environment, steps=12))
    whole = prompt(store, agent, images(pictures))
    early = prompt(store, agent, images(pictures), UseSettings(stop_early=True, unchanged=0.9, patience=2))
    lengths = [len(one.points) for one in early]
    assert min(lengths) < 14
    for long, brief in zip(whole, early, strict=True):
        assert long.step_masks is not None
        assert brief.step_masks is not None
        count = len(brief.step_masks)
        assert np.array_equal(brief.points, long.points[: count + 1])
        assert (brief.step_masks != long.step_masks[:count]).mean() < 1e-3
        low = [
            np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b))
            for a, b in zip(long.step_masks[:-1], long.step_masks[1:], strict=True)
        ]
        if count < 13:
            # Measured at the decoder's resolution; at the image's it may differ a little.
            assert min(low[count - 3 : count - 1]) > 0.85


def test_the_ablations_in_use(store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings) -> None:
    found = {}
    for key, settings in ablation_settings(short).items():
        if key[0] == 2:
            agent = Agent(settings, store.model.embed_dim)
            torch.nn.init.normal_(agent.actor.head.weight)
            found[key[1]] = prompt(store, agent, images(pictures))
    assert all(len(one.points) == 3 for one in found["w/o MSI"])
    assert all(len(one.points) == 3 and one.first == 0 and one.labels.all() for one in found["w/o SRM"])
    assert all(one.step_masks is not None and len(one.step_masks) == 3 for one in found["w/o SRM"])
    assert len({tuple(one.points[2]) for one in found["w/o RL"]}) > 1


def test_scores_count_what_the_truth_says(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    results = prompt(store, agent, images(pictures))
    found = score(results, [one.mask for one in pictures])
    returns, right, overlaps = [], [], []
    for result, one in zip(results, pictures, strict=True):
        on = [bool(one.mask[int(y + 0.5), int(x + 0.5)]) for x, y in result.points[2:]]
        returns.append(sum(1 if hit else -1 for hit in on))
        right += [hit == bool(label) for hit, label in zip(on, result.labels[2:], strict=True)]
        overlaps.append((result.mask & one.mask).sum() / (result.mask | one.mask).sum())
    assert found.mean_return == pytest.approx(np.mean(returns))
    assert found.label_accuracy == pytest.approx(np.mean(right))
    assert found.iou[-1] == pytest.approx(np.mean(overlaps))
    assert len(found.iou) == 4


def test_the_explicit_branch_takes_maps_or_makes_them(
    store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings
) -> None:
    agent = Agent(replace(short, branch="explicit"), store.model.embed_dim)
    maps = [np.random.default_rng(row).random((9, 7)) for row in range(3)]
    handed = prompt(store, agent, images(pictures), attention=maps)
    made = prompt(store, agent, images(pictures), attention=lambda asked: maps[: len(asked)])
    assert all(np.array_equal(a.points, b.points) for a, b in zip(handed, made, strict=True))
    with pytest.raises(InputError, match="needs the attention map of a text prompt"):
        prompt(store, agent, images(pictures))


def test_an_agent_of_another_sam_is_refused(store: EmbeddingStore, pictures: Pictures, short: AlignSamSettings) -> None:
    with pytest.raises(InputError, match="features of 256 channels, but this SAM makes 32"):
        prompt(store, Agent(short, 256), images(pictures))


def test_use_can_be_cancelled_between_batches(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    told: list[tuple[str, int, int]] = []

    def cancel(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        if done == 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        prompt(store, agent, images(pictures), UseSettings(batch=2), progress=cancel)
    assert told == [("prompt", 0, 3), ("prompt", 2, 3)]


@pytest.mark.parametrize("values", [{"patience": 0}, {"batch": 0}, {"unchanged": 0.0}, {"unchanged": 1.5}])
def test_use_that_means_nothing_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        UseSettings(**values)  # type: ignore[arg-type]


@pytest.mark.slow  # a process that imports everything
def test_using_an_agent_needs_neither_torchrl_nor_gymnasium_nor_monai() -> None:
    code = (
        "import sys; sys.modules.update(torchrl=None, tensordict=None, gymnasium=None, tensorboard=None, monai=None)\n"
        "from adaptsam.alignsam import Agent, AlignSamSettings, Environment, prompt\n"
        "from adaptsam.errors import InputError\n"
        "del sys.modules['monai']\n"
        "for name in ('train', 'AlignEnv'):\n"
        "    try: getattr(__import__('adaptsam.alignsam', fromlist=['x']), name)\n"
        "    except InputError as error: assert 'adaptsam[align]' in str(error)\n"
        "    else: raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_evidence_of_a_mask_is_what_sam_and_the_recalibration_module_say_of_it(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    for one, result in zip(pictures, prompt(store, agent, images(pictures)), strict=True):
        [embedding] = store.get([one.image])
        [decoded] = store.model.decode([DecodeRequest(embedding, result.points, result.labels)])
        logits, evidence = decoded.logits[0], result.evidence
        assert evidence.predicted_iou == pytest.approx(float(decoded.iou[0].clamp(0, 1)), abs=1e-4)
        overlap = int((logits > 1).sum()) / max(1, int((logits > -1).sum()))
        assert evidence.stability == pytest.approx(overlap, abs=0.02)
        assert 0 <= evidence.score <= 1
        product = evidence.score * evidence.predicted_iou * evidence.stability
        assert evidence.total == pytest.approx(product ** (1 / 3))


def test_evidence_of_an_image_does_not_depend_on_its_batch(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    early = UseSettings(stop_early=True, unchanged=0.2, patience=1)
    together = prompt(store, agent, images(pictures), early)
    for image, one in zip(images(pictures), together, strict=True):
        [alone] = prompt(store, agent, [image], early)
        assert alone.evidence.total == pytest.approx(one.evidence.total, abs=1e-4)


def test_without_recalibration_the_score_says_nothing(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    agent.settings = replace(agent.settings, labels="positive")
    for result in prompt(store, agent, images(pictures)):
        assert result.evidence.score == (pytest.approx(1) if result.mask.any() else 0)


def test_an_agent_goes_on_from_prompts_to_the_masks_that_it_would_have_made(
    store: EmbeddingStore, pictures: Pictures, agent: Agent
) -> None:
    [whole] = prompt(store, agent, images(pictures)[:1])
    [embedding] = store.get(images(pictures)[:1])
    model, case = store.model, AgentImage(embedding)
    again = go_on(model, agent, case, whole.points[:3], whole.labels[:3])
    assert np.allclose(again.points, whole.points)
    assert np.array_equal(again.labels, whole.labels)
    assert again.step_masks is not None
    assert whole.step_masks is not None
    assert (again.step_masks != whole.step_masks).mean() < 1e-3
    flipped = go_on(model, agent, case, whole.points[:3], 1 - whole.labels[:3], play=False)
    assert flipped.labels.tolist() == (1 - whole.labels[:3]).tolist()
    assert flipped.step_masks is not None
    assert len(flipped.step_masks) == 2
    single = go_on(model, agent, case, whole.points[:1], [1], UseSettings(steps=1))
    assert len(single.points) == 2
    with pytest.raises(InputError, match="at least one prompt"):
        go_on(model, agent, case, np.zeros((0, 2)), [])


def test_the_number_of_steps_can_be_chosen(store: EmbeddingStore, pictures: Pictures, agent: Agent) -> None:
    [longer] = prompt(store, agent, images(pictures)[:1], UseSettings(steps=5))
    [shorter] = prompt(store, agent, images(pictures)[:1], UseSettings(steps=1))
    assert (len(longer.points), len(shorter.points)) == (7, 3)
    assert np.array_equal(longer.points[:3], shorter.points)
    with pytest.raises(InputError, match="whole number of steps"):
        UseSettings(steps=0)


def test_a_point_counts_as_it_did_in_the_game_where_a_centre_lies_between_two_pixels() -> None:
    actions, truth = Actions(10, 10), np.zeros((360, 360), bool)
    truth[126, 126] = True  # 3.5 / 10 · 360 - 0.5 comes as 125.49…
    assert actions.look_up(truth)[33]
    logits, evidence = np.zeros(truth.shape, np.float32), Evidence(1.0, 1.0, 1.0)
    one = Prompted(logits, actions.points(truth.shape)[[33]], np.ones(1, int), 0, evidence, truth[None])
    assert score([one], [truth]).mean_return == 1


def test_an_agent_is_brought_to_the_device_of_its_sam(
    store: EmbeddingStore, pictures: Pictures, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(agent, "to", asked.append)
    prompt(store, agent, images(pictures)[:1])
    assert asked == [store.model.device]
