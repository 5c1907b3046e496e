"""Rigid registration of a target to its prior, in seconds: where in the prior does a point of the target lie?

The target is the fixed image, so that the transform takes target points to prior points. A masked cross-correlation
over all shifts finds the neighbourhood (couch positions differ by decimetres, fields of view too), then Mattes mutual
information refines translation and rotation on two resolutions. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage

from adaptsam.errors import InputError
from adaptsam.image.body import CoarseVolume, coarsen
from adaptsam.image.intensity import intensity_range, is_cone_beam, is_ct, same_kind
from adaptsam.image.volume import Geometry, Volume

#: An image has at least so many voxels at a registration's pitch, if it is stored finely enough: 16 for each of the
#: 32 × 32 cells of a joint histogram. Of a hippocampus cut out of the brain, 5 mm leave 300, and no maximum to find.
LEAST_VOXELS = 16384

#: The Hounsfield units that registration looks at.
PREPARED_HU = (-1000.0, 600.0)


@dataclass(frozen=True)
class RegistrationSettings:
    """Pitches in mm; ``minimum_overlap`` is the share of the smaller body that two shifted bodies must share.

    Of small images both pitches shrink (:func:`share_of_pitch`).

    ``smoothing`` is the Gaussian's sigma in voxels of the pitch; steps shrink by ``relaxation`` at every turn until
    ``last_step_mm``: with 0.6 in place of 0.8 it stopped 2 mm early on LUNG1-001 moved by 10° and 8 cm.
    Below ``minimum_quality`` (correlation of the aligned images, 0 to 1) the result is not believed.

    Images of two modalities are compared by their mutual information, as the correlation that would have as much of it
    (Linfoot, Information and Control 1957): below ``minimum_information`` they are not believed, and physical positions
    stay unless the transform is better by ``advantage``, because from one scanner or planning system they are often
    right.
    """

    pitch_mm: float = 5.0
    search_pitch_mm: float = 10.0
    minimum_overlap: float = 0.3
    minimum_quality: float = 0.6
    minimum_information: float = 0.4
    advantage: float = 0.05
    iterations: int = 150
    relaxation: float = 0.8
    last_step_mm: float = 0.02
    smoothing: float = 1.0
    sampling: float = 0.2
    bins: int = 32
    largest_rotation_deg: float = 30.0

    def __post_init__(self) -> None:
        if not (self.pitch_mm > 0 and self.search_pitch_mm > 0):
            raise InputError(
                "The pitches of a registration must be above 0 mm, but are "
                f"{self.pitch_mm!r} and {self.search_pitch_mm!r}."
            )


@dataclass(frozen=True, eq=False)
class Rigid:
    """``matrix`` (4, 4) takes target LPS mm to prior LPS mm; ``quality`` 0 to 1; ``method`` says how it was found."""

    matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    quality: float = 0.0
    method: str = "position"
    warning: str = ""

    def to_prior(self, world: np.ndarray) -> np.ndarray:
        """Prior points (..., 3) of target points (..., 3), LPS mm."""
        return np.asarray(world, float) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def to_target(self, world: np.ndarray) -> np.ndarray:
        """Target points (..., 3) of prior points (..., 3), LPS mm."""
        return (np.asarray(world, float) - self.matrix[:3, 3]) @ self.matrix[:3, :3]

    @property
    def rotation_deg(self) -> float:
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))


def register(
    prior: Volume,
    target: Volume,
    settings: RegistrationSettings | None = None,
    *,
    modality: str = "",
    tick: Callable[[], None] = lambda: None,
) -> Rigid:
    """The rigid transform from ``target`` to ``prior``, both gray and turned alike (canonical).

    ``tick`` is called on every iteration and between the steps before, and may raise to stop. Never fails: where
    nothing fits better than the physical position, that comes back with a warning.
    """
    options = settings or RegistrationSettings()
    share = share_of_pitch(options.pitch_mm, prior, target)
    options = replace(options, pitch_mm=share * options.pitch_mm, search_pitch_mm=share * options.search_pitch_mm)
    fixed = prepared(target, options.pitch_mm, modality or prior.modality)
    tick()
    moving = prepared(prior, options.pitch_mm, modality)
    tick()
    alike = same_kind(prior, target)
    start = Rigid(quality=_quality(fixed, moving, np.eye(4), options, alike))
    if min(fixed.geometry.shape + moving.geometry.shape) < 4:
        return Rigid(quality=start.quality, warning="too few slices to register; physical positions were used")
    guesses = _guesses(fixed, moving, options)
    tick()
    with _one_thread():
        rough = [_refine(fixed, moving, guess, options, 2, tick) for guess in guesses]
        best = max(rough, key=lambda matrix: _quality(fixed, moving, matrix, options, alike))
        matrix = _refine(fixed, moving, best, options, 1, tick)
    found = Rigid(matrix, _quality(fixed, moving, matrix, options, alike), "rigid")
    return _choose(start, found, options, alike)


def share_of_pitch(pitch_mm: float, *volumes: Volume) -> float:
    """The share of a pitch, at most 1, at which the smallest of some volumes has :data:`LEAST_VOXELS`."""
    smallest = min(one.array.size * one.geometry.voxel_volume for one in volumes)
    return float(min(1.0, (smallest / LEAST_VOXELS) ** (1 / 3) / pitch_mm))


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metrics sum in a fixed order on one thread only, so that every run gives the same result."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _choose(start: Rigid, found: Rigid, options: RegistrationSettings, alike: bool) -> Rigid:
    """The registered transform, unless physical position fits at least as well or nothing can be believed."""
    if found.quality < start.quality + (0.0 if alike else options.advantage):
        found = Rigid(start.matrix, start.quality, "rigid")
    if (
        found.quality >= (options.minimum_quality if alike else options.minimum_information)
        and found.rotation_deg <= options.largest_rotation_deg
    ):
        return found
    text = f"prior and target could not be registered (similarity {found.quality:.2f}); physical positions were used"
    return Rigid(quality=max(0.0, start.quality), warning=text)


def prepared(volume: Volume, pitch_mm: float, modality: str) -> CoarseVolume:
    """The coarse volume in a robust range 0 to 1, so that metal, padding and couch weigh little."""
    coarse = coarsen(volume, pitch_mm, modality)
    reliable = is_ct(volume, modality) and not is_cone_beam(volume)
    low, high = PREPARED_HU if reliable else intensity_range(volume.array)
    array = np.clip((coarse.array - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return replace(coarse, array=array)


def _guesses(fixed: CoarseVolume, moving: CoarseVolume, options: RegistrationSettings) -> list[np.ndarray]:
    """Starting points: as scanned, and at the two best distinct shifts of the correlation search."""
    guesses = [np.eye(4)]
    for shift in _best_shifts(fixed, moving, options):
        if all(np.linalg.norm(guess[:3, 3] - shift) > options.search_pitch_mm for guess in guesses):
            guess = np.eye(4)
            guess[:3, 3] = shift
            guesses.append(guess)
    return guesses


def _best_shifts(fixed: CoarseVolume, moving: CoarseVolume, options: RegistrationSettings) -> list[np.ndarray]:
    """Shifts (3,) LPS mm, target to prior, of the two highest separate peaks of the masked cross-correlation."""
    pitch = options.search_pitch_mm
    (f, f_mask, f_origin), (m, m_mask, m_origin) = (_straight(one, pitch) for one in (fixed, moving))
    score = masked_correlation(f, f_mask, m, m_mask, options.minimum_overlap)
    shifts = []
    for _ in range(2):
        peak = np.unravel_index(int(np.argmax(score)), score.shape)
        if not np.isfinite(score[peak]):
            break
        lag = np.array(peak) - (np.array(f.shape) - 1)
        shifts.append((lag * pitch)[::-1] + m_origin - f_origin)
        score[tuple(slice(max(0, p - 3), p + 4) for p in peak)] = -np.inf
    return shifts


def _straight(volume: CoarseVolume, pitch: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and body on a world-aligned grid of ``pitch`` mm, [z, y, x], and its origin in LPS mm."""
    geometry = volume.geometry
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    world = geometry.world(corners * (np.array(geometry.shape[::-1]) - 1))
    low, high = world.min(axis=0), world.max(axis=0)
    size = np.maximum(1, np.round((high - low) / pitch).astype(int) + 1)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij"), axis=-1)[..., ::-1] * pitch + low
    index = np.moveaxis(geometry.index(grid)[..., ::-1], -1, 0)
    smooth = ndimage.uniform_filter(volume.array, [max(1, round(pitch / s)) for s in geometry.spacing[::-1]])
    image = ndimage.map_coordinates(smooth, index, order=1, mode="nearest")
    body = ndimage.map_coordinates(volume.body.astype(np.float32), index, order=1, mode="constant") > 0.5
    return image, body, low


