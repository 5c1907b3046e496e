"""The target changed by replacing tissue: its new shape, and the image with it, on the prior's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.errors import InputError
from adaptsam.image.downsampling import block_means, body_mask, coarse_blocks
from adaptsam.image.signed_distance import signed_distance
from adaptsam.image.volume import Volume
from adaptsam.synthetic.digital_followup.followup_settings import FollowUpSettings
from adaptsam.synthetic.digital_followup.tissue_quilting import Donors, blend, quilt

#: Around the target, this much of the scan is looked at for tissue to replace it with.
SURROUNDINGS_MM = 70.0
#: A target's blurred rim lies outside of its contour; it goes with the target.
RIM_MM = 4.0
#: Edges are as sharp as a scanner's point spread (sigma) lets them be.
EDGE_MM = 0.9
_AERATED, _GAS, _BONE = -450.0, -960.0, 180.0


@dataclass(frozen=True, eq=False)
class Site:
    """The target and what is around it; arrays (K, J, I) of a ``box`` of the prior's grid.

    ``distance`` is in mm to the target's border, negative inside. ``lung`` is aerated lung with its vessels, ``soft``
    is soft tissue that is no bone, ``in_lung`` whether lung takes the target's place.
    """

    box: tuple[slice, ...]
    spacing: tuple[float, ...]
    image: np.ndarray
    target: np.ndarray
    distance: np.ndarray
    lung: np.ndarray
    soft: np.ndarray
    in_lung: bool

    @property
    def voxel_volume(self) -> float:
        return float(np.prod(self.spacing))

    @property
    def volume(self) -> float:
        """Volume of the target in the prior, mm³."""
        return float(self.target.sum()) * self.voxel_volume


@dataclass(frozen=True, eq=False)
class Change:
    """Changed target. Distances in mm (K, J, I) on the site's box, negative inside.

    ``shape`` is the new target, ``removed`` where healthy tissue took the target's place, ``grown`` where the target
    took the place of other tissue; ``image`` float32 shows it.
    """

    site: Site
    shape: np.ndarray
    removed: np.ndarray
    grown: np.ndarray
    image: np.ndarray


def find_site(prior: Volume, target: np.ndarray) -> Site:
    """Find the target's surroundings; ``target`` is bool (K, J, I) on the prior's grid."""
    spacing = prior.geometry.spacing[::-1]
    held = np.argwhere(target)
    margin = np.ceil(SURROUNDINGS_MM / np.array(spacing)).astype(int)
    low = np.maximum(held.min(axis=0) - margin, 0)
    high = np.minimum(held.max(axis=0) + margin + 1, target.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    image, here = prior.array[box].astype(np.float32), target[box]
    smooth = ndimage.gaussian_filter(image, [1.2 / s for s in spacing])
    near = ndimage.distance_transform_edt(~here, sampling=spacing)
    body, shell = _body(prior, box), (near > 2) & (near < 8)
    dark = (smooth < _AERATED) & (smooth > _GAS)
    if not _surrounds(dark & body, shell):
        body |= _cut_lung(dark & ~body, near, spacing)
    aerated = dark & body
    lung = _closed(aerated, 4.0, spacing) & body & (smooth > _GAS) & (smooth < _BONE)
    soft = (smooth > -250) & (smooth < _BONE) & body
    in_lung = _surrounds(aerated, shell)
    distance = ndimage.gaussian_filter(signed_distance(here, spacing), [0.0, 0.7, 0.7])
    return Site(box, spacing, image, here, distance, lung, soft, in_lung)


def change_target(site: Site, settings: FollowUpSettings, squeeze: float, rng: np.random.Generator) -> Change:
    """Give the target its new shape, and replace tissue accordingly.

    Args:
        squeeze: volume in the follow-up by volume in the prior, of tissue where the target is; it is made up for.

    Raises:
        InputError: the target is too small to shrink, or has no room to grow.
    """
    shape = _new_shape(site, settings, site.volume * settings.volume_ratio / squeeze, rng)
    if settings.tumour in ("same", "necrosis"):
        removed = grown = np.full(shape.shape, 1e3, np.float32)
        image = site.image
    elif settings.tumour == "grow":
        removed = np.full(shape.shape, 1e3, np.float32)
        grown = np.maximum(shape, -site.distance)
        image = _with_tumour(site, shape, rng)
    else:
        grown = np.full(shape.shape, 1e3, np.float32)
        removed = np.maximum(_rim(site), -shape)
        image = _with_host(site, removed, rng)
    if settings.tumour == "necrosis":
        image = _with_core(site, image, shape)
    return Change(site, shape, removed, grown, image)


def _new_shape(site: Site, settings: FollowUpSettings, volume: float, rng: np.random.Generator) -> np.ndarray:
    """Distances to the border of the new target, which has ``volume`` mm³."""
    if settings.tumour in ("same", "necrosis"):
        return site.distance
    if settings.tumour == "vanish":
        return np.full(site.distance.shape, 1e3, np.float32)
    if volume < 5 * site.voxel_volume:
        raise InputError(
            f"The target would shrink to {volume / 1000:.2f} cm³, too little for the prior's voxels; "
            "ask for a larger volume, or for 'vanish'."
        )
    relief = _relief(site, settings.relief_mm, rng)
    if settings.tumour == "grow":
        return _grown_shape(site, settings.volume_ratio, volume, relief)
    base = _scaled(site, settings.volume_ratio ** (1 / 3), _attachment(site)) + relief
    within = np.maximum(site.distance, _gap(site, rng)) if settings.tumour == "split" else site.distance
    shape = _of_volume(lambda offset: np.maximum(base + offset, within), volume, site)
    if _volume(shape, site) < 0.97 * volume:
        raise InputError(
            f"The target is too small to be split into parts of {volume / 1000:.2f} cm³ together; "
            "ask for a smaller volume ratio."
        )
    return _without_crumbs(shape, pieces=2 if settings.tumour == "split" else None)


def _grown_shape(site: Site, ratio: float, volume: float, relief: np.ndarray) -> np.ndarray:
    """The target, larger: in lung it stays within lung and half a centimetre of what is beside it."""
    base = _scaled(site, ratio ** (1 / 3), _middle(site))
    room = site.lung | site.soft if not site.in_lung else ndimage.binary_dilation(site.lung, iterations=1)
    room |= ndimage.distance_transform_edt(~site.target, sampling=site.spacing) < 2
    if site.in_lung:
        room |= (ndimage.distance_transform_edt(~room, sampling=site.spacing) < 5) & site.soft
    barrier = signed_distance(room, site.spacing) if not room.all() else np.full(room.shape, -1e3, np.float32)

    def at(offset: float) -> np.ndarray:
        return np.minimum(np.maximum(base + relief + offset, barrier), site.distance)

    shape = _of_volume(at, volume, site)
    if _volume(shape, site) < 0.97 * volume:
        raise InputError(
            f"The target has no room to grow to {volume / 1000:.1f} cm³ within the tissue around it; "
            "ask for a smaller volume ratio."
        )
    return shape


def _of_volume(shape_at: Callable[[float], np.ndarray], volume: float, site: Site) -> np.ndarray:
    """The member of a family of shapes, ordered by an offset in mm, that has the volume; the nearest to it if none."""
    low, high = -SURROUNDINGS_MM / 2, SURROUNDINGS_MM / 2
    for _ in range(16):
        offset = (low + high) / 2
        low, high = (low, offset) if _volume(shape_at(offset), site) < volume else (offset, high)
    return shape_at((low + high) / 2)


def _volume(distance: np.ndarray, site: Site) -> float:
    """Volume in mm³ within a border, from the eight corners of every voxel's inner half, as interpolation has it."""
    near = np.argwhere(distance < max(site.spacing))
    if len(near) == 0:
        return 0.0
    parts = [distance[tuple(slice(a, b + 1) for a, b in zip(near.min(axis=0), near.max(axis=0), strict=True))]]
    for axis in range(3):
        parts = [
            ndimage.correlate1d(part, weights, axis, mode="nearest")
            for part in parts
            for weights in ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))
        ]
    return float(sum((part < 0).sum() for part in parts)) / len(parts) * site.voxel_volume


