"""The loss of prompted masks: prompts as a user and as P²SAM's cascade give them, decoded, compared with the truth.

As in SAM's interactive training, each image is encoded once and its masks are requested several times: first by a box
or points, then by points where the mask was wrong, by the box of what was found (P²SAM's cascade), or by the same
prompt again; always with the mask of the round before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from adaptsam.finetune.differentiable_decoding import decode_batch
from adaptsam.finetune.mask_losses import mask_loss
from adaptsam.pretrain.batch_prompts import BatchPrompts, boxes_around, error_points, first_prompts
from adaptsam.pretrain.prompt_targets import shrunk
from adaptsam.synthetic.device_random import choice

_SAME, _BOX, _POINTS = range(3)
_FOLLOWING = (0.3, 0.3, 0.4)
_MOST_ERROR_POINTS = 3


@dataclass(frozen=True)
class Rounds:
    """Rounds of prompting: ``rounds`` of decoding, the first with a box in a share ``boxes`` of prompts."""

    rounds: int = 2
    boxes: float = 0.5


def prompt_loss(
    rng: torch.Generator, sam: Sam, features: Tensor, masks: Tensor, there: Tensor, how: Rounds, multimask: bool
) -> Tensor:
    """The mean mask loss over prompts and rounds.

    Args:
        rng: draws the prompts, on the masks' device.
        sam: its prompt encoder and mask decoder are used.
        features: float32 (B, C, h, w).
        masks: bool (B, S, S).
        there: bool (B,), false for what is no target and does not count.
        how: the rounds.
        multimask: the first round gives three masks, of which the best counts.
    """
    prompts = first_prompts(rng, masks, how.boxes)
    previous: Tensor | None = None
    losses = []
    for number in range(how.rounds):
        logits, iou = decode_batch(sam, features, *prompts.tokens(), previous, multimask and number == 0)
        each, best = mask_loss(logits, shrunk(masks, logits.shape[-1])[:, None].float(), iou).min(1)
        losses.append((each * there).sum() / there.sum().clamp(min=1))
        if number + 1 < how.rounds:
            previous = logits.detach().take_along_dim(best[:, None, None, None], 1)[:, 0]
            prompts = _following(rng, prompts, masks, previous)
    return torch.stack(losses).mean()


def _following(rng: torch.Generator, prompts: BatchPrompts, masks: Tensor, logits: Tensor) -> BatchPrompts:
    """The same prompts, or with the box of what was found, or with points where it was wrong."""
    found = functional.interpolate(logits[:, None], masks.shape[-2:], mode="bilinear")[:, 0] > 0
    kind = choice(rng, _FOLLOWING, (len(masks),), masks.device)
    count = torch.randint(1, _MOST_ERROR_POINTS + 1, (len(masks),), generator=rng, device=masks.device)
    points = error_points(rng, masks, found, count * (kind == _POINTS), _MOST_ERROR_POINTS)
    box, there = boxes_around(found)
    return prompts.with_points(*points).with_boxes(box, (kind == _BOX) & there)
