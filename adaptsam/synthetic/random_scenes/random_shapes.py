"""Random shapes as signed fields, all of a batch at once: blobs, shells, tubes, and bands of smooth noise.

A field is positive inside of its shape, about one at its middle, and falls by about one over the shape's own half
width, so that ``field * half_width`` is a distance in pixels near the edge. Every field is a function of coordinates:
a second visit is the same shapes at deformed coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.synthetic.device_random import chance, choice, normal, uniform

_HARMONICS = 4
_KINDS = (0.66, 0.1, 0.12, 0.12)
BLOB, SHELL, TUBE, BAND = range(4)
_ORGAN_SHARE, _TWIN_SHARE = 0.4, 0.1


@dataclass(frozen=True)
class Shapes:
    """The shapes of B scenes, K each. Lengths are shares of the image's side, which reaches from −0.5 to 0.5.

    ``kind`` (B, K) is one of BLOB, SHELL, TUBE, BAND. ``centre`` (B, K, 2) is x, y; ``radii`` (B, K, 2) are along the
    shape's own axes, turned by ``angle`` (B, K). ``wobble`` (B, K, harmonics) is complex: amplitude and phase of the
    outline's waves 2, 3, …. ``bend`` (B, K, 3) curves a tube. A ``twin`` (B, K) is there on both sides, mirrored at
    x = 0, as kidneys are. ``noise`` (B, 1, n, n) is what bands are levels of, ``rough`` (B, 1, n, n) what makes
    outlines uneven, more so for large ``roughness`` (B, K).
    """

    kind: Tensor
    centre: Tensor
    radii: Tensor
    angle: Tensor
    wobble: Tensor
    bend: Tensor
    twin: Tensor
    noise: Tensor
    rough: Tensor
    roughness: Tensor

    def later(self, rng: torch.Generator, change: float) -> Shapes:
        """The same shapes at another visit: each moved and scaled a little, by ``change`` of its own size."""
        device = self.centre.device
        scale = torch.exp(change * normal(rng, (*self.kind.shape, 1), device))
        shift = change * self.radii.mean(-1, keepdim=True) * normal(rng, tuple(self.centre.shape), device)
        return replace(self, centre=self.centre + shift, radii=self.radii * scale)


def draw_shapes(rng: torch.Generator, scenes: int, count: int, device: torch.device) -> Shapes:
    """Shapes of all sizes from 2 % to 100 % of the side, many as large as organs; small ones come later, on top."""
    size = (scenes, count)
    organ = chance(rng, size, device, _ORGAN_SHARE)
    log_mean = torch.where(organ, uniform(rng, size, device, -2.2, -0.7), uniform(rng, size, device, -4.0, -0.9))
    order = (0.7 * normal(rng, size, device) - log_mean).argsort(1)
    mean = log_mean.gather(1, order).exp()
    flat = torch.exp(0.3 * normal(rng, size, device))
    falling = 1.0 / torch.arange(2, 2 + _HARMONICS, device=device)
    strength = uniform(rng, (*size, 1), device, 0.0, 0.35) * falling
    phase = uniform(rng, (*size, _HARMONICS), device, 0.0, 2 * torch.pi)
    fine = uniform(rng, (scenes, 1, 1, 1), device)
    noise = (1 - fine) * smooth_noise(rng, scenes, 3, 64, device) + fine * smooth_noise(rng, scenes, 6, 64, device)
    noise = noise / (fine.square() + (1 - fine).square()).sqrt()
    return Shapes(
        kind=choice(rng, _KINDS, size, device),
        centre=uniform(rng, (*size, 2), device, -0.45, 0.45),
        radii=torch.stack([mean * flat, mean / flat], dim=-1),
        angle=uniform(rng, size, device, 0.0, 2 * torch.pi),
        wobble=torch.polar(strength.expand(phase.shape).contiguous(), phase),
        bend=normal(rng, (*size, 3), device),
        twin=chance(rng, size, device, _TWIN_SHARE),
        noise=noise,
        rough=smooth_noise(rng, scenes, 24, 128, device),
        roughness=uniform(rng, size, device, -0.08, 0.07).clamp(min=0),
    )


def smooth_noise(rng: torch.Generator, scenes: int, knots: int, side: int, device: torch.device) -> Tensor:
    """Noise (scenes, 1, side, side) that varies over 1/``knots`` of the image, of variance about one."""
    coarse = normal(rng, (scenes, 1, knots + 1, knots + 1), device)
    noise = functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return noise / noise.flatten(1).std(1).view(-1, 1, 1, 1)


def coordinates(side: int, device: torch.device) -> Tensor:
    """x and y of pixel centres, (2, side, side), from −0.5 to 0.5."""
    axis = (torch.arange(side, device=device) + 0.5) / side - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y])


def deformed(rng: torch.Generator, grid: Tensor, strength: Tensor) -> Tensor:
    """Coordinates (B, 2, S, S) turned, scaled, moved, and bent smoothly, by about ``strength`` (B,), a length."""
    device, scenes = grid.device, len(strength)
    angle, scale = (strength * 2 * normal(rng, (scenes,), device) for _ in range(2))
    turn = torch.polar(torch.exp(scale), angle)
    points = torch.complex(grid[:, 0], grid[:, 1]) * turn[:, None, None]
    moved = torch.view_as_real(points).permute(0, 3, 1, 2)
    bend = torch.cat([smooth_noise(rng, scenes, 3, grid.shape[-1], device) for _ in range(2)], dim=1)
    shift = normal(rng, (scenes, 2, 1, 1), device)
    return moved + strength.view(-1, 1, 1, 1) * (1.5 * shift + 0.7 * bend)


def fields(shapes: Shapes, grid: Tensor) -> Tensor:
    """Every shape's field, (B, K, S, S), at coordinates (B, 2, S, S)."""
    x, y = grid[:, None, 0], grid[:, None, 1]
    x = torch.where(shapes.twin[..., None, None], x.abs() * shapes.centre[..., :1, None].sign(), x)
    turned = (
        torch.complex(x - shapes.centre[..., :1, None], y - shapes.centre[..., 1:, None])
        * torch.polar(torch.ones_like(shapes.angle), -shapes.angle)[..., None, None]
    )
    radii = shapes.radii[..., None, None]
    x, y = turned.real / radii[:, :, 0], turned.imag / radii[:, :, 1]
    distance = torch.sqrt(x * x + y * y)
    outline = _outline(shapes.wobble, x, y, distance)
    blob = outline - distance
    shell = 0.3 - (distance - outline).abs()
    kind = shapes.kind[..., None, None]
    field = torch.where(kind == SHELL, shell / 0.3, blob)
    field = torch.where(kind == TUBE, _tube(shapes, turned), field)
    field = torch.where(kind == BAND, _band(shapes, grid), field)
    return field + shapes.roughness[..., None, None] * _sampled(shapes.rough, grid)


