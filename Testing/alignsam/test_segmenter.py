"""An agent prompts whatever segmenter it is handed, and learns to, without any SAM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from region_growing import GrayStore, GrayValues, RegionGrowing, Silence, blobs

from adaptsam.alignsam import (
    AgentImage,
    AlignSamSettings,
    Environment,
    EnvironmentSettings,
    Segmenter,
    Trained,
    TrainingSettings,
    prompt,
    score,
    train,
)
from adaptsam.errors import InputError

STORE = GrayStore()
LEARNT, UNSEEN = [blobs(seed) for seed in range(12)], [blobs(seed) for seed in range(100, 112)]
SETTINGS = AlignSamSettings(
    environment=EnvironmentSettings(canvas=64, patch=8, steps=6),
    training=TrainingSettings(episodes=8, epochs=6, batch=12, learning_rate=5e-3),
)


def trained_with(settings: AlignSamSettings) -> Trained:
    return train(STORE, LEARNT, settings, session=RegionGrowing)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return trained_with(SETTINGS)


def scored(trained: Trained, policy: str) -> tuple[float, float]:
    """Mean return, and overlap after the last step, on images that nobody learnt from."""
    agent, own = trained.agent, trained.agent.settings
    agent.settings = replace(own, policy=policy)
    results = prompt(STORE, agent, [one.image for one in UNSEEN], session=RegionGrowing)
    agent.settings = own
    scores = score(results, [one.mask for one in UNSEEN])
    return scores.mean_return, scores.iou[-1]


def test_the_toy_is_a_segmenter() -> None:
    [embedding] = STORE.get([UNSEEN[0].image])
    toy: Segmenter = RegionGrowing([embedding])
    y, x = np.argwhere(UNSEEN[0].mask)[0]
    toy.add(np.array([[[x, y]]], float), np.array([[1]]))
    found = (toy.decode()[0] > 0).numpy()
    assert found[y, x]
    assert found[~UNSEEN[0].mask].mean() < 0.05
    assert found.sum() < UNSEEN[0].mask.sum()


def test_an_agent_learns_beyond_random_actions_without_any_sam(trained: Trained) -> None:
    (agent, overlap), (random, chance) = scored(trained, "agent"), scored(trained, "random")
    assert agent > random + 3
    assert overlap > chance + 0.1
    assert overlap > 0.8


@pytest.mark.parametrize("reward", ["overlap", "coverage"])
def test_the_other_rewards_teach_as_well(reward: str) -> None:
    game = replace(SETTINGS.environment, reward=reward)
    trained = trained_with(replace(SETTINGS, environment=game))
    assert scored(trained, "agent")[1] > scored(trained, "random")[1] + 0.1


def test_the_module_learns_what_it_sees_on_a_new_image_before_any_point() -> None:
    """With a segmenter that answers nothing, all features are 0 once a point was given: M = 1 is the only lesson."""
    game = replace(SETTINGS.environment, steps=1)
    settings = AlignSamSettings(game, replace(SETTINGS.training, episodes=40, batch=4), policy="random")
    agent = train(STORE, LEARNT, settings, session=Silence).agent
    results = prompt(STORE, agent, [one.image for one in UNSEEN], session=Silence)
    places = [result.points[0].astype(int) for result in results]
    assert np.mean([one.mask[y, x] for one, (x, y) in zip(UNSEEN, places, strict=True)]) == 1


def test_a_training_batch_decodes_once_for_the_first_pair_and_once_a_step() -> None:
    decoded = []

    class Counted(RegionGrowing):
        def decode(self):
            decoded.append(1)
            return super().decode()

    settings = replace(SETTINGS, training=replace(SETTINGS.training, episodes=1))
    train(STORE, LEARNT, settings, session=Counted)
    assert len(decoded) == 1 + SETTINGS.environment.steps


def test_a_model_without_a_decoder_needs_a_segmenter() -> None:
    [embedding] = STORE.get([UNSEEN[0].image])
    with pytest.raises(InputError, match="hand in a segmenter as 'session'"):
        Environment(GrayValues(), [AgentImage(embedding, UNSEEN[0].mask)], SETTINGS.environment)


def test_rewards_are_what_their_names_say() -> None:
    one = UNSEEN[0]
    [embedding] = STORE.get([one.image])
    hit, miss = (int(np.flatnonzero(flags)[0]) for flags in _on_target(one.mask))
    actions = [[hit], [hit], [miss], [miss]]
    paid = {}
    for reward in ("point", "coverage", "overlap"):
        game = replace(SETTINGS.environment, reward=reward)
        environment = Environment(GrayValues(), [AgentImage(embedding, one.mask)], game, session=RegionGrowing)
        environment.reset()
        paid[reward] = [float(environment.step(action).rewards) for action in actions]  # type: ignore[arg-type]
        last = float(environment.iou())
    assert paid["point"] == [1, 1, -1, -1]
    assert paid["coverage"] == [1, -1, -1, -1]
    assert paid["overlap"][0] > 0
    assert paid["overlap"][1] == 0
    assert sum(paid["overlap"]) == pytest.approx(SETTINGS.environment.steps * last, abs=1e-5)


def _on_target(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hits = Environment(
        GrayValues(), [AgentImage(STORE.get([UNSEEN[0].image])[0], mask)], SETTINGS.environment, session=RegionGrowing
    ).actions.look_up(mask)
    return hits, ~hits
