"""SAM's interactive training (Kirillov et al., 2023, App. A) as the P²SAM paper uses it to fine-tune (Sec. 3.3).

A batch is decoded in 11 rounds, and the optimiser steps after each. In round 0 every image gets nothing, one point of
its mask, or its box with noise. Each later round gets the logits of the round before, and 1 to 9 points from where they
were wrong; in one round of those, drawn at random, and in the last one, there is no point. The image is encoded in
round 0 and its embedding is a constant in the others.

Everything that is drawn depends on the seed, the epoch, the sample and the round alone: not on the batch it is in or
the process that works on it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.finetune.mask_losses import LOSSES
from adaptsam.finetune.prompt_simulation import Mask, box_around, closed, draw_points, error_points, noisy_box
from adaptsam.finetune.tuning import Tuning
from adaptsam.sam import SamModel, encode
from adaptsam.sam.prompt_encoder import PromptTokens

PROMPTS = ("none", "point", "box")
"""What an image may get in round 0, and what a model is evaluated with."""


@dataclass(frozen=True)
class Interaction:
    """Settings of interactive prompting, and of the losses of its answers.

    Args:
        rounds: of decoding; the published 11. One is training without interaction, as SAMed does with ``first="none"``.
        most_points: in one later round.
        first: "any" draws round 0's prompt evenly from :data:`PROMPTS`; one of them gives always that.
        loss: a key of :data:`~adaptsam.finetune.mask_losses.LOSSES`: "sam", as published, or "cross-entropy".
    """

    rounds: int = 11
    most_points: int = 9
    first: str = "any"
    loss: str = "sam"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.most_points < 1:
            raise InputError("An interaction needs at least one round, and one point in a round.")
        if self.first not in ("any", *PROMPTS):
            raise InputError(f"The first prompt is any, {', '.join(PROMPTS)}, not {self.first!r}.")
        if self.loss not in LOSSES:
            raise InputError(f"The loss is {' or '.join(LOSSES)}, not {self.loss!r}.")


@dataclass(frozen=True, eq=False)
class Round:
    """One round: ``loss`` of each image (B,), ``logits`` (B, 1, 4h, 4w), ``prompts`` in pixels of the model's input."""

    number: int
    loss: Tensor
    logits: Tensor
    prompts: Sequence[PromptTokens]


class TrainableSam(nn.Module):
    """A SAM as a module of one call, so that several processes can train it together.

    Args:
        sam: with its tuning applied.
        drop_path: how often the last block's branches are left out; the first one's never, the others' in between.
        checkpointed: less memory for the encoder, at a third more of its arithmetic.
    """

    def __init__(self, sam: Sam, drop_path: float = 0.0, checkpointed: bool = False) -> None:
        super().__init__()
        self.sam, self.drop_path, self.checkpointed = sam, drop_path, checkpointed

    def forward(
        self,
        given: Tensor,
        tokens: Sequence[PromptTokens],
        previous: Tensor | None = None,
        seeds: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 1, 4h, 4w), predicted IoU (B, 1) and embeddings (B, C, h, w).

        Args:
            given: images (B, 3, S, S), 0 to 255, to be encoded; or embeddings (B, C, h, w).
            tokens: of each image, as SAM wants them.
            previous: logits (B, 4h, 4w) of the round before, or None.
            seeds: of each image's drop path; None without it.
        """
        sam = self.sam
        features = given
        if given.shape[-1] == sam.image_encoder.img_size:
            pixels = sam.preprocess(given)
            kept = self._kept(seeds, given) if seeds is not None and self.drop_path else None
            trained = torch.is_grad_enabled() and any(p.requires_grad for p in sam.image_encoder.parameters())
            with torch.set_grad_enabled(trained):
                features = encode(sam.image_encoder, pixels, kept, self.checkpointed and trained)
        before = [None] * len(tokens) if previous is None else list(previous)
        logits, iou = decode_prompts(sam, features, tokens, before, multimask=False)
        return logits.float(), iou.float(), features

    def _kept(self, seeds: Sequence[Sequence[int]], like: Tensor) -> Tensor:
        depth = len(self.sam.image_encoder.blocks)
        rate = np.linspace(0.0, self.drop_path, depth)[:, None]
        drawn = np.stack([np.random.default_rng([*seed, 1]).random((depth, 2)) for seed in seeds], axis=-1)
        return torch.from_numpy((drawn >= rate[..., None]) / (1 - rate[..., None])).to(like)


def trainable(base: SamModel, tuning: Tuning, device: torch.device, checkpointed: bool = False) -> TrainableSam:
    """A copy of a model, ready to be trained on a device; ``base`` is left as it is.

    Raises:
        InputError: the tuning cannot be applied to this model.
    """
    sam = copy.deepcopy(base.sam).to(device)
    tuning.apply(sam)
    return TrainableSam(sam, tuning.dropped, checkpointed)


def interactive_rounds(
    model: nn.Module, images: Tensor, truth: Tensor, seeds: Sequence[Sequence[int]], how: Interaction | None = None
) -> Iterator[Round]:
    """The rounds of one batch. Take the optimiser's step after each, before the next is asked for.

    Args:
        model: a :class:`TrainableSam`, or it in a wrapper for several processes.
        images: (B, 3, S, S), 0 to 255, padded as SAM's input.
        truth: bool (B, S, S).
        seeds: for each image whole numbers that name it: the seed, the epoch, the sample.
        how: the interaction; the published one by default.
    """
    how = how or Interaction()
    masks = truth.cpu().numpy()
    target = truth[:, None].float()
    quiet = [int(_rng(seed, 0).integers(1, max(2, how.rounds - 1))) for seed in seeds]
    given, previous = images, None
    guesses = np.zeros_like(masks)
    for number in range(how.rounds):
        tokens = [
            _first(_rng(seed, 2), mask, how.first)
            if number == 0
            else _later(_rng(seed, 2 + number), mask, guess, number in (still, how.rounds - 1), how.most_points)
            for seed, mask, guess, still in zip(seeds, masks, guesses, quiet, strict=True)
        ]
        logits, iou, features = model(given, tokens, previous, seeds if number == 0 else None)
        upscaled = functional.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
        yield Round(number, LOSSES[how.loss](upscaled, target, iou)[:, 0], logits.detach(), tokens)
        given, previous = features.detach(), logits.detach()[:, 0]
        guesses = (upscaled.detach()[:, 0] > 0).cpu().numpy()


def evaluation_prompt(mask: Mask, kind: str, seed: Sequence[int]) -> PromptTokens:
    """The prompt of one image (S, S) in an evaluation: nothing, one point drawn from its mask, or its exact box."""
    if kind == "box":
        return box_around(mask)
    return _first(np.random.default_rng([*seed, 2]), mask, kind)


def _rng(seed: Sequence[int], stream: int) -> np.random.Generator:
    return np.random.default_rng([*seed, stream])


def _first(rng: np.random.Generator, mask: Mask, kind: str) -> PromptTokens:
    if kind == "any":
        kind = PROMPTS[rng.integers(len(PROMPTS))]
    if kind == "box":
        return noisy_box(rng, mask)
    points = draw_points(rng, mask, 1 if kind == "point" else 0, 1)
    return closed(points) if len(points) else points


def _later(rng: np.random.Generator, mask: Mask, guess: Mask, quiet: bool, most: int) -> PromptTokens:
    points = error_points(rng, mask, guess, 0 if quiet else int(rng.integers(1, most + 1)))
    return closed(points) if len(points) else points