def _outline(wobble: Tensor, x: Tensor, y: Tensor, distance: Tensor) -> Tensor:
    """The radius of the outline in every pixel's direction: one plus waves, by powers of the unit complex number."""
    direction = torch.complex(x, y) / distance.clamp(min=1e-6)
    power, outline = direction * direction, torch.ones_like(x)
    for number in range(_HARMONICS):
        outline = outline + (power * wobble[:, :, number, None, None]).real
        power = power * direction
    return outline


def _tube(shapes: Shapes, turned: Tensor) -> Tensor:
    """A band along a curved line: ``radii`` are its half width (a quarter of it) and, times three, its half length."""
    bend = shapes.bend[..., None, None]
    width = 0.25 * shapes.radii[..., 1, None, None]
    length = 3 * shapes.radii[..., 0, None, None]
    u = turned.real
    curve = (
        0.3
        * length
        * (bend[:, :, 0] * (u / length) ** 2 + 0.3 * bend[:, :, 1] * torch.sin(4 * u / length + bend[:, :, 2]))
    )
    return torch.minimum(1 - (turned.imag - curve).abs() / width, (length - u.abs()) / width)


def _band(shapes: Shapes, grid: Tensor) -> Tensor:
    """Band of smooth noise between two levels, near one another for small radii."""
    noise = _sampled(shapes.noise, grid)
    level = shapes.bend[..., 0, None, None]
    half = 0.15 + shapes.radii.mean(-1)[..., None, None]
    return 1 - (noise - level).abs() / half


def _sampled(noise: Tensor, grid: Tensor) -> Tensor:
    """Noise (B, 1, n, n) at coordinates (B, 2, S, S)."""
    return functional.grid_sample(noise, 2 * grid.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False)
