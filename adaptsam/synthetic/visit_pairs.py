"""Pairs of images that show the same structures at two visits, to train with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_SMALL_FIRST = 0.5


@dataclass(frozen=True)
class VisitPairs:
    """``images`` (B, 2, 3, S, S) float32, 0 to 255 in whole numbers: two visits of each of B patients or scenes.

    ``masks`` (B, 2, K, S, S) bool; they may overlap, and the same k is the same structure at both visits.
    """

    images: Tensor
    masks: Tensor


def patch_regions(masks: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Structure that each patch shows, and its purity.

    Where structures overlap, the smaller one counts: a tumour in a lung is tumour, a lung in a body is lung.

    Args:
        masks: bool (..., K, S, S).
        grid: patches along a side.

    Returns:
        int64 (..., grid, grid), a structure's number or K for what belongs to none; and the share of the patch that it
        fills, float32 (..., grid, grid).
    """
    lead = masks.shape[:-3]
    share = functional.adaptive_avg_pool2d(masks.reshape(-1, *masks.shape[-3:]).float(), grid)
    area = share.mean((-2, -1), keepdim=True)
    none = 1 - share.amax(1, keepdim=True)
    weight = torch.cat([1 + _SMALL_FIRST * (1 - area), torch.ones_like(area[:, :1])], dim=1)
    share = torch.cat([share, none], dim=1)
    region = (share * weight).argmax(1)
    purity = share.gather(1, region[:, None])[:, 0]
    return region.view(*lead, grid, grid), purity.view(*lead, grid, grid)