def _scaled(site: Site, scale: float, centre: np.ndarray) -> np.ndarray:
    """Distances to the target scaled about ``centre`` (k, j, i)."""
    index = np.indices(site.target.shape, dtype=np.float32)
    about = centre[:, None, None, None]
    return scale * ndimage.map_coordinates(site.distance, (index - about) / scale + about, order=1, mode="nearest")


def _middle(site: Site) -> np.ndarray:
    return np.argwhere(site.target).mean(axis=0)


def _attachment(site: Site) -> np.ndarray:
    """About what the target shrinks (k, j, i): half-way from its middle to where it hangs on soft tissue, in lung."""
    middle = _middle(site)
    beside = (site.distance > 2) & (site.distance < 5)
    held = beside & site.soft & ~site.lung
    share = held.sum() / max(1, beside.sum())
    if not site.in_lung or not 0.05 < share < 0.95:
        return middle
    return 0.6 * middle + 0.4 * np.argwhere(held).mean(axis=0)


def _relief(site: Site, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """A random surface relief in mm with lobes of about a centimetre."""
    field = ndimage.gaussian_filter(rng.normal(size=site.target.shape), [4.5 / s for s in site.spacing])
    return (field * (amplitude / max(1e-12, float(field.std())))).astype(np.float32)


def _gap(site: Site, rng: np.random.Generator) -> np.ndarray:
    """Positive within a winding gap that parts the target across its longest axis."""
    points = np.argwhere(site.target) * np.array(site.spacing)
    middle = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - middle).T))
    axis = axes[:, -1] + 0.25 * rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    along = (points - middle) @ axis
    extent = float(np.ptp(along))
    index = np.moveaxis(np.indices(site.target.shape), 0, -1) * np.array(site.spacing)
    winding, width = (
        ndimage.gaussian_filter(rng.normal(size=site.target.shape), [9.0 / s for s in site.spacing]) for _ in range(2)
    )
    # Wide enough everywhere to be seen between voxels.
    narrowest = max(3.0, 0.9 * max(site.spacing))
    half = narrowest + 0.03 * extent * np.clip(1 + width / width.std(), 0, 3)
    place = float(np.median(along)) + 0.06 * extent * winding / winding.std()
    return half - np.abs((index - middle) @ axis - place)


