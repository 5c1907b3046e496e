"""Does this slice hold the structure at all? The prior's own distances say what is a usual difference.

The rule. Let ``own`` be the robust upper limit (a quantile, 0.9) of the distances between the prior's own slices that
lie about ``gap_mm`` apart, under their true masks, and ``background`` the median distance, on the prior's slices, from
the structure to the tissue right around it. A target slice is accepted if its distance is at most

    limit = factor × own, but no more than background_share × background as long as that is above own:

a later visit may differ more than two neighbouring slices do, but what lies as far from the structure as its
surroundings is not the structure. With fewer than ``enough_pairs`` pairs, slices farther apart are compared as well;
with a single usable slice, limit = single_slice_share × background.

Distances alone do not tell a vanished tumour from the soft tissue beside it, which a small model sees alike. So the
structure as a whole must also lie where it is expected (:class:`AcceptanceSettings`): of four phantom tumours that were
there, 54 to 97 % of what was found lay within 4 mm of the registered contour; of those that had vanished, 0 to 15 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from adaptsam.slicewise.slice_method import SliceMethod
from adaptsam.slicewise.volume_settings import AcceptanceSettings


@dataclass(frozen=True)
class Threshold:
    """``limit`` is the largest accepted distance; ``own`` and ``background`` as in the rule, NaN where unknown."""

    limit: float = float("inf")
    own: float = float("nan")
    background: float = float("nan")
    pairs: int = 0

    def accepts(self, distance: float) -> bool:
        return bool(np.isfinite(distance) and distance <= self.limit)


def calibrate(
    method: SliceMethod,
    positions: Sequence[int],
    view: Callable[[int], tuple[np.ndarray, np.ndarray]],
    spacing: tuple[float, float, float],
    settings: AcceptanceSettings,
) -> Threshold:
    """The threshold of one structure.

    Args:
        method: measures distances between prior slices.
        positions: the usable prior slices k.
        view: gives the image uint8 (H, W, 3) and mask bool (H, W) of one of them; two are requested at a time.
        spacing: pixel width and height of the views and distance between slices, in mm.
        settings: the numbers of the rule.
    """
    own = [_between(method, view(a), view(b)) for a, b in choose_pairs(positions, spacing[2], settings)]
    some = sorted(positions)[:: max(1, len(positions) // 5)]
    rings = [_to_surroundings(method, *view(k), spacing[:2], settings.ring_mm) for k in some]
    return decide([d for d in own if np.isfinite(d)], [d for d in rings if np.isfinite(d)], settings)


def choose_pairs(positions: Sequence[int], pitch_mm: float, settings: AcceptanceSettings) -> list[tuple[int, int]]:
    """Pairs of slices about ``gap_mm`` apart, evenly taken; every pair where that gives too few."""
    ordered = sorted(positions)
    gap = max(1, round(settings.gap_mm / pitch_mm))
    nearest = min((b - a for a, b in pairwise(ordered)), default=0)
    pairs = []
    for a in ordered:
        b = next((p for p in ordered if p >= a + gap), None)
        if b is not None and b - a <= max(2 * gap, nearest):
            pairs.append((a, b))
    if len(pairs) < settings.enough_pairs:
        pairs = [(a, b) for place, a in enumerate(ordered) for b in ordered[place + 1 :]]
    if len(pairs) > settings.pairs:
        pairs = [pairs[int(n)] for n in np.linspace(0, len(pairs) - 1, settings.pairs).round()]
    return pairs


def decide(own: Sequence[float], background: Sequence[float], settings: AcceptanceSettings) -> Threshold:
    """The rule, from measured distances."""
    around = float(np.median(background)) if background else float("nan")
    if not own:
        limit = settings.single_slice_share * around if background else float("inf")
        return Threshold(limit, float("nan"), around, 0)
    usual = float(np.quantile(own, settings.quantile))
    limit = settings.factor * usual
    cap = settings.background_share * around
    if background and cap > usual:
        limit = min(limit, cap)
    return Threshold(limit, usual, around, len(own))


def surroundings(mask: np.ndarray, spacing: tuple[float, float], width_mm: float) -> np.ndarray:
    """The pixels within ``width_mm`` of a mask (H, W) but outside it."""
    away = ndimage.distance_transform_edt(~mask, sampling=(spacing[1], spacing[0]))
    return (away > 0) & (away <= width_mm)


def _between(method: SliceMethod, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    return float(method.prior_distances([a[0], b[0]], [a[1], b[1]])[0])


def _to_surroundings(
    method: SliceMethod, image: np.ndarray, mask: np.ndarray, spacing: tuple[float, float], width_mm: float
) -> float:
    patch_mm = max(image.shape[0] * spacing[1], image.shape[1] * spacing[0]) / method.grid_size
    ring = surroundings(mask, spacing, max(width_mm, 1.5 * patch_mm))
    return _between(method, (image, mask), (image, ring)) if ring.any() else float("nan")
