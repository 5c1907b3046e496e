"""Targets of prompts: structures of each image, or one of their parts, never an empty mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.pretrain.batch_prompts import random_pixels
from adaptsam.synthetic.device_random import chance, uniform

_FEWEST_PIXELS, _LARGEST_SHARE = 6, 0.9
_SMALL_SHARE, _SMALL_FAVOUR = 0.01, 3.0
_PART_SHARE = 0.75
_CELLS, _FARTHEST = 64, 96


def draw_targets(rng: torch.Generator, masks: Tensor, count: int, low: int) -> tuple[Tensor, Tensor]:
    """``count`` targets of each image, small structures three times as likely, mostly only the part around one pixel.

    A person who clicks on one kidney, or puts a box around it, means that one. So three targets of four are what hangs
    together with a pixel drawn from the structure; the others are the structure with all of its parts.

    Args:
        rng: on the masks' device.
        masks: bool (N, K, S, S).
        count: targets of an image.
        low: the side of the masks that the decoder gives; a target has pixels there, too.

    Returns:
        bool (N * count, S, S), those of an image side by side, and whether there is a target at all, bool (N * count,).
    """
    device, (images, kinds) = masks.device, masks.shape[:2]
    area = shrunk(masks.flatten(0, 1), low).sum((-2, -1)).view(images, kinds)
    pixels = low * low
    usable = (area >= _FEWEST_PIXELS) & (area < _LARGEST_SHARE * pixels)
    favour = torch.where(area < _SMALL_SHARE * pixels, _SMALL_FAVOUR, 1.0) * usable
    # The largest of log w − log(−log u) is drawn with the probability w (Gumbel, 1954).
    drawn = uniform(rng, (images, count, kinds), device).clamp(1e-9, 1 - 1e-7)
    chosen = ((favour + 1e-12).log()[:, None] - (-drawn.log()).log()).argmax(-1)
    whole = masks[torch.arange(images, device=device)[:, None], chosen].flatten(0, 1)
    there = usable.gather(1, chosen).flatten()
    pixel, _ = random_pixels(rng, whole, 1)
    part = part_around(whole, pixel[:, 0])
    large = shrunk(part, low).sum((-2, -1)) >= _FEWEST_PIXELS
    wanted = chance(rng, (len(whole),), device, _PART_SHARE) & large
    return torch.where(wanted[:, None, None], part, whole), there


def shrunk(masks: Tensor, side: int) -> Tensor:
    """Masks bool (B, S, S) as the decoder should give them, bool (B, side, side): half filled pixels count."""
    return functional.adaptive_avg_pool2d(masks[:, None].float(), side)[:, 0] >= 0.5


def part_around(masks: Tensor, pixel: Tensor) -> Tensor:
    """The connected part of each mask bool (B, S, S) that holds a pixel of it, x and y (B, 2).

    Looked at on a grid of 64 by 64 cells, so that parts a few pixels apart are one. A part that winds so much that its
    end is not reached is left whole with the others.
    """
    side = masks.shape[-1]
    grid = min(_CELLS, side)
    cells = _rows(functional.adaptive_max_pool2d(masks[:, None].float(), grid)[:, 0] > 0)
    place = (pixel * (grid / side)).long().clamp(max=grid - 1)
    axis = torch.arange(grid, device=masks.device)
    part = (axis == place[:, 1:]) * (1 << place[:, :1]) & cells
    for _ in range(_FARTHEST):
        part = _grown(part, cells)
    finished = (_grown(part, cells) == part).all(1)
    spread = functional.interpolate((part[:, None, :, None] >> axis & 1).float(), (side, side))[:, 0] > 0
    return masks & (spread | ~finished[:, None, None])


def _rows(cells: Tensor) -> Tensor:
    """Cells bool (B, h, w), w ≤ 64, as whole numbers (B, h): a bit for each cell of a row."""
    return (cells.long() << torch.arange(cells.shape[-1], device=cells.device)).sum(-1)


def _grown(part: Tensor, cells: Tensor) -> Tensor:
    """A part of cells, both rows (B, h), with all of its neighbours among them."""
    wide = functional.pad(part | part << 1 | part >> 1, (1, 1))
    return (wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]) & cells
