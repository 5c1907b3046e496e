"""Motion of the patient to the later visit: a set-up error and a smooth, invertible deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from adaptsam.image.displacement_field import DisplacementField
from adaptsam.image.downsampling import block_means, body_mask, coarse_blocks, coarse_geometry
from adaptsam.image.volume import Geometry, Volume
from adaptsam.synthetic.digital_followup.followup_settings import FollowUpSettings

#: Tissue is squeezed or stretched by no more than this.
SMALLEST_JACOBIAN, LARGEST_JACOBIAN = 0.4, 2.5
_PITCH_MM = 6.0


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion from the follow-up's points to the prior's: turned back, shifted back, then displaced.

    ``rotation`` (3, 3), ``shift`` (3,) and ``centre`` (3,) in LPS mm take the prior to the follow-up; ``field`` lies in
    the prior's space.
    """

    rotation: np.ndarray
    shift: np.ndarray
    centre: np.ndarray
    field: DisplacementField

    def to_prior(self, world: np.ndarray) -> np.ndarray:
        """Prior points (..., 3) of follow-up points (..., 3), LPS mm."""
        back = (np.asarray(world, float) - self.centre - self.shift) @ self.rotation + self.centre
        return back + self.field.at(back)

    def to_followup(self, world: np.ndarray) -> np.ndarray:
        """Follow-up points (..., 3) of prior points (..., 3), LPS mm."""
        return (self.field.undo(world) - self.centre) @ self.rotation.T + self.centre + self.shift


def draw_motion(prior: Volume, settings: FollowUpSettings, rng: np.random.Generator) -> Motion:
    """A motion of the sizes that the settings say, in a direction of chance."""
    shift, axis = (direction / np.linalg.norm(direction) for direction in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(axis * np.radians(settings.rotation_deg)).as_matrix()
    centre = prior.geometry.world((np.array(prior.geometry.shape[::-1]) - 1) / 2)
    return Motion(turn, shift * settings.shift_mm, centre, _draw_field(prior, settings, rng))


def _draw_field(prior: Volume, settings: FollowUpSettings, rng: np.random.Generator) -> DisplacementField:
    blocks = coarse_blocks(prior.geometry, _PITCH_MM)
    array = block_means(prior.array, blocks)
    geometry = coarse_geometry(prior.geometry, blocks, (array.shape[0], array.shape[1], array.shape[2]))
    body = body_mask(array, -300.0)
    spacing = geometry.spacing[::-1]
    total = _breathing(array, body, geometry, settings.breathing_mm * rng.choice([-1.0, 1.0]))
    total += _weight(body, geometry, settings.weight_mm)
    total += _random(body, spacing, settings.deformation_mm, rng)
    # Bones bend little: the spine holds, the ribs give way with what surrounds them.
    bone = np.clip(_smooth((array > 200) & body, spacing, 8.0) / 0.35, 0, 1)
    total *= (1 - 0.85 * bone)[..., None]
    total = np.stack([_smooth(total[..., c], spacing, 7.0) for c in range(3)], axis=-1)
    return _invertible(total, geometry)


def _invertible(displacement: np.ndarray, geometry: Geometry) -> DisplacementField:
    """The displacement, less of it where tissue would be squeezed or stretched too much."""
    while True:
        field = DisplacementField(displacement.astype(np.float32), geometry)
        jacobian = field.jacobian() if min(geometry.shape) > 1 else np.ones(1)
        if jacobian.min() > SMALLEST_JACOBIAN and jacobian.max() < LARGEST_JACOBIAN:
            return field
        displacement = displacement * 0.85


def _breathing(array: np.ndarray, body: np.ndarray, geometry: Geometry, amplitude: float) -> np.ndarray:
    """The diaphragm goes down by ``amplitude`` mm (up where negative), the chest wall forward by a quarter of it.

    The displacement grows from the apex of the lungs to their base, and fades in the abdomen. Without lungs in the
    scan, it fades from the head downwards.
    """
    world = _world(geometry)
    height = world[..., 2]
    lungs = _lungs(array, body)
    apex, base = np.percentile(height[lungs], (99, 4)) if lungs.any() else (height.max() + 60, height.max() + 20)
    rise = _ease((apex - height) / max(60.0, apex - base))
    fade = 1 - 0.8 * _ease((base - 30 - height) / 160)
    depth = ndimage.distance_transform_edt(np.pad(body, 1), sampling=geometry.spacing[::-1])[1:-1, 1:-1, 1:-1]
    inside = _ease((depth - 12) / 35)
    outwards = _outwards(body, geometry)
    forward = _ease(-outwards[..., 1]) * np.exp(-depth / 60) * body
    moved = np.zeros((*array.shape, 3))
    # Prior from follow-up: tissue that went down was higher up before.
    moved[..., 2] = amplitude * rise * fade * inside
    moved[..., 1] = 0.25 * amplitude * rise * fade * forward
    return moved


def _lungs(array: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Large aerated regions of the body; empty where there are none."""
    air = ndimage.binary_opening((array < -500) & body)
    labels, count = ndimage.label(air)
    sizes = np.bincount(labels.ravel())[1:] if count else np.zeros(0)
    large = np.flatnonzero(sizes > 0.02 * body.sum()) + 1
    return np.isin(labels, large)


def _weight(body: np.ndarray, geometry: Geometry, gain: float) -> np.ndarray:
    """The skin moves outwards by ``gain`` mm, less at the back, where the couch is; 4 cm deeper nothing moves."""
    spacing = geometry.spacing[::-1]
    # Beyond the ends of the scan the body goes on.
    inner = np.pad(body, ((4, 4), (0, 0), (0, 0)), mode="edge")
    depth = ndimage.distance_transform_edt(inner, sampling=spacing) - ndimage.distance_transform_edt(
        ~inner, sampling=spacing
    )
    depth = depth[4:-4]
    amount = np.where(depth > 0, 1 - _ease(depth / 40), 1 - _ease(-depth / 30))
    normal = _outwards(body, geometry)
    off_couch = _ease((0.75 - normal[..., 1]) / 1.0)
    return -gain * (amount * off_couch)[..., None] * normal


def _outwards(body: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Unit vectors (K, J, I, 3) in LPS that point out of the body, across the patient; smooth."""
    spacing = geometry.spacing[::-1]
    soft = _smooth(np.pad(body, ((4, 4), (0, 0), (0, 0)), mode="edge"), spacing, 25.0)[4:-4]
    along = np.stack(np.gradient(-soft, *spacing)[::-1], axis=-1) if min(body.shape) > 1 else np.zeros((*body.shape, 3))
    normal = along @ np.reshape(geometry.direction, (3, 3)).T
    normal[..., 2] = 0.0
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-4)


def _random(body: np.ndarray, spacing: tuple[float, ...], amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian random displacement with a range of 4 cm, in and near the body."""
    near = _smooth(body, spacing, 15.0)
    parts = []
    for _ in range(3):
        part = _smooth(rng.normal(size=body.shape), spacing, 40.0)
        parts.append(part * (amplitude / max(1e-12, float(part[body].std()))) * near)
    return np.stack(parts, axis=-1)


def _smooth(array: np.ndarray, spacing: tuple[float, ...], sigma_mm: float) -> np.ndarray:
    return ndimage.gaussian_filter(np.asarray(array, np.float32), [sigma_mm / s for s in spacing])


def _ease(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth in between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _world(geometry: Geometry) -> np.ndarray:
    k, j, i = np.indices(geometry.shape)
    return geometry.world(np.stack([i, j, k], axis=-1))
