"""The later scan: another grid, another reconstruction kernel, new noise; and the contours on its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from adaptsam.errors import InputError
from adaptsam.image.downsampling import block_means, body_mask, coarse_blocks, coarse_geometry
from adaptsam.image.volume import Geometry, Volume
from adaptsam.progress import Progress
from adaptsam.synthetic.digital_followup.followup_settings import FollowUpSettings
from adaptsam.synthetic.digital_followup.patient_motion import Motion

PADDING = -1024.0
#: Fewest slices that a follow-up may have.
FEWEST_SLICES = 4
#: Per kernel: blur (sigma, mm), unsharp masking's share, and the frequency (1/mm) at which its noise fades.
KERNELS = {"soft": (0.75, 0.0, 0.22), "standard": (0.45, 0.0, 0.33), "sharp": (0.3, 0.6, 0.5)}


@dataclass(frozen=True, eq=False)
class Border:
    """A structure as distances (mm, negative inside) on a box of the prior's grid from index ``start`` (k, j, i) on."""

    distance: np.ndarray
    start: tuple[int, int, int]

    def inside(self, index: np.ndarray) -> np.ndarray:
        """Whether prior indices (3, …), k first, lie in the structure."""
        place = index - np.array(self.start).reshape(3, *([1] * (index.ndim - 1)))
        ends = np.array(self.distance.shape) - 1
        result = np.zeros(index.shape[1:], bool)
        near = np.all([(place[a] > 0) & (place[a] < ends[a]) for a in range(3)], axis=0)
        if near.any():
            result[near] = ndimage.map_coordinates(self.distance, place[:, near], order=1, mode="nearest") < 0
        return result


def scan_grid(prior: Volume, motion: Motion, settings: FollowUpSettings) -> Geometry:
    """The grid of the follow-up: as large as the prior's, without the slices of which the prior shows nothing."""
    old = prior.geometry
    pixel = old.spacing[:2]
    if settings.pixel_ratio != 1:
        pixel = (round(old.spacing[0] * settings.pixel_ratio, 4), round(old.spacing[1] * settings.pixel_ratio, 4))
    spacing = (pixel[0], pixel[1], float(settings.slice_mm or old.spacing[2]))
    extent = np.array(old.shape[::-1]) * old.spacing
    size = np.maximum(1, np.round(extent / spacing)).astype(int)
    matrix = np.reshape(old.direction, (3, 3))
    middle = old.world((np.array(old.shape[::-1]) - 1) / 2)
    origin = middle - matrix @ ((size - 1) / 2 * spacing)
    grid = Geometry((int(size[2]), int(size[1]), int(size[0])), spacing, _triple(origin), old.direction)
    return _covered(grid, prior, motion)


def keep_slices(grid: Geometry, first: int, stop: int) -> Geometry:
    """The grid of the slices from ``first`` up to, without, ``stop``."""
    if stop - first < FEWEST_SLICES:
        raise InputError("Too few slices of the follow-up are left; give a scan that shows more around the target.")
    return replace(grid, shape=(stop - first, *grid.shape[1:]), origin=_triple(grid.world(np.array([0, 0, first]))))


