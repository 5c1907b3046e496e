"""Deformable registration of a target to its prior, after the rigid step: diffeomorphic Demons on coarse volumes.

Demons compare intensities, and a contrast agent that one visit lacks leads them astray. Where it does, local
correlation registers first; then Demons see soft tissue and all that is brighter as one, so that lung and air around
it still move as they should.

The forces and smoothing are those of Vercauteren et al. (NeuroImage 2009), as ITK has them; here are the resolutions,
what lies outside of the prior's field of view, and when the result is believed. It undoes breathing and posture. It
does not know that tissue came or went: where a tumour shrank, it pulls the tissue around it inwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from adaptsam.errors import InputError
from adaptsam.image.body import CoarseVolume
from adaptsam.image.displacement_field import DisplacementField
from adaptsam.image.intensity import is_cone_beam, is_ct
from adaptsam.image.volume import Geometry, Volume
from adaptsam.registration.contrast_agent import agent_differs
from adaptsam.registration.local_correlation import Pair, follow_correlation
from adaptsam.registration.rigid import PREPARED_HU, Rigid, as_image, prepared, run_watched, share_of_pitch

#: Fewer voxels than this along an axis cannot carry a gradient that means something.
FEWEST_VOXELS = 6

#: "auto" compares local correlation where a contrast agent came or went, and intensities elsewhere.
METRICS = ("auto", "intensity", "correlation")

#: Hounsfield units from which on all tissue is one to Demons where a contrast agent came or went.
ONE_TISSUE_HU = -200.0


@dataclass(frozen=True)
class DeformableSettings:
    """``pitch_mm`` is the finest resolution, finer still for small images; the coarser ones are ``shrink`` times that,
    with as many ``iterations``.

    ``smoothing`` keeps the displacement elastic, ``update_smoothing`` every step of it fluid-like: the sigmas of
    Gaussians, as multiples of each resolution's pitch. ``largest_step`` is in voxels. ``margin_mm`` of what surrounds
    the target's body is looked at too. ``metric`` is what is compared, one of :data:`METRICS`.
    """

    pitch_mm: float = 3.0
    shrink: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (100, 60, 15)
    smoothing: float = 1.5
    update_smoothing: float = 1.0
    largest_step: float = 2.0
    margin_mm: float = 15.0
    metric: str = "auto"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(f"Deformable registration compares {', '.join(METRICS)}, not {self.metric!r}.")
        if not self.pitch_mm > 0:
            raise InputError(f"The pitch of a registration must be above 0 mm, but is {self.pitch_mm!r}.")
        pairs = (self.shrink, self.iterations)
        if not all(isinstance(one, tuple | list) for one in pairs) or len(self.shrink) != len(self.iterations):
            raise InputError(
                f"Deformable registration needs as many iterations as resolutions, not {self.iterations!r} for the "
                f"shrink factors {self.shrink!r}."
            )
        if not self.shrink or any(type(number) is not int or number < 1 for one in pairs for number in one):
            raise InputError(
                f"Shrink factors and iterations are whole numbers from 1, not {self.shrink!r} and {self.iterations!r}."
            )


@dataclass(frozen=True, eq=False)
class Deformation:
    """Deformation from target to prior points: ``rigid.to_prior(x + u(x))``.

    Attributes:
        rigid: the rigid transform that the deformation refines.
        displacement: u, in the target's space.
        quality: correlation of the aligned images over the body, 0 to 1.
        method: "deformable", or the rigid method's where nothing better was found.
        warning: a sentence for the user, or "".
    """

    rigid: Rigid
    displacement: DisplacementField
    quality: float
    method: str = "deformable"
    warning: str = ""

    def to_prior(self, world: np.ndarray) -> np.ndarray:
        """Prior points (..., 3) of target points (..., 3), LPS mm."""
        return self.rigid.to_prior(np.asarray(world, float) + self.displacement.at(world))

    def to_target(self, world: np.ndarray) -> np.ndarray:
        """Target points (..., 3) of prior points (..., 3), LPS mm."""
        return self.displacement.undo(self.rigid.to_target(world))


def register_deformably(
    prior: Volume,
    target: Volume,
    rigid: Rigid,
    settings: DeformableSettings | None = None,
    *,
    modality: str = "",
    tick: Callable[[], None] = lambda: None,
) -> Deformation:
    """Refine a rigid transform to a smooth, invertible deformation.

    Args:
        prior: gray image (K, J, I).
        target: gray image (K, J, I) of the same modality, turned alike (canonical).
        rigid: from target to prior points, as :func:`adaptsam.registration.rigid.register` finds it.
        settings: see :class:`DeformableSettings`; 3 mm by default, 20 s of one core for a CT of the thorax.
        modality: stands in where a volume does not know its own.
        tick: called on every iteration; may raise to stop.

    Returns:
        The deformation. It never fails: where the images cannot be compared, or nothing fits better than the rigid
        transform, the displacement is zero, with a warning.
    """
    options = settings or DeformableSettings()
    options = replace(options, pitch_mm=options.pitch_mm * share_of_pitch(options.pitch_mm, prior, target))
    fixed = prepared(target, options.pitch_mm, modality or prior.modality)
    fixed = _cropped(fixed, options.margin_mm)
    if is_ct(prior, modality) != is_ct(target, modality or prior.modality):
        return _unchanged(rigid, fixed, "images of different modalities are not registered deformably; rigid was used")
    if min(fixed.geometry.shape + prior.geometry.shape) < FEWEST_VOXELS:
        return _unchanged(rigid, fixed, "too few slices to register deformably; rigid was used")
    moved, seen = _on_grid(prepared(prior, options.pitch_mm, modality), fixed.geometry, rigid)
    # Where the prior shows nothing, the target stands in for it: no difference, no force.
    moving = np.where(seen, moved, fixed.array).astype(np.float32)
    where = seen & fixed.body
    ct = is_ct(target, modality or prior.modality)
    known = ct and not (is_cone_beam(prior) or is_cone_beam(target))
    if options.metric == "correlation" or (options.metric == "auto" and known and _agent(fixed.array, moving, where)):
        return _through_agent(rigid, fixed, moving, where, options, tick, known)
    if not ct:
        moving = sitk.GetArrayFromImage(
            sitk.HistogramMatching(as_image(moving, fixed.geometry), as_image(fixed.array, fixed.geometry), 128, 15)
        )
    field_ = _demons(as_image(fixed.array, fixed.geometry), as_image(moving, fixed.geometry), options, tick)
    return _believed(rigid, fixed, moving, where, _array(field_))


def _agent(fixed: np.ndarray, moving: np.ndarray, where: np.ndarray) -> bool:
    low, high = PREPARED_HU
    return agent_differs(low + fixed * (high - low), low + moving * (high - low), where)


def _through_agent(
    rigid: Rigid,
    fixed: CoarseVolume,
    moving: np.ndarray,
    where: np.ndarray,
    options: DeformableSettings,
    tick: Callable[[], None],
    hounsfield: bool,
) -> Deformation:
    """Deformation by local correlation; of CT in Hounsfield units, Demons on what no agent changes refine it."""
    first = _by_correlation(fixed, moving, options, tick)
    found = _believed(rigid, fixed, moving, where, first)
    if not hounsfield:
        return found
    low, high = PREPARED_HU
    one = (ONE_TISSUE_HU - low) / (high - low)
    plain = replace(fixed, array=np.minimum(fixed.array, one))
    field = DisplacementField(first, fixed.geometry)
    k, j, i = np.indices(fixed.geometry.shape, dtype=np.float32)
    world = fixed.geometry.world(np.stack([i, j, k], axis=-1))
    there = fixed.geometry.index(world + first)[..., ::-1]
    moved = np.minimum(ndimage.map_coordinates(moving, np.moveaxis(there, -1, 0), order=1, mode="nearest"), one)
    finer = replace(options, shrink=options.shrink[-2:], iterations=options.iterations[-2:])
    images = [as_image(array.astype(np.float32), fixed.geometry) for array in (plain.array, moved)]
    second = _array(_demons(images[0], images[1], finer, tick))
    both = (second + field.at(world + second)).astype(np.float32)
    refined = _believed(rigid, plain, np.minimum(moving, one), where, both)
    return found if refined.warning else refined  # it may fold tissue where the first does not


def _by_correlation(
    fixed: CoarseVolume, moving: np.ndarray, options: DeformableSettings, tick: Callable[[], None]
) -> np.ndarray:
    """The displacement (K, J, I, 3) in LPS mm on the fixed image's grid that local correlation finds."""
    images = [as_image(array, fixed.geometry) for array in (fixed.array, moving)]
    turn = np.reshape(fixed.geometry.direction, (3, 3))
    found: sitk.Image | None = None
    for shrink, iterations in zip(options.shrink, options.iterations, strict=True):
        coarse = [_shrunk(image, shrink) for image in images]
        a, b = (sitk.GetArrayFromImage(image) for image in coarse)
        spacing = coarse[0].GetSpacing()
        start = np.zeros((3, *a.shape), np.float32)
        if found is not None:
            along = _array(_resampled(found, coarse[0])) @ turn / spacing
            start = np.moveaxis(along[..., ::-1], -1, 0)
        field = follow_correlation(Pair(a, b, spacing[::-1]), start, iterations, tick)
        world = (np.moveaxis(field, 0, -1)[..., ::-1] * spacing) @ turn.T
        found = sitk.GetImageFromArray(world.astype(np.float64), isVector=True)
        found.CopyInformation(coarse[0])
    assert found is not None
    return _array(_resampled(found, images[0]))


