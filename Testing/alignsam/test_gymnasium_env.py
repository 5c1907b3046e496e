"""Gymnasium's interface: its own checks, and equality of the single and the vectorised environment."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from adaptsam.alignsam import AgentImage, AlignEnv, AlignVectorEnv, EnvironmentSettings
from adaptsam.errors import InputError
from adaptsam.sam import SamModel

GAME = EnvironmentSettings(canvas=80, patch=20, steps=4)


@pytest.mark.parametrize("row", [0, 1])
def test_gymnasium_finds_no_fault(model: SamModel, cases: list[AgentImage], row: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(AlignEnv(model, cases[row], GAME), skip_render_check=True)
    complaints = [str(one.message) for one in caught if "infinity" not in str(one.message)]
    assert not [one for one in complaints if "spec" not in one], complaints


def test_many_images_together_play_as_each_alone_step_by_step(model: SamModel, cases: list[AgentImage]) -> None:
    together = AlignVectorEnv(model, cases, GAME)
    alone = [AlignEnv(model, case, GAME) for case in cases]
    for seed in (3, 8):
        observations, infos = together.reset(seed=seed)
        for row, environment in enumerate(alone):
            observation, info = environment.reset(seed=seed + row)
            np.testing.assert_allclose(observations[row], observation, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(infos["points"][row], info["points"])
        for step in range(4):
            actions = together.action_space.sample()
            observations, rewards, terminated, truncated, infos = together.step(actions)
            assert truncated.all() == (step == 3)
            for row, environment in enumerate(alone):
                observation, reward, ended, cut, info = environment.step(actions[row])
                np.testing.assert_allclose(observations[row], observation, rtol=1e-4, atol=1e-4)
                assert (rewards[row], terminated[row], truncated[row]) == (reward, ended, cut)
                np.testing.assert_allclose(infos["iou"][row], info["iou"], atol=1e-5)
                np.testing.assert_array_equal(infos["labels"][row], info["labels"])
            assert observations.shape == together.observation_space.shape


def test_the_action_mask_says_what_is_left(model: SamModel, cases: list[AgentImage]) -> None:
    game = EnvironmentSettings(canvas=80, patch=20, steps=4, mask_taken=True)
    environment = AlignEnv(model, cases[0], game)
    environment.reset(seed=0)
    *_, info = environment.step(np.int64(7))
    assert environment.action_space.sample(mask=info["action_mask"]) != 7
    assert np.flatnonzero(info["action_mask"] == 0).tolist() == [7]


def test_a_game_without_truth_is_refused(model: SamModel, cases: list[AgentImage]) -> None:
    with pytest.raises(InputError, match="needs a truth"):
        AlignEnv(model, AgentImage(cases[0].embedding), GAME)


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3)])
def test_a_seed_of_numpys_is_as_good_as_pythons(model: SamModel, cases: list[AgentImage], seed: np.integer) -> None:
    alone, together = AlignEnv(model, cases[0], GAME), AlignVectorEnv(model, cases, GAME)
    _, plain = alone.reset(seed=3)
    np.testing.assert_array_equal(alone.reset(seed=seed)[1]["points"], plain["points"])  # type: ignore[arg-type]
    _, plain = together.reset(seed=3)
    np.testing.assert_array_equal(together.reset(seed=seed)[1]["points"], plain["points"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(together.reset(seed=np.arange(3, 6))[1]["points"], plain["points"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 seeds were given for 3 images"):
        together.reset(seed=[1, 2])


def test_reset_begins_as_its_options_say(model: SamModel, cases: list[AgentImage]) -> None:
    def corner(spatial: torch.Tensor, semantic: torch.Tensor | None) -> torch.Tensor:
        score = torch.full_like(spatial[:, 0], 0.5)
        score[:, 0, 0], score[:, -1, -1] = 1.0, 0.0
        return score

    environment = AlignVectorEnv(model, cases, GAME, scorer=corner)
    sizes = np.array([case.embedding.original_size[::-1] for case in cases])
    _, info = environment.reset(seed=1, options={"first": "scorer"})
    assert (info["points"][:, 0] < sizes / 4).all()
    assert (info["points"][:, 1] > sizes * 3 / 4 - 1).all()
    _, info = environment.reset(options={"first": "none", "reset_mask": np.ones(3, bool)})
    assert info["points"].shape == (3, 0, 2)
    assert info["iou"].tolist() == [0, 0, 0]
    _, info = environment.reset(options={"first": "truth"})
    assert all(case.truth[int(y), int(x)] for case, (x, y) in zip(cases, info["points"][:, 0], strict=True))  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 1}, "knows no option 'start'"),
        ({"first": "middle"}, "one of truth, scorer, none, not 'middle'"),
        ({"first": "scorer"}, "none was given"),
        ({"reset_mask": np.array([True, False, True])}, "All images begin together"),
    ],
)
def test_reset_refuses_options_that_mean_nothing(
    model: SamModel, cases: list[AgentImage], options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        AlignVectorEnv(model, cases, GAME).reset(options=options)
