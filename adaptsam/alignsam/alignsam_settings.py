"""Settings of an agent's training and use; every row of the paper's Tables 2, 4 and 5 is a setting.

Where the paper is silent, the default is a choice of ours; docs/architecture.md lists those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from adaptsam.errors import InputError

Branch = Literal["implicit", "explicit"]
Policy = Literal["agent", "random"]
Labels = Literal["recalibration", "positive"]
Reward = Literal["point", "overlap", "coverage"]

_UPDATES: dict[Branch, int] = {"implicit": 1, "explicit": 5}
# More than any agent needs, and little enough that a forged file cannot exhaust the machine.
_MOST_PATCHES_A_SIDE, _MOST_STEPS = 256, 1000


@dataclass(frozen=True)
class EnvironmentSettings:
    """The game that the agent plays (Section 4.1).

    Attributes:
        canvas: side in pixels of the square to which every image is thought to be stretched.
        patch: side in pixels of a patch on the canvas; the centres of the patches are the actions (Eq. 3).
        steps: T, the points of an episode after the first pair.
        mask_taken: an action can be taken once only; the paper does not say so.
        reward: what an action earns in training. "point" is the paper's: 1 on the target and -1 elsewhere, as often as
            it comes. The others are ours: "coverage" pays 1 only the first time that a patch of the target is chosen,
            and -1 otherwise; "overlap" pays T times what the action adds to the intersection over union of mask and
            truth. All lie between -T and T over an episode.

    Raises :class:`InputError` for a value that means nothing.
    """

    canvas: int = 800
    patch: int = 80
    steps: int = 15
    mask_taken: bool = False
    reward: Reward = "point"

    def __post_init__(self) -> None:
        _check_whole(self, "canvas", "patch", "steps")
        if self.canvas % self.patch:
            raise InputError(f"Patches of {self.patch} pixels do not fill a canvas of {self.canvas}; choose a divisor.")
        if self.side > _MOST_PATCHES_A_SIDE:
            raise InputError(f"An agent has at most {_MOST_PATCHES_A_SIDE} patches a side, not {self.side}.")
        _check_steps(self.steps)
        _check_choice(self, "reward", Reward)
        if self.mask_taken and self.steps > self.side**2:
            raise InputError(
                f"{self.steps} steps cannot each take another of {self.side**2} actions; ask for fewer steps, smaller "
                "patches, or leave 'mask_taken' off."
            )

    @property
    def side(self) -> int:
        """Patches along one side of the canvas."""
        return self.canvas // self.patch


@dataclass(frozen=True)
class TrainingSettings:
    """Algorithm 1 with the hyper-parameters of Section 4.1.

    Attributes:
        episodes: E; in each, every training image is prompted once.
        epochs: K, gradient steps of actor and critic on what a batch of images gave.
        batch: images that are prompted together; the paper does not say how many.
        learning_rate: of Adam, for actor, critic and recalibration.
        gamma: discount factor.
        gae_lambda: 1 is the advantage of Eq. 6 and 7.
        clip: ε of Eq. 9.
        recalibration_updates: q, updates of the recalibration module a step; None for 1 (implicit) or 5 (explicit).
        learn_absence: the recalibration module also learns that nothing is there, from images without the target; the
            paper knows no such images.
        seed: of everything random.
    """

    episodes: int = 50
    epochs: int = 20
    batch: int = 10
    learning_rate: float = 1e-4
    gamma: float = 0.99
    gae_lambda: float = 1.0
    clip: float = 0.2
    recalibration_updates: int | None = None
    learn_absence: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _check_whole(self, "episodes", "epochs", "batch")
        for name in ("gamma", "gae_lambda", "clip"):
            _check_number(self, name, most=1.0)
        _check_number(self, "learning_rate")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"The AlignSAM setting 'seed' is {str(self.seed)[:40]}; give a whole number from 0.")
        if type(self.learn_absence) is not bool:
            raise InputError("The AlignSAM setting 'learn_absence' is yes or no.")
        if self.recalibration_updates is not None:
            _check_whole(self, "recalibration_updates")


@dataclass(frozen=True)
class AlignSamSettings:
    """One way to train and use an agent; the default is the paper's, for a task with implicit semantics.

    Attributes:
        environment: the game.
        training: the schedule.
        branch: of the recalibration module, "implicit" or "explicit" (Table 1).
        policy: "random" is the ablation without reinforcement learning.
        labels: "positive" calls every point foreground, the ablation without recalibration.
        steps_in_use: T on new images; None for as many as in training. 1 is the ablation without multi-step
            interaction.
    """

    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    branch: Branch = "implicit"
    policy: Policy = "agent"
    labels: Labels = "recalibration"
    steps_in_use: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("branch", Branch), ("policy", Policy), ("labels", Labels)):
            _check_choice(self, name, choices)
        if self.labels == "positive" and self.training.learn_absence:
            raise InputError("Absence is learnt by the recalibration module, which labels 'positive' leave out.")
        if self.steps_in_use is not None:
            _check_whole(self, "steps_in_use")
            _check_steps(self.steps_in_use)

    @property
    def recalibration_updates(self) -> int:
        """q: updates of the recalibration module a step."""
        return self.training.recalibration_updates or _UPDATES[self.branch]

    @property
    def in_use(self) -> EnvironmentSettings:
        """The game on new images."""
        return replace(self.environment, steps=self.steps_in_use or self.environment.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AlignSamSettings:
        """The inverse of :meth:`to_dict`.

        Raises:
            InputError: a name is unknown or a value means nothing.
        """
        try:
            parts = {
                "environment": EnvironmentSettings(**values["environment"]),
                "training": TrainingSettings(**values["training"]),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError) as error:
            raise InputError(f"These are not settings of AlignSAM ({error}).") from error


def ablation_settings(base: AlignSamSettings | None = None) -> dict[tuple[int, str], AlignSamSettings]:
    """Every row of the paper's ablations, by table and row: ``ablation_settings()[2, "w/o RL"]``.

    Table 4 compares the branches, Table 5 the numbers of steps, in training and in use. "w/o MSI" is trained as ever
    and gives a single point in use: "when SAM failed to engage in multi-step interaction during inference … compared to
    using single point prompt" (Section 4.3).
    """
    base = base or AlignSamSettings()
    present = replace(base, training=replace(base.training, learn_absence=False))
    rows = {
        (2, "Ours"): base,
        (2, "w/o RL"): replace(base, policy="random"),
        (2, "w/o SRM"): replace(present, labels="positive"),
        (2, "w/o MSI"): replace(base, steps_in_use=1),
        (4, "Implicit Branch"): replace(base, branch="implicit"),
        (4, "Explicit Branch"): replace(base, branch="explicit"),
    }
    for steps in (1, 5, 10, 15, 20):
        rows[5, f"T={steps}"] = replace(base, environment=replace(base.environment, steps=steps))
    return rows


def _check_whole(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if type(value) is not int or value < 1:
            raise InputError(f"The AlignSAM setting '{name}' is {str(value)[:40]}; give a whole number from 1.")


def _check_choice(settings: object, name: str, choices: Any) -> None:
    value = getattr(settings, name)
    if value not in get_args(choices):
        known = ", ".join(get_args(choices))
        raise InputError(f"The AlignSAM setting '{name}' is {str(value)[:40]!r}; choose one of {known}.")


def _check_number(settings: object, name: str, most: float = math.inf) -> None:
    value = getattr(settings, name)
    if type(value) not in (int, float) or not 0 < value <= most or math.isinf(value):
        wanted = "a number above 0" if math.isinf(most) else f"a number above 0, at most {most:g}"
        raise InputError(f"The AlignSAM setting '{name}' is {str(value)[:40]}; give {wanted}.")


def _check_steps(steps: int) -> None:
    if steps > _MOST_STEPS:
        raise InputError(f"An agent makes at most {_MOST_STEPS} steps, not {steps}.")
