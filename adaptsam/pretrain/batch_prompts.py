"""Prompts for training, drawn for a whole batch at once where the masks lie: on a GPU nothing is copied or waited for.

What :mod:`.prompting` draws mask by mask: points inside and outside, boxes with SAM's noise, and points where a mask is
wrong. A batch has as many places for points as its longest prompt; what is not used is padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adaptsam.sam.prompt_encoder import BOX_END, BOX_START, NOT_A_POINT, PADDING
from adaptsam.synthetic.device_random import chance, normal, uniform

_MOST_INSIDE = _MOST_OUTSIDE = 4
_BOX_NOISE, _MOST_BOX_NOISE = 0.1, 20.0
_BOX_WITH_POINTS = 0.2


@dataclass(frozen=True, eq=False)
class BatchPrompts:
    """The prompts of B masks, in pixels of the model's input, x then y.

    Attributes:
        points: float32 (B, n, 2).
        labels: int64 (B, n): 1 foreground, 0 background, or padding.
        box: float32 (B, 2, 2), two corners; means nothing where ``boxed`` is false.
        boxed: bool (B,).
    """

    points: Tensor
    labels: Tensor
    box: Tensor
    boxed: Tensor

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Tokens for SAM: coordinates (B, n + 3, 2) and kinds (B, n + 3). Without a box "not a point" ends them."""
        end = torch.zeros_like(self.box[:, :1])
        boxed = self.boxed[:, None]
        corners = torch.cat([torch.where(boxed, kind, PADDING) for kind in (BOX_START, BOX_END)], dim=1)
        kinds = [self.labels, corners, torch.where(boxed, PADDING, NOT_A_POINT)]
        return torch.cat([self.points, self.box, end], dim=1), torch.cat(kinds, dim=1)

    def with_points(self, points: Tensor, labels: Tensor) -> BatchPrompts:
        """These, and more points (B, m, 2)."""
        return replace(self, points=torch.cat([self.points, points], 1), labels=torch.cat([self.labels, labels], 1))

    def with_boxes(self, box: Tensor, given: Tensor) -> BatchPrompts:
        """These, with another box where ``given`` (B,) is true."""
        return replace(self, box=torch.where(given[:, None, None], box, self.box), boxed=self.boxed | given)


def random_pixels(rng: torch.Generator, masks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``count`` pixels drawn evenly from each of masks bool (B, H, W).

    Returns:
        x and y, float32 (B, count, 2), and whether the mask has any pixel, bool (B,).
    """
    width = masks.shape[-1]
    reached = masks.flatten(1).cumsum(1, dtype=torch.int32)
    total = reached[:, -1:]
    drawn = uniform(rng, (len(masks), count), masks.device)
    rank = torch.minimum((drawn * total).to(torch.int32) + 1, total)
    place = torch.searchsorted(reached, rank).clamp(max=reached.shape[1] - 1)
    return torch.stack([place % width, place // width], -1).float(), total[:, 0] > 0


def boxes_around(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Corners float32 (B, 2, 2) of the boxes of masks bool (B, H, W), and whether a mask has any pixel, bool (B,)."""
    corners = []
    for line in (masks.any(-2), masks.any(-1)):
        last = line.shape[-1] - 1
        corners.append(torch.stack([line.int().argmax(-1), last - line.flip(-1).int().argmax(-1)], -1))
    return torch.stack(corners, -1).float(), masks.flatten(1).any(1)


def noisy_boxes(rng: torch.Generator, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (B, 2, 2) around masks with noise on the corners, as :func:`.prompt_simulation.noisy_box` has it."""
    box, there = boxes_around(masks)
    deviation = (_BOX_NOISE * (box[:, 1:] - box[:, :1])).clamp(max=_MOST_BOX_NOISE)
    return box + normal(rng, box.shape, box.device) * deviation, there


def first_prompts(rng: torch.Generator, masks: Tensor, boxes: float) -> BatchPrompts:
    """First prompts of a user, or of P²SAM: a box, or 1 to 4 points inside and 0 to 4 outside; at times both.

    Args:
        rng: on the masks' device.
        masks: bool (B, H, W), none of them empty.
        boxes: the share of prompts that have a box.
    """
    count, device = len(masks), masks.device
    box, there = noisy_boxes(rng, masks)
    boxed = chance(rng, (count,), device, boxes) & there
    pointed = ~boxed | chance(rng, (count,), device, _BOX_WITH_POINTS)
    inside = _up_to(rng, masks, _MOST_INSIDE, torch.randint(1, 5, (count,), generator=rng, device=device), 1)
    outside = _up_to(rng, ~masks, _MOST_OUTSIDE, torch.randint(0, 5, (count,), generator=rng, device=device), 0)
    points, labels = (torch.cat(parts, 1) for parts in zip(inside, outside, strict=True))
    return BatchPrompts(points, torch.where(pointed[:, None], labels, PADDING), box, boxed)


def error_points(rng: torch.Generator, masks: Tensor, found: Tensor, count: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Points drawn evenly from where masks ``found`` are wrong: foreground where missed, background where too much.

    Args:
        rng: on the masks' device.
        masks: the truth, bool (B, H, W).
        found: bool (B, H, W).
        count: int64 (B,), how many points each prompt gets, at most ``most``.
        most: places for points.

    Returns:
        points float32 (B, most, 2) and labels int64 (B, most); padding where fewer are requested, or nothing is wrong.
        Unlike those of :func:`.prompting.error_points`, two may fall on one pixel.
    """
    points, labels = _up_to(rng, masks ^ found, most, count, 1)
    x, y = points.long().unbind(-1)
    true = masks.flatten(1).gather(1, y * masks.shape[-1] + x)
    return points, torch.where(labels == PADDING, labels, true.long())


def _up_to(rng: torch.Generator, masks: Tensor, most: int, count: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """``most`` points in each mask, of which ``count`` (B,) are labelled, and none where the mask is empty."""
    points, there = random_pixels(rng, masks, most)
    used = (torch.arange(most, device=masks.device) < count[:, None]) & there[:, None]
    return points, torch.where(used, label, PADDING)