def _array(field: sitk.Image) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(field), np.float32)


def _cropped(volume: CoarseVolume, margin_mm: float) -> CoarseVolume:
    """The body's box and ``margin_mm`` around it."""
    box = []
    for axis, spacing in enumerate(volume.geometry.spacing[::-1]):
        held = np.flatnonzero(volume.body.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(margin_mm / spacing))
        box.append(slice(max(0, int(held[0]) - margin), min(volume.body.shape[axis], int(held[-1]) + 1 + margin)))
    array, body = volume.array[tuple(box)], volume.body[tuple(box)]
    origin = volume.geometry.world(np.array([axis.start for axis in box[::-1]]))
    geometry = replace(
        volume.geometry,
        shape=(array.shape[0], array.shape[1], array.shape[2]),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
    return CoarseVolume(np.ascontiguousarray(array), geometry, body)


def _on_grid(volume: CoarseVolume, grid: Geometry, rigid: Rigid) -> tuple[np.ndarray, np.ndarray]:
    """The prior as the rigid transform shows it on the target's grid, and where it shows anything."""
    k, j, i = np.indices(grid.shape, dtype=np.float32)
    there = volume.geometry.index(rigid.to_prior(grid.world(np.stack([i, j, k], axis=-1))))[..., ::-1]
    seen = np.all((there > -0.5) & (there < np.array(volume.geometry.shape) - 0.5), axis=-1)
    return ndimage.map_coordinates(volume.array, np.moveaxis(there, -1, 0), order=1, mode="nearest"), seen


def _demons(fixed: sitk.Image, moving: sitk.Image, options: DeformableSettings, tick: Callable[[], None]) -> sitk.Image:
    """The displacement from fixed to moving points on the fixed image's grid, coarse to fine."""
    found: sitk.Image | None = None
    for shrink, iterations in zip(options.shrink, options.iterations, strict=True):
        coarse = [_shrunk(image, shrink) for image in (fixed, moving)]
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(iterations)
        method.SetMaximumUpdateStepLength(options.largest_step)
        method.SetSmoothUpdateField(True)
        # Steps are small: with the full exponential all takes 1.6 times as long, and comes out the same.
        method.SetUseFirstOrderExp(True)
        pitch = options.pitch_mm * shrink
        in_voxels = [max(0.3, pitch / spacing) for spacing in coarse[0].GetSpacing()]
        method.SetStandardDeviations([options.smoothing * v for v in in_voxels])
        method.SetUpdateFieldStandardDeviations([options.update_smoothing * v for v in in_voxels])
        start = [] if found is None else [_resampled(found, coarse[0])]
        found = run_watched(method, tick, *coarse, *start)
    assert found is not None
    return _resampled(found, fixed)


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    """Smoothed and thinned out, but along no axis to fewer voxels than carry a gradient."""
    if factor == 1:
        return image
    factors = [max(1, min(factor, size // FEWEST_VOXELS)) for size in image.GetSize()]
    sigmas = [max(1e-3, 0.5 * f * s) if f > 1 else 1e-3 for f, s in zip(factors, image.GetSpacing(), strict=True)]
    smooth = sitk.DiscreteGaussian(image, [s**2 for s in sigmas], maximumKernelWidth=32)
    return sitk.Shrink(smooth, factors)


def _resampled(displacement: sitk.Image, grid: sitk.Image) -> sitk.Image:
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(grid)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    return resample.Execute(displacement)


def _believed(
    rigid: Rigid, fixed: CoarseVolume, moving: np.ndarray, where: np.ndarray, displacement: np.ndarray
) -> Deformation:
    """The deformation, unless it fits no better than the rigid transform or folds tissue."""
    field = DisplacementField(displacement, fixed.geometry)
    index = np.argwhere(where)
    if len(index) < 100:
        return _unchanged(rigid, fixed, "prior and target share too little to register deformably; rigid was used")
    there = fixed.geometry.world(index[:, ::-1])
    there = fixed.geometry.index(there + field.at(there))[:, ::-1]
    a, before = fixed.array[where], moving[where]
    after = ndimage.map_coordinates(moving, there.T, order=1, mode="nearest")
    qualities = [float(np.corrcoef(a, b)[0, 1]) if a.std() * b.std() > 1e-9 else 0.0 for b in (before, after)]
    if qualities[1] <= qualities[0] or field.jacobian().min() <= 0:
        return _unchanged(rigid, fixed, "no deformation fits better than the rigid transform; rigid was used")
    return Deformation(rigid, field, max(0.0, qualities[1]))


def _unchanged(rigid: Rigid, fixed: CoarseVolume, warning: str) -> Deformation:
    still = DisplacementField(np.zeros((*fixed.geometry.shape, 3), np.float32), fixed.geometry)
    return Deformation(rigid, still, rigid.quality, rigid.method, warning)
