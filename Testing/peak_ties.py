"""Pixels that rounding decides among: where a similarity map, without rounding, comes within an ulp of its peak.

The rim of an upsampled map is flat: neighbouring pixels have the very same value there, and the last bit of a
processor's products says which of them is the greatest in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adaptsam.sam import Embedding, SamModel

ULPS = 1
"""Of cosines between a half and one, in float32: 2⁻²⁴. Flat rims are exactly flat; 16 would find the same pixels."""

Pixels = set[tuple[int, int]]


def exact_maps(model: SamModel, target: Embedding, parts: Tensor) -> Tensor:
    """Similarity maps float64 (n, H, W) of parts (n, C), in original pixels."""
    features = target.features.double()
    features = features / features.norm(dim=0, keepdim=True)
    coarse = torch.einsum("nc,chw->nhw", parts.double(), features)[None]
    return model.upscale(F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False), target)[0]


def near_peaks(maps: Tensor) -> list[Pixels]:
    """Pixels x, y of each exact map (n, H, W) that lie within :data:`ULPS` of its greatest value."""
    return [{(int(x), int(y)) for y, x in (exact >= exact.max() - ULPS * 2**-24).nonzero().tolist()} for exact in maps]


def paired_by_part(ours: list[tuple[int, int]], theirs: list[tuple[int, int]], near: list[Pixels]) -> bool:
    """Whether each part has one point of ours and one of theirs, both among its pixels; theirs in any order.

    A part with one pixel near its peak leaves no choice: there the points are equal.
    """
    if not near:
        return not ours and not theirs
    if ours[0] not in near[0]:
        return False
    fitting = [place for place, point in enumerate(theirs) if point in near[0]]
    return any(paired_by_part(ours[1:], theirs[:place] + theirs[place + 1 :], near[1:]) for place in fitting)