def masked_correlation(
    fixed: np.ndarray, fixed_mask: np.ndarray, moving: np.ndarray, moving_mask: np.ndarray, minimum_overlap: float
) -> np.ndarray:
    """Normalised correlation of two masked images at every shift (Padfield, IEEE TIP 2012, Eq. 19).

    Entry ``lag + shape(fixed) − 1`` is for moving[x + lag] lying on fixed[x]; −inf where the masks share less than
    ``minimum_overlap`` of the smaller one.
    """
    shape = [a + b - 1 for a, b in zip(fixed.shape, moving.shape, strict=True)]
    padded = [fft.next_fast_len(length, real=True) for length in shape]
    f_mask, m_mask = fixed_mask.astype(float), moving_mask.astype(float)
    f, m = fixed * f_mask, moving * m_mask
    # The spectra of mask, image and squared image, each once.
    fixed_ones = [fft.rfftn(one[::-1, ::-1, ::-1], padded) for one in (f_mask, f, f * f)]
    moving_ones = [fft.rfftn(one, padded) for one in (m_mask, m, m * m)]

    def correlate(a: int, b: int) -> np.ndarray:
        whole = fft.irfftn(fixed_ones[a] * moving_ones[b], padded)
        return np.asarray(whole[tuple(slice(length) for length in shape)])

    count = np.maximum(np.rint(correlate(0, 0)), 1e-9)
    f_sum, m_sum = correlate(1, 0), correlate(0, 1)
    covariance = correlate(1, 1) - f_sum * m_sum / count
    f_variance = np.maximum(correlate(2, 0) - f_sum**2 / count, 0)
    m_variance = np.maximum(correlate(0, 2) - m_sum**2 / count, 0)
    denominator = np.sqrt(f_variance * m_variance)
    enough = count >= max(1.0, minimum_overlap * min(f_mask.sum(), m_mask.sum()))
    usable = enough & (denominator > 1e-6 * denominator.max())
    return np.where(usable, covariance / np.where(usable, denominator, 1), -np.inf)


