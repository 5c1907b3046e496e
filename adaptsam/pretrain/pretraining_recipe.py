"""The numbers of the bundled model's training, for a CPU and for a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from adaptsam.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Recipe of the training: all that decides the result, apart from the machine and the model it starts from.

    Attributes:
        encoder_steps, decoder_steps, joint_steps: of the three stages.
        encoder_minutes, decoder_minutes, joint_minutes: how long a stage lasts instead, over all runs, where not 0.
        pool: batches that are encoded once for the second stage.
        batch: pairs of images at a time, a share ``phantoms`` of them of phantoms.
        prompts: of a step of the second stage.
        prompts_an_image: of a step of the third.
        rounds: how often each of them is asked for; first with a box in a share ``boxes``.
        encoder_rate, decoder_rate, joint_rate: the highest learning rates, after ``warm_up`` steps.
        average: what is written is a moving average of the weights, taken every ten steps; this much of it stays.

    Raises:
        InputError: a share is none, or there is nothing to draw from.
    """

    encoder_steps: int = 350
    encoder_minutes: float = 0.0
    pool: int = 100
    decoder_steps: int = 1800
    decoder_minutes: float = 0.0
    joint_steps: int = 1500
    joint_minutes: float = 0.0
    batch: int = 4
    prompts: int = 24
    prompts_an_image: int = 3
    rounds: int = 2
    boxes: float = 0.5
    phantoms: float = 0.5
    encoder_rate: float = 1e-3
    decoder_rate: float = 6e-4
    joint_rate: float = 2e-4
    warm_up: int = 50
    weight_decay: float = 0.05
    average: float = 0.9
    temperature: float = 0.07
    contrast_weight: float = 0.3
    seed: int = 2026

    def __post_init__(self) -> None:
        for name in ("boxes", "phantoms", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a share, from 0 to 1, not {getattr(self, name)}.")
        for name in ("pool", "batch", "prompts", "prompts_an_image", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")


#: For half an hour of one H100: three runs of eight and a half minutes, of which 24 minutes are training.
GPU = Recipe(
    encoder_minutes=2.0,
    pool=40,
    decoder_minutes=2.0,
    joint_minutes=20.0,
    batch=64,
    prompts=512,
    prompts_an_image=4,
    rounds=3,
    phantoms=0.25,
    decoder_rate=8e-4,
    joint_rate=6e-4,
    warm_up=300,
    average=0.99,
)

RECIPES = {"cpu": Recipe(), "gpu": GPU}