def _without_crumbs(shape: np.ndarray, pieces: int | None) -> np.ndarray:
    """The shape without pieces below a fiftieth of it, which the relief may have cut off; at most so many pieces."""
    labels, _ = ndimage.label(shape < 0)
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    dropped = [one for rank, one in enumerate(order) if sizes[one] < 0.02 * sizes.sum() or (pieces and rank >= pieces)]
    return np.where(np.isin(labels, np.array(dropped, int) + 1), -shape, shape)


def _rim(site: Site) -> np.ndarray:
    """Distances to the target with its blurred rim, as far as that is not the wall, an organ or a large vessel."""
    solid = (site.image > (-500 if site.in_lung else -1e4)) & (site.distance > 0)
    firm = _opened(solid, RIM_MM, site.spacing)
    firm = ndimage.binary_dilation(firm, iterations=1) & solid
    near = site.distance < RIM_MM
    with_rim = site.target | (near & solid & ~firm) if site.in_lung else site.target
    return np.minimum(signed_distance(with_rim, site.spacing), site.distance)


def _with_host(site: Site, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with the tissue of the surroundings where ``removed`` is negative."""
    clear = site.distance > RIM_MM + 1
    if site.in_lung:
        mask, block = site.lung & clear, 36.0
    else:
        shell = site.image[(site.distance > 3) & (site.distance < 10) & site.soft]
        low, high = np.percentile(shell, (5, 95)) if shell.size else (-50.0, 100.0)
        smooth = ndimage.gaussian_filter(site.image, [1.5 / s for s in site.spacing])
        mask, block = site.soft & clear & (smooth > low) & (smooth < high), 18.0
    if not mask.any():
        raise InputError("There is no healthy tissue around the target that could take its place; choose another one.")
    made = quilt(Donors(site.image, mask, site.spacing, block), removed < 3 * EDGE_MM, rng)
    return blend(site.image, made, removed, EDGE_MM, site.spacing)


def _with_tumour(site: Site, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with the target's own tissue within the new shape; its old interior stays as it is."""
    plain = site.target & (site.image > -150) & (site.image < 250)
    mask = plain & (site.distance < -2.5)
    if mask.sum() < 30:
        mask = plain if plain.any() else site.target
    # The old border is a blurred one, over a slice's thickness too: it goes.
    place = np.maximum(shape, -site.distance - max(3.0, 1.2 * max(site.spacing)))
    made = quilt(Donors(site.image, mask, site.spacing, 14.0), place < 3 * EDGE_MM, rng)
    return blend(site.image, made, place, EDGE_MM, site.spacing)


def _with_core(site: Site, image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The target with a core near the density of water; its noise stays."""
    deepest = float(-shape.min())
    core = 0.5 - 0.5 * np.tanh((shape + 0.4 * deepest) / 1.5)
    inside = image[shape < -0.4 * deepest]
    drop = max(0.0, float(np.median(inside)) - 8.0) if inside.size else 0.0
    return (image - core * np.where(image > -100, drop, 0.0)).astype(np.float32)


def _body(prior: Volume, box: tuple[slice, ...]) -> np.ndarray:
    """The patient in the box, from coarse voxels."""
    blocks = coarse_blocks(prior.geometry, 4.0)
    body = body_mask(block_means(prior.array, blocks), -300.0)
    index = [
        np.minimum(np.arange(a.start, a.stop) // b, n - 1) for a, b, n in zip(box, blocks, body.shape, strict=True)
    ]
    return body[np.ix_(*index)]


def _surrounds(aerated: np.ndarray, shell: np.ndarray) -> bool:
    return bool(aerated[shell].sum() > 0.2 * max(1, shell.sum()))


def _cut_lung(dark: np.ndarray, near: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Lung beside the target that the scan's border cuts open, so that it is no hole of the body.

    Args:
        dark: aerated and outside of the body.
        near: distance to the target, mm.
    """
    labels, _ = ndimage.label(_opened(dark, 2.0, spacing))
    beside = np.unique(labels[near < 8])
    return _closed(np.isin(labels, beside[beside > 0]), 4.0, spacing)


def _closed(mask: np.ndarray, radius: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Gaps narrower than twice the radius (mm) filled."""
    wide = ndimage.distance_transform_edt(~mask, sampling=spacing) <= radius
    return ndimage.distance_transform_edt(wide, sampling=spacing) > radius


def _opened(mask: np.ndarray, radius: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Morphological opening by a radius in mm."""
    core = ndimage.distance_transform_edt(mask, sampling=spacing) > radius
    return ndimage.distance_transform_edt(~core, sampling=spacing) <= radius if core.any() else core