def _refine(
    fixed: CoarseVolume,
    moving: CoarseVolume,
    guess: np.ndarray,
    options: RegistrationSettings,
    shrink: int,
    tick: Callable[[], None],
) -> np.ndarray:
    """Maximise Mattes mutual information over translation and rotation about the body's centre, from ``guess``.

    A start from which too little overlaps comes back as it is.
    """
    body = np.argwhere(fixed.body)
    centre = fixed.geometry.world(body.mean(axis=0)[::-1])
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(guess[:3, :3].ravel().tolist())
    transform.SetTranslation((guess[:3, :3] @ centre + guess[:3, 3] - centre).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(options.bins)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, options.sampling * shrink**2), 1)
    around = ndimage.binary_dilation(fixed.body, iterations=2, mask=fixed.seen).astype(np.uint8)
    method.SetMetricFixedMask(as_image(around, fixed.geometry))
    if moving.seen is not None:
        method.SetMetricMovingMask(as_image(moving.seen.astype(np.uint8), moving.geometry))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        4.0 * shrink, options.last_step_mm * shrink, options.iterations, options.relaxation
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([options.smoothing * shrink])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        run_watched(method, tick, as_image(fixed.array, fixed.geometry), as_image(moving.array, moving.geometry))
    except RuntimeError:  # SimpleITK's: no samples lie inside the moving image
        return guess
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = np.asarray(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return matrix


def run_watched(
    method: sitk.ImageRegistrationMethod | sitk.DiffeomorphicDemonsRegistrationFilter,
    tick: Callable[[], None],
    *images: sitk.Image,
) -> Any:
    """Execute, and raise after it what ``tick`` raised: an exception cannot cross SimpleITK."""
    raised: list[BaseException] = []

    def on_iteration() -> None:
        try:
            tick()
        except BaseException as error:  # handed on below
            raised.append(error)
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, on_iteration)
    try:
        result = method.Execute(*images)
    finally:
        method.RemoveAllCommands()  # the command knows the method: neither would ever be freed, nor the images
    if raised:
        raise raised[0]
    return result


def _quality(
    fixed: CoarseVolume, moving: CoarseVolume, matrix: np.ndarray, options: RegistrationSettings, alike: bool
) -> float:
    """Likeness of two images over the target's body where the prior has an image, 0 to 1; 0 with little overlap.

    Pearson's correlation for images of one kind, and the informational one for two modalities.
    """
    index = np.argwhere(fixed.body)
    index = index[:: max(1, len(index) // 40000)]
    world = fixed.geometry.world(index[:, ::-1]) @ matrix[:3, :3].T + matrix[:3, 3]
    there = moving.geometry.index(world)[:, ::-1]
    inside = np.all((there >= 0) & (there <= np.array(moving.geometry.shape) - 1), axis=1)
    if moving.seen is not None:
        inside[inside] = moving.seen[tuple(np.rint(there[inside]).astype(int).T)]
    smaller = min(fixed.body.sum() * fixed.geometry.voxel_volume, moving.body.sum() * moving.geometry.voxel_volume)
    shared = inside.mean() * fixed.body.sum() * fixed.geometry.voxel_volume
    if inside.sum() < 100 or shared < options.minimum_overlap * smaller:
        return 0.0
    a = fixed.array[tuple(index[inside].T)]
    b = ndimage.map_coordinates(moving.array, there[inside].T, order=1)
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(max(0.0, np.corrcoef(a, b)[0, 1])) if alike else informational_correlation(a, b, options.bins)


def informational_correlation(a: np.ndarray, b: np.ndarray, bins: int) -> float:
    """The correlation, 0 to 1, of two normal variables with the mutual information of ``a`` and ``b`` (n,).

    Their joint histogram has ``bins`` by as many cells; the bias of so many is taken off (Miller, 1955).
    """
    joint = np.histogram2d(a, b, bins)[0] / len(a)
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    held = joint > 0
    information = float(np.sum(joint[held] * np.log(joint[held] / alone[held])))
    used = (int((joint.sum(axis=1) > 0).sum()) - 1) * (int((joint.sum(axis=0) > 0).sum()) - 1)
    information -= used / (2 * len(a))
    return float(np.sqrt(max(0.0, 1.0 - np.exp(-2.0 * information))))


def as_image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    """A gray array (K, J, I) on its grid as SimpleITK has it."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image
