"""Tissue where another one was: made of pieces of the patient's own, with their vessels and their noise.

Image quilting (Efros and Freeman, 2001) in three dimensions: overlapping blocks are copied from places that hold
nothing but the wanted tissue, each from where it fits best to what is there already. The local density comes from the
surroundings, and where blocks overlap the noise keeps its strength: a mean of two noises would be a visible, smoother
seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

#: Structure coarser than this (sigma, mm) is mixed as a mean, finer structure as noise.
GRAIN_MM = 1.2
_CANDIDATES = 300
_COMPARED = 500


@dataclass(frozen=True, eq=False)
class Donors:
    """Donor tissue: ``mask`` bool (K, J, I) of ``image`` float32; ``spacing`` mm per array axis.

    ``block_mm`` is the side of the pieces, as far as pieces of that size fit into the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]
    block_mm: float


def quilt(donors: Donors, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with ``hole`` (bool, K, J, I) full of the donors' tissue, float32; elsewhere it stays as it is.

    Where not a single piece fits into the donors, their mean and the noise of their values stand in.
    """
    level = _level(donors, hole)
    half, centres = _donor_centres(donors)
    detail = donors.image - level
    if len(centres) == 0:
        made = level + _grain(donors, detail, rng)
    else:
        made = level + _assemble(donors, detail, hole, half, centres, rng)
    return np.where(hole, made, donors.image).astype(np.float32)


def blend(image: np.ndarray, other: np.ndarray, distance: np.ndarray, sigma_mm: float, spacing: tuple) -> np.ndarray:
    """``other`` where ``distance`` (mm) is negative, ``image`` elsewhere, all (K, J, I), with the edge of a scanner.

    ``sigma_mm`` is the scanner's point spread. Noise is as strong in the edge as beside it.
    """
    share = 0.5 * special.erfc(distance / (np.sqrt(2) * sigma_mm))
    (low, high), (other_low, other_high) = (_split(one, spacing) for one in (image, other))
    strength = np.sqrt(share**2 + (1 - share) ** 2)
    mixed = (1 - share) * low + share * other_low + ((1 - share) * high + share * other_high) / strength
    # Beyond the edge nothing is touched, to the last digit.
    return np.where(share < 1e-3, image, np.where(share > 1 - 1e-3, other, mixed)).astype(np.float32)


def _split(image: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    low = ndimage.gaussian_filter(image, [min(1.5, GRAIN_MM / s) if a else 0 for a, s in enumerate(spacing)])
    return low, image - low


def _level(donors: Donors, hole: np.ndarray) -> np.ndarray:
    """The density of the tissue without what lies in it (vessels), everywhere, from the nearest donors."""
    values = donors.image[donors.mask]
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    plain = donors.mask & (np.abs(donors.image - middle) < 2.5 * max(spread, 5.0))
    # Weak, far-reaching weights carry the level into the middle of a large hole.
    total, weight = np.full(hole.shape, 1e-9 * middle), np.full(hole.shape, 1e-9)
    for sigma_mm, strength in ((8.0, 1.0), (30.0, 1e-3)):
        sigmas = [sigma_mm / s for s in donors.spacing]
        total += strength * ndimage.gaussian_filter(np.where(plain, donors.image, 0.0).astype(np.float64), sigmas)
        weight += strength * ndimage.gaussian_filter(plain.astype(np.float64), sigmas)
    return (total / weight).astype(np.float32)


def _donor_centres(donors: Donors) -> tuple[tuple[int, ...], np.ndarray]:
    """Half sizes of the blocks in voxels, and the centres (n, 3) around which a whole block is of the tissue."""
    block = donors.block_mm
    while True:
        half = tuple(max(1, round(block / 2 / s)) for s in donors.spacing)
        filled = ndimage.uniform_filter(donors.mask.astype(np.float32), [2 * h + 1 for h in half], mode="constant")
        centres = np.argwhere(filled > 0.995)
        if len(centres) >= 30 or (len(centres) and half == (1, 1, 1)):
            return half, centres
        if half == (1, 1, 1):
            return half, np.zeros((0, 3), int)
        block *= 0.75


def _assemble(
    donors: Donors,
    detail: np.ndarray,
    hole: np.ndarray,
    half: tuple[int, ...],
    centres: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Deviations from the level (K, J, I) in the hole, from blocks of the donors' own."""
    low, high = _split(detail, donors.spacing)
    shape = hole.shape
    window = _window(half)
    offsets = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), -1).reshape(-1, 3)
    sums = {name: np.zeros(shape, np.float32) for name in ("low", "weight", "high", "heaviest")}
    seen = np.where(donors.mask, np.clip(detail, -150, 300), 0.0).astype(np.float32)
    known = donors.mask & ~hole
    rich = np.sqrt(ndimage.gaussian_filter(seen**2, [h / 3 for h in half])[tuple(centres.T)])  # as the window weighs
    # Plain blocks fit everywhere: without this the hole would have fewer vessels than what is around it.
    usual = float(np.quantile(rich, 0.7))
    for centre in _lattice(hole, half, donors.spacing):
        source = _best_source(centre, seen, known, centres, np.abs(rich - usual), offsets, rng)
        into = tuple(
            slice(max(0, int(c) - h), min(n, int(c) + h + 1)) for c, h, n in zip(centre, half, shape, strict=True)
        )
        out = tuple(slice(a.start - c + h, a.stop - c + h) for a, c, h in zip(into, centre, half, strict=True))
        taken = tuple(slice(s - c + a.start, s - c + a.stop) for s, c, a in zip(source, centre, into, strict=True))
        weight = window[out]
        sums["low"][into] += weight * low[taken]
        sums["weight"][into] += weight
        # The grain is one block's, not a mean: that would be weaker, and a root of squares stronger where two blocks
        # happen to come from the same place.
        wins = weight > sums["heaviest"][into]
        sums["high"][into][wins] = high[taken][wins]
        sums["heaviest"][into][wins] = weight[wins]
        there = hole[into]
        seen[into][there] = np.clip(sums["low"][into][there] / sums["weight"][into][there], -150, 300)
        known[into] |= there
    return sums["low"] / np.maximum(sums["weight"], 1e-6) + sums["high"]


