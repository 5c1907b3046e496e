"""The loss of prompted masks: prompts as a user and as P²SAM's cascade give them, decoded, compared with the truth."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from adaptsam.finetune.decoding import decode_prompts
from adaptsam.finetune.losses import mask_loss
from adaptsam.finetune.prompting import box_around, closed, error_points, first_prompt, joined
from adaptsam.sam.prompts import PromptTokens

_FEWEST_PIXELS, _LARGEST_SHARE = 12, 0.9
_SMALL_SHARE, _SMALL_FAVOUR = 0.01, 3.0


def draw_mask(rng: np.random.Generator, masks: Tensor) -> Tensor:
    """One of masks (K, S, S), small ones three times as likely; nearly empty or full ones if there is no other."""
    area = masks.sum((-2, -1)).cpu().numpy()
    pixels = masks.shape[-1] * masks.shape[-2]
    weight = np.where(area < _SMALL_SHARE * pixels, _SMALL_FAVOUR, 1.0)
    weight *= (area > _FEWEST_PIXELS) & (area < _LARGEST_SHARE * pixels)
    weight = weight if weight.any() else (area > 0) + 1e-9
    return masks[int(rng.choice(len(masks), p=weight / weight.sum()))]


def prompt_loss(rng: np.random.Generator, sam: Sam, features: Tensor, masks: Tensor) -> Tensor:
    """The mean mask loss of one prompt a mask: a first prompt half of the time, else one that follows an earlier mask.

    Args:
        rng: draws the prompts.
        sam: its prompt encoder and mask decoder are used.
        features: float32 (B, C, h, w).
        masks: bool (B, S, S).
    """
    truth = masks.cpu().numpy()
    started = [first_prompt(rng, mask) for mask in truth]
    tokens = [closed(prompt) if is_points else prompt for prompt, is_points in started]
    previous: list[Tensor | None] = [None] * len(truth)
    if rng.random() < 0.5:
        with torch.no_grad():
            logits, _ = decode_prompts(sam, features, tokens, previous, multimask=False)
        previous = list(logits[:, 0])
        if rng.random() < 0.6:
            tokens = _next_prompts(rng, [prompt for prompt, _ in started], truth, logits[:, 0])
    multimask = bool(rng.random() < 0.2)
    logits, iou = decode_prompts(sam, features, tokens, previous, multimask)
    low = functional.adaptive_avg_pool2d(masks[:, None].float(), logits.shape[-1])
    each = mask_loss(logits, (low > 0.5).float(), iou)
    return each.min(1).values.mean() if multimask else each[:, 0].mean()


def _next_prompts(
    rng: np.random.Generator, prompts: list[PromptTokens], truth: np.ndarray, logits: Tensor
) -> list[PromptTokens]:
    """To each prompt's points is added the box of what was found, as P²SAM does, or points where it was wrong."""
    found = functional.interpolate(logits[:, None], truth.shape[-2:], mode="bilinear")[:, 0] > 0
    following = []
    for prompt, mask, guess in zip(prompts, truth, found.cpu().numpy(), strict=True):
        points = PromptTokens(prompt.coordinates[prompt.kinds < 2], prompt.kinds[prompt.kinds < 2])
        if rng.random() < 0.6 and guess.any():
            following.append(joined(points, box_around(guess)))
        else:
            following.append(closed(joined(points, error_points(rng, mask, guess, int(rng.integers(1, 4))))))
    return following
