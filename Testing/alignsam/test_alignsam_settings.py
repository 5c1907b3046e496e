"""The paper's settings, its ablations, and values that mean nothing."""

import json

import pytest

from adaptsam.alignsam import AlignSamSettings, EnvironmentSettings, TrainingSettings, ablation_settings
from adaptsam.errors import InputError


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = AlignSamSettings()
    assert settings.environment.side**2 == 100
    assert settings.environment.steps == 15
    assert not settings.environment.mask_taken
    training = settings.training
    assert (training.episodes, training.epochs, training.learning_rate) == (50, 20, 1e-4)
    assert (training.gamma, training.gae_lambda, training.clip) == (0.99, 1.0, 0.2)
    assert settings.recalibration_updates == 1
    assert AlignSamSettings(branch="explicit").recalibration_updates == 5


def test_every_row_of_the_ablations_differs_from_the_paper_in_one_thing() -> None:
    rows = ablation_settings()
    assert rows[2, "Ours"] == rows[4, "Implicit Branch"] == rows[5, "T=15"] == AlignSamSettings()
    assert rows[2, "w/o RL"].policy == "random"
    assert rows[2, "w/o SRM"].labels == "positive"
    assert rows[2, "w/o MSI"].environment.steps == 15
    assert rows[2, "w/o MSI"].in_use.steps == 1
    assert rows[4, "Explicit Branch"].branch == "explicit"
    assert [rows[5, f"T={t}"].in_use.steps for t in (1, 5, 10, 15, 20)] == [1, 5, 10, 15, 20]


def test_ablations_keep_the_rest_of_a_given_setting() -> None:
    base = AlignSamSettings(environment=EnvironmentSettings(patch=100), training=TrainingSettings(episodes=7))
    assert all(row.training.episodes == 7 and row.environment.patch == 100 for row in ablation_settings(base).values())


def test_settings_survive_json() -> None:
    for settings in ablation_settings().values():
        assert AlignSamSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 70}, "do not fill a canvas of 800"),
        ({"steps": 0}, "whole number from 1"),
        ({"steps": 1.5}, "whole number from 1"),
        ({"steps": 101, "mask_taken": True}, "cannot each take another of 100 actions"),
        ({"steps": 1001}, "at most 1000 steps"),
        ({"canvas": 600, "patch": 2}, "at most 256 patches a side"),
    ],
)
def test_an_impossible_game_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EnvironmentSettings(**values)


def test_other_impossible_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"'gamma' is 1\.5; give a number above 0, at most 1"):
        TrainingSettings(gamma=1.5)
    for rate in (float("inf"), float("nan"), "fast"):
        with pytest.raises(InputError, match="'learning_rate' is"):
            TrainingSettings(learning_rate=rate)
    for seed in (-1, 0.5, "x"):
        with pytest.raises(InputError, match="whole number from 0"):
            TrainingSettings(seed=seed)
    with pytest.raises(InputError, match="at most 1000 steps"):
        AlignSamSettings(steps_in_use=1001)
    with pytest.raises(InputError, match="'learning_rate' is 0"):
        TrainingSettings(learning_rate=0)
    with pytest.raises(InputError, match="choose one of implicit, explicit"):
        AlignSamSettings(branch="both")
    with pytest.raises(InputError, match="not settings of AlignSAM"):
        AlignSamSettings.from_dict({"environment": {}, "training": {"colour": 1}})


def test_absence_is_not_learnt_where_every_point_is_called_positive() -> None:
    absence = TrainingSettings(learn_absence=True)
    with pytest.raises(InputError, match="Absence is learnt by the recalibration module"):
        AlignSamSettings(training=absence, labels="positive")
    rows = ablation_settings(AlignSamSettings(training=absence))
    assert not rows[2, "w/o SRM"].training.learn_absence
    assert rows[2, "w/o MSI"].training.learn_absence
