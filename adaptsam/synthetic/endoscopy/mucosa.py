"""The wall of a synthetic colon and the polyp on it, as an endoscope's camera sees them.

The colon is a tube along z with haustral folds; the polyp is an ellipsoid that sits on its wall. A ray goes from the
camera through each pixel to the nearer of the two, which gives depth, surface and an exact mask. Light comes from the
camera. Lengths are mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import irfft2, rfft2
from torch.nn import functional

_TILE = 512
_STEPS = 8
_FAR = 110.0


@dataclass(frozen=True)
class Camera:
    """Camera: place of its tip (3,), axes right, down and forward as rows (3, 3), half the angle of view in radians."""

    place: np.ndarray
    axes: np.ndarray
    half_angle: float

    def rays(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors (H, W, 3) of a fish-eye lens, and each pixel's distance from the middle, 1 at the nearer rim."""
        own, radius = _lens(shape, self.half_angle)
        return own @ self.axes.astype(np.float32), radius


@lru_cache(maxsize=2)
def _lens(shape: tuple[int, int], half_angle: float) -> tuple[np.ndarray, np.ndarray]:
    """:meth:`Camera.rays` in the camera's own axes."""
    height, width = shape
    scale = 2 / min(height, width)
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * scale
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) * scale
    radius = np.hypot(x[None, :], y[:, None])
    angle = radius * half_angle
    across = np.sin(angle) / np.maximum(radius, 1e-6)
    return np.stack([x[None, :] * across, y[:, None] * across, np.cos(angle)], axis=-1), radius


@dataclass(frozen=True)
class Polyp:
    """An ellipsoid on the wall at ``angle`` and ``z``; half axes (around, along the tube, into it) in mm."""

    angle: float
    z: float
    radii: tuple[float, float, float]
    color: np.ndarray
    offset: float


@dataclass(frozen=True)
class Colon:
    """A tube with folds every ``pitch`` mm, each deepest at its own angles, and the texture of its wall.

    ``texture`` is (1, 4, _TILE + 1, _TILE + 1): tint, vessels and the two slopes of the relief, periodic.
    """

    radius: float
    pitch: float
    fold: float
    fold_phases: np.ndarray
    color: np.ndarray
    texture: torch.Tensor

    def wall(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, wave: float) -> tuple[np.ndarray, np.ndarray]:
        """The distances from the axis, of any shape, of points and of the wall there; ``wave`` is the phase."""
        distance = np.sqrt(x * x + y * y) + 1e-6
        cos, sin = x / distance, y / distance
        number = np.floor(z / self.pitch)
        beside = z - (number + 0.5) * self.pitch
        each = number.astype(np.int32) % len(self.fold_phases)
        # The cosine of three times the angle, turned by the fold's own phase.
        lobes = np.cos(self.fold_phases)[each] * cos * (4 * cos * cos - 3) - np.sin(self.fold_phases)[each] * sin * (
            3 - 4 * sin * sin
        )
        ridge = np.exp(-((beside / (0.16 * self.pitch)) ** 2)) * (0.6 + 0.4 * lobes)
        squeezed = 1 + 0.05 * np.sin(z * (2 * np.pi / 70) - wave) + 0.03 * cos * np.sin(wave)
        return distance, self.radius * squeezed - self.fold * ridge


def draw_colon(rng: np.random.Generator) -> Colon:
    return Colon(
        radius=rng.uniform(20, 27),
        pitch=rng.uniform(24, 32),
        fold=rng.uniform(5, 8),
        fold_phases=rng.uniform(0, 2 * np.pi, 16).astype(np.float32),
        color=np.array([rng.uniform(0.75, 0.85), rng.uniform(0.24, 0.34), rng.uniform(0.14, 0.24)], np.float32),
        texture=_texture(rng),
    )


def _texture(rng: np.random.Generator) -> torch.Tensor:
    tint = _noise(rng, 6, 1.3)
    vessels = np.zeros((_TILE, _TILE), np.float32)
    for coarse, weight in ((7, 1.0), (18, 0.5)):
        vessels = np.maximum(vessels, weight * np.exp(-((_noise(rng, coarse, 3.0) / 0.055) ** 2)))
    vessels *= 1 / (1 + np.exp(-3 * _noise(rng, 4, 3.0)))
    relief = _noise(rng, 14, 2.5) + 0.35 * _noise(rng, 32, 2.5)
    slopes = np.gradient(relief)
    channels = np.stack([tint, vessels, *slopes]).astype(np.float32)
    return torch.from_numpy(np.pad(channels, ((0, 0), (0, 1), (0, 1)), mode="wrap"))[None]


def _noise(rng: np.random.Generator, cycles: float, falloff: float) -> np.ndarray:
    """Periodic noise (_TILE, _TILE) with unit variance, mostly of ``cycles`` waves a tile."""
    spectrum = rfft2(rng.standard_normal((_TILE, _TILE), dtype=np.float32))
    fy, fx = np.fft.fftfreq(_TILE)[:, None] * _TILE, np.fft.rfftfreq(_TILE)[None, :] * _TILE
    frequency = np.hypot(fx, fy) / cycles
    noise = irfft2(spectrum * frequency / (1 + frequency**2) ** falloff, (_TILE, _TILE))
    return (noise / noise.std()).astype(np.float32)


