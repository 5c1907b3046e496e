"""SAM's interactive training (Kirillov et al., 2023, App. A) as the P²SAM paper uses it to fine-tune (Sec. 3.3).

A batch is decoded in 11 rounds, and the optimiser steps after each. In round 0 every image gets nothing, one point of
its mask, or its box with noise. Each later round gets the logits of the round before, and 1 to 9 points from where they
were wrong; in one round of those, drawn at random, and in the last one, there is no point. The image is encoded in
round 0 and its embedding is a constant in the others. P²SAM's released code draws some of it otherwise
(:mod:`.published`): those are choices of an :class:`Interaction`.

Everything that is drawn depends on the seed, the epoch, the sample and the round alone: not on the batch it is in or
the process that works on it. What is drawn for a batch, where that is chosen, depends on its first sample instead.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.finetune.mask_losses import LOSSES
from adaptsam.finetune.prompt_simulation import Mask, box_around, closed, draw_points, error_points, noisy_box, padded
from adaptsam.finetune.tuning import Tuning
from adaptsam.sam import SamModel, encode
from adaptsam.sam.prompt_encoder import PromptTokens

Quiet = Literal["one", "each"]
Owner = Literal["image", "batch"]
#: Streams of random numbers beside those of the rounds (2, 3, …); drop path has 1.
_QUIET, _COUNT = 0, 500

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
        quiet_rounds: "one" later round beside the last has no new point; or "each" one has none with the chance of
            one round among them all, as released.
        prompt_per: round 0's kind, the quiet rounds and the number of points are drawn for each "image", or once for
            the "batch", as released.
        pad_points: where fewer pixels are wrong than points were drawn, "not a point" tokens stand for the others, as
            released; otherwise nothing does.
    """

    rounds: int = 11
    most_points: int = 9
    first: str = "any"
    loss: str = "sam"
    quiet_rounds: Quiet = "one"
    prompt_per: Owner = "image"
    pad_points: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.most_points < 1:
            raise InputError("An interaction needs at least one round, and one point in a round.")
        if self.first not in ("any", *PROMPTS):
            raise InputError(f"The first prompt is any, {', '.join(PROMPTS)}, not {self.first!r}.")
        if self.loss not in LOSSES:
            raise InputError(f"The loss is {' or '.join(LOSSES)}, not {self.loss!r}.")
        if self.quiet_rounds not in get_args(Quiet) or self.prompt_per not in get_args(Owner):
            raise InputError("Quiet rounds are one or each, and prompts are drawn per image or per batch.")


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
        detach_no_mask: the embedding of "no mask" is not trained, as released.
    """

    def __init__(
        self, sam: Sam, drop_path: float = 0.0, checkpointed: bool = False, detach_no_mask: bool = False
    ) -> None:
        super().__init__()
        self.sam, self.drop_path, self.checkpointed = sam, drop_path, checkpointed
        self.detach_no_mask = detach_no_mask

    def train(self, mode: bool = True) -> TrainableSam:
        """Set the mode as PyTorch does; an encoder's batch norms (MobileSAM's) keep the statistics of the weights."""
        super().train(mode)
        for part in self.sam.image_encoder.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

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
            dropped = self.drop_path and hasattr(sam.image_encoder, "blocks")
            kept = self._kept(seeds, given) if seeds is not None and dropped else None
            trained = torch.is_grad_enabled() and any(p.requires_grad for p in sam.image_encoder.parameters())
            with torch.set_grad_enabled(trained):
                features = encode(sam.image_encoder, pixels, kept, self.checkpointed and trained)
        before = [None] * len(tokens) if previous is None else list(previous)
        logits, iou = decode_prompts(sam, features, tokens, before, multimask=False, detach_no_mask=self.detach_no_mask)
        return logits.float(), iou.float(), features

    def _kept(self, seeds: Sequence[Sequence[int]], like: Tensor) -> Tensor:
        depth = len(self.sam.image_encoder.blocks)
        rate = np.linspace(0.0, self.drop_path, depth)[:, None]
        drawn = np.stack([np.random.default_rng([*seed, 1]).random((depth, 2)) for seed in seeds], axis=-1)
        return torch.from_numpy((drawn >= rate[..., None]) / (1 - rate[..., None])).to(like)


def trainable(
    base: SamModel, tuning: Tuning, device: torch.device, checkpointed: bool = False, detach_no_mask: bool = False
) -> TrainableSam:
    """A copy of a model, ready to be trained on a device; ``base`` is left as it is.

    Raises:
        InputError: the tuning cannot be applied to this model.
    """
    sam = copy.deepcopy(base.sam).to(device)
    tuning.apply(sam)
    return TrainableSam(sam, tuning.dropped, checkpointed, detach_no_mask)


def interactive_rounds(
    model: nn.Module, images: Tensor, truth: Tensor, seeds: Sequence[Sequence[int]], how: Interaction | None = None
) -> Iterator[Round]:
    """The rounds of one batch. Take the optimiser's step after each, before the next is requested.

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
    owners = [seeds[0]] * len(seeds) if how.prompt_per == "batch" else seeds
    given, previous = images, None
    guesses = np.zeros_like(masks)
    for number in range(how.rounds):
        tokens = [
            _first(_rng(seed, 2), mask, _kind(how, owner), how.pad_points)
            if number == 0
            else _later(_rng(seed, 2 + number), mask, guess, _count(how, owner, number), how.pad_points)
            for seed, owner, mask, guess in zip(seeds, owners, masks, guesses, strict=True)
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


def _kind(how: Interaction, owner: Sequence[int]) -> str:
    """Kind of prompt in round 0; "any" is left to be drawn with the point or the box."""
    if how.first != "any" or how.prompt_per == "image":
        return how.first
    return PROMPTS[_rng(owner, 2).integers(len(PROMPTS))]


def _count(how: Interaction, owner: Sequence[int], number: int) -> int:
    """Number of points in a later round."""
    last = how.rounds - 1
    stream = _rng(owner, _QUIET if how.quiet_rounds == "one" else 2 * _COUNT + number)
    if number in (last, int(stream.integers(1, max(2, last)))):
        return 0
    return int(_rng(owner, _COUNT + number).integers(1, how.most_points + 1))


def _first(rng: np.random.Generator, mask: Mask, kind: str, pad: bool = False) -> PromptTokens:
    if kind == "any":
        kind = PROMPTS[rng.integers(len(PROMPTS))]
    if kind == "box":
        return noisy_box(rng, mask)
    return _closed(draw_points(rng, mask, 1 if kind == "point" else 0, 1), int(pad and kind == "point"))


def _later(rng: np.random.Generator, mask: Mask, guess: Mask, count: int, pad: bool) -> PromptTokens:
    return _closed(error_points(rng, mask, guess, count), count if pad else 0)


def _closed(points: PromptTokens, least: int) -> PromptTokens:
    """Points, or what stands for them until there are ``least``, as SAM wants them."""
    points = padded(points, least)
    return closed(points) if len(points) else points