def _window(half: tuple[int, ...]) -> np.ndarray:
    """Weights of a block: flat in the middle, so that two blocks mix along a narrow seam only."""
    axes = [np.cos(0.5 * np.pi * np.arange(-h, h + 1) / (h + 1)) ** 6 for h in half]
    return np.maximum(axes[0][:, None, None] * axes[1][:, None] * axes[2], 1e-6).astype(np.float32)


def _lattice(hole: np.ndarray, half: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Centres (n, 3) of half-overlapping blocks that cover the hole, those at its border first."""
    held = np.argwhere(hole)
    low, high = held.min(axis=0), held.max(axis=0)
    axes = [np.arange(low[a], high[a] + half[a] + 1, half[a]) for a in range(3)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    centres = np.minimum(centres, np.array(hole.shape) - 1)
    near = ndimage.maximum_filter(hole, [2 * h + 1 for h in half])
    centres = np.unique(centres[near[tuple(centres.T)]], axis=0)
    depth = ndimage.distance_transform_edt(hole, sampling=spacing)
    return centres[np.argsort(depth[tuple(centres.T)], kind="stable")]


def _best_source(
    centre: np.ndarray,
    seen: np.ndarray,
    known: np.ndarray,
    centres: np.ndarray,
    unusual: np.ndarray,
    offsets: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The least unusual of some random donor centres that agree with what is known around ``centre``."""
    drawn = rng.integers(len(centres), size=min(_CANDIDATES, 4 * len(centres)))
    chosen = centres[drawn]
    around = centre + offsets
    inside = np.all((around >= 0) & (around < known.shape), axis=1)
    here, steps = around[inside], offsets[inside]
    fixed = known[tuple(here.T)]
    here, steps = here[fixed], steps[fixed]
    if len(here) < 8:
        return chosen[np.argmin(unusual[drawn[: len(drawn) // 12 + 1]])]
    if len(here) > _COMPARED:
        some = rng.choice(len(here), _COMPARED, replace=False)
        here, steps = here[some], steps[some]
    wanted = seen[tuple(here.T)]
    places = chosen[:, None, :] + steps[None]
    found = seen[places[..., 0], places[..., 1], places[..., 2]]
    cost = ((found - wanted) ** 2).mean(axis=1)
    fitting = np.argsort(cost, kind="stable")[: max(1, len(cost) // 12)]
    return chosen[fitting[np.argmin(unusual[drawn[fitting]])]]


def _grain(donors: Donors, detail: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as strong as the donors' values vary, correlated over a pixel or two as a reconstruction makes it."""
    noise = ndimage.gaussian_filter(rng.normal(size=detail.shape), (0, 0.8, 0.8))
    return noise * (float(detail[donors.mask].std()) / max(1e-9, float(noise.std())))