def look(
    colon: Colon, polyp: Polyp, camera: Camera, shape: tuple[int, int], wave: float
) -> tuple[np.ndarray, np.ndarray]:
    """Render the camera's view: linear light (H, W, 3), float32, and the polyp's mask (H, W)."""
    rays, rim = camera.rays(shape)
    to_wall = _to_wall(colon, camera, rays, wave)
    to_polyp, upright, centre = _to_polyp(colon, polyp, camera, rays, wave)
    mask = to_polyp < to_wall
    depth = np.where(mask, to_polyp, to_wall)
    points = camera.place.astype(np.float32) + depth[..., None] * rays
    normals = _normals(points, rays)
    inward = (points - centre) @ upright.T  # in the polyp's own axes: around, along, into the tube
    around = np.where(
        mask, inward[..., 0] / 20 + polyp.offset, np.arctan2(points[..., 1], points[..., 0]) / (2 * np.pi)
    )
    along = np.where(mask, inward[..., 1] / 20 + polyp.offset, points[..., 2] / (2 * np.pi * colon.radius))
    tint, vessels, slope_a, slope_b = _sampled(colon.texture, around, along)
    color = np.where(mask[..., None], polyp.color, colon.color) * (1 + 0.10 * tint[..., None])
    color = color * (
        1 - np.where(mask, 0.15, 0.5)[..., None] * vessels[..., None] * np.array([0.35, 0.8, 0.75], np.float32)
    )
    # Where the polyp meets the wall less light arrives.
    height = np.clip(inward[..., 2] / polyp.radii[2], 0, 1)
    shade = np.where(mask, 0.7 + 0.3 * height, 1.0)
    return _lit(color * shade[..., None], normals, rays, depth, slope_a, slope_b, rim), mask


def _to_wall(colon: Colon, camera: Camera, rays: np.ndarray, wave: float) -> np.ndarray:
    place = camera.place.astype(np.float32)
    sideways = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 0.12)
    depth = np.full(rays.shape[:2], 1.0, np.float32)
    for _ in range(_STEPS):
        x, y, z = (place[axis] + depth * rays[..., axis] for axis in range(3))
        distance, wall = colon.wall(x, y, z, wave)
        depth = np.clip(depth + 0.7 * (wall - distance) / sideways, 0.5, _FAR)
    return depth


def polyp_place(colon: Colon, polyp: Polyp, wave: float) -> np.ndarray:
    """Place of the polyp on the moving wall, (3,)."""
    direction = np.array([np.cos(polyp.angle), np.sin(polyp.angle)])
    x, y, z = (np.array([value], np.float32) for value in (*direction * colon.radius, polyp.z))
    _, wall = colon.wall(x, y, z, wave)
    return np.array([*direction * float(wall[0]), polyp.z])


def _to_polyp(
    colon: Colon, polyp: Polyp, camera: Camera, rays: np.ndarray, wave: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distance (H, W) to the polyp, infinite beside it; its axes as rows (3, 3), and its place (3,)."""
    cos, sin = np.cos(polyp.angle), np.sin(polyp.angle)
    axes = np.array([[-sin, cos, 0], [0, 0, 1], [-cos, -sin, 0]])
    centre = polyp_place(colon, polyp, wave)
    unit = (axes / np.array(polyp.radii)[:, None]).astype(np.float32)
    start = unit @ (camera.place - centre).astype(np.float32)
    steps = rays @ unit.T
    a, b = (steps**2).sum(-1), steps @ start
    root = b**2 - a * (start @ start - 1)
    distance = (-b - np.sqrt(np.maximum(root, 0))) / a
    hit = (root > 0) & (distance > 0.5)
    return np.where(hit, distance, np.inf).astype(np.float32), axes.astype(np.float32), centre.astype(np.float32)


def _normals(points: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Unit normals (H, W, 3) towards the camera, of the surface through neighbouring pixels."""
    down, right = np.gradient(points, axis=(0, 1))
    normals = np.cross(right, down)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    return normals * -np.sign((normals * rays).sum(-1, keepdims=True))


def _sampled(texture: torch.Tensor, around: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The four channels (4, H, W) of the texture at positions in tiles."""
    where = np.stack([around % 1.0, along % 1.0], axis=-1).astype(np.float32) * 2 - 1
    grid = torch.from_numpy(where)[None]
    return functional.grid_sample(texture, grid, mode="bilinear", align_corners=True)[0].numpy()


def _lit(
    color: np.ndarray,
    normals: np.ndarray,
    rays: np.ndarray,
    depth: np.ndarray,
    slope_a: np.ndarray,
    slope_b: np.ndarray,
    rim: np.ndarray,
) -> np.ndarray:
    facing = np.clip(-(normals * rays).sum(-1), 0, 1)
    falloff = 1 / (1 + (depth / 22) ** 2)
    diffuse = (0.10 + 0.90 * facing) * falloff
    # The wet surface mirrors the lamp where its relief happens to face it.
    mirror = np.clip(1 - 3.0 * (1 - facing) - 9.0 * np.hypot(slope_a - 0.16, slope_b - 0.16), 0, 1)
    highlight = 5 * mirror * mirror * falloff * falloff
    light = 1.5 * color * diffuse[..., None] + highlight[..., None] * np.array([1.0, 0.98, 0.95], np.float32)
    vignette = 1 - 0.45 * np.clip(rim, 0, 1.5) ** 3
    return (light * np.maximum(vignette, 0.05)[..., None]).astype(np.float32)
