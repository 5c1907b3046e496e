"""Pairs of images that show the same structures at two visits, to train with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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


@dataclass(frozen=True)
class PackedPairs:
    """Gray :class:`VisitPairs` on their way from a process to a GPU, a twentieth as many bytes.

    ``gray`` uint8 (B, 2, S, S); ``bits`` uint8 (B, 2, K, S, S / 8): eight pixels of a mask a byte, the first highest.
    """

    gray: NDArray[np.uint8]
    bits: NDArray[np.uint8]

    def unpacked(self, device: torch.device) -> VisitPairs:
        """The pairs on a device; a GPU takes them while it works on what came before."""
        gray, bits = (_sent(torch.from_numpy(x), device) for x in (self.gray, self.bits))
        places = torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
        masks = (bits[..., None] >> places & 1).flatten(-2).bool()
        return VisitPairs(gray[:, :, None].float().expand(-1, -1, 3, -1, -1), masks)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def joined(batches: list[VisitPairs]) -> VisitPairs:
    """One batch of several."""
    return VisitPairs(torch.cat([x.images for x in batches]), torch.cat([x.masks for x in batches]))


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