def scan(
    array: np.ndarray,
    prior: Geometry,
    borders: Sequence[Border],
    motion: Motion,
    grid: Geometry,
    settings: FollowUpSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The image int16 (K, J, I) on ``grid`` and a mask bool for every border.

    Args:
        array: the changed prior, float32 (K, J, I) in HU, on ``prior``.
    """
    strength = _noise_map(array, prior)
    coefficients = ndimage.spline_filter(array, order=3, output=np.float32, mode="nearest")
    image = np.empty(grid.shape, np.int16)
    masks = [np.zeros(grid.shape, bool) for _ in borders]
    depths = _depths(grid, prior)
    j, i = np.mgrid[: grid.shape[1], : grid.shape[2]]
    for k in range(grid.shape[0]):
        progress("scanning the follow-up", k, grid.shape[0])
        total = np.zeros(grid.shape[1:])
        for depth in depths:
            index = _prior_index(motion, grid, prior, i, j, k + depth)
            total += ndimage.map_coordinates(
                coefficients, index, order=3, mode="nearest", prefilter=False, output=np.float32
            )
        middle = _prior_index(motion, grid, prior, i, j, k) if depths != [0.0] else index
        for mask, border in zip(masks, borders, strict=True):
            mask[k] = border.inside(middle)
        seen = np.all([(middle[a] > -0.5) & (middle[a] < prior.shape[a] - 0.5) for a in (1, 2)], axis=0)
        slice_ = _reconstruct(total / len(depths), strength.at(middle), grid, settings, rng)
        image[k] = np.rint(np.clip(np.where(seen, slice_, PADDING), PADDING, 32767))
    progress("scanning the follow-up", grid.shape[0], grid.shape[0])
    return image, masks


def _prior_index(motion: Motion, grid: Geometry, prior: Geometry, i: np.ndarray, j: np.ndarray, k: float) -> np.ndarray:
    """Prior indices (3, J, I), k first, of one slice of the follow-up."""
    world = grid.world(np.stack([i, j, np.full(i.shape, float(k))], axis=-1))
    return np.moveaxis(prior.index(motion.to_prior(world))[..., ::-1], -1, 0)


def _depths(grid: Geometry, prior: Geometry) -> list[float]:
    """Depths, in slices, at which a thick slice is sampled: at the prior's spacing or closer."""
    count = max(1, int(np.ceil(grid.spacing[2] / prior.spacing[2] - 1e-3)))
    return [(number + 0.5) / count - 0.5 for number in range(count)]


def _covered(grid: Geometry, prior: Volume, motion: Motion) -> Geometry:
    """The grid without slices that leave the prior's ends within the patient."""
    blocks = coarse_blocks(prior.geometry, 8.0)
    flat = body_mask(block_means(prior.array, blocks), -300.0).max(axis=0)
    rows = np.flatnonzero(flat.max(axis=1))[[0, -1]] * blocks[1]
    columns = np.flatnonzero(flat.max(axis=0))[[0, -1]] * blocks[2]
    ends = np.array([[i, j, k] for i in columns for j in rows for k in (0, prior.geometry.shape[0] - 1)], float)
    ends = grid.index(motion.to_followup(prior.geometry.world(ends)))[:, 2].reshape(4, 2)
    ends.sort(axis=1)
    first = max(0, int(np.ceil(ends[:, 0].max() - 0.5)))
    stop = min(grid.shape[0], int(np.floor(ends[:, 1].min() + 0.5)) + 1)
    return keep_slices(grid, first, stop)


@dataclass(frozen=True, eq=False)
class _NoiseMap:
    """Strength of noise in the prior's space: largest where rays have passed the most tissue."""

    array: np.ndarray
    ratio: np.ndarray

    def at(self, index: np.ndarray) -> np.ndarray:
        place = (index + 0.5) / self.ratio[:, None, None] - 0.5
        return ndimage.map_coordinates(self.array, place, order=1, mode="nearest")


def _noise_map(array: np.ndarray, geometry: Geometry) -> _NoiseMap:
    blocks = coarse_blocks(geometry, 8.0)
    coarse = block_means(array, blocks)
    body = body_mask(coarse, -300.0)
    spacing = coarse_geometry(geometry, blocks, coarse.shape).spacing[::-1]
    depth = ndimage.distance_transform_edt(np.pad(body, ((8, 8), (1, 1), (1, 1)), mode="edge"), sampling=spacing)
    depth = depth[8:-8, 1:-1, 1:-1]
    strength = 0.45 + 0.6 * np.minimum(1.0, depth / max(40.0, float(np.percentile(depth, 98))))
    return _NoiseMap(ndimage.gaussian_filter(strength, [12.0 / s for s in spacing]), np.array(blocks, float))


def _reconstruct(
    image: np.ndarray, strength: np.ndarray, grid: Geometry, settings: FollowUpSettings, rng: np.random.Generator
) -> np.ndarray:
    """One slice (J, I) as the kernel shows it, with noise of the kernel's own spectrum."""
    blur, unsharp, fade = KERNELS[settings.kernel]
    frequency = np.hypot(
        fft.fftfreq(image.shape[0], grid.spacing[1])[:, None], fft.rfftfreq(image.shape[1], grid.spacing[0])[None]
    )
    passes = np.exp(-2 * (np.pi * frequency * blur) ** 2)
    passes = passes * (1 + unsharp * (1 - np.exp(-2 * (np.pi * frequency * 1.2) ** 2)))
    # Filtered back-projection: a ramp, rolled off by the kernel.
    spectrum = np.sqrt(frequency) * np.exp(-0.5 * (frequency / fade) ** 2)
    grain = fft.irfft2(fft.rfft2(rng.standard_normal(image.shape)) * spectrum, image.shape)
    grain *= settings.noise_hu / max(1e-9, float(grain.std()))
    return fft.irfft2(fft.rfft2(image) * passes, image.shape) + grain * strength


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
