"""Textures of regions: noise of many grains, stripes, specks and vessels, with slow gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adaptsam.synthetic.device_random import choice, normal, uniform
from adaptsam.synthetic.random_scenes.random_shapes import coordinates

FLAT, NOISE, RIDGES, SPECKS = range(4)
_KINDS = (0.3, 0.4, 0.15, 0.15)


@dataclass(frozen=True)
class Spectra:
    """The look of ``n`` kinds of noise, each value (n,): direction and stretch of stripes, slope and end."""

    angle: Tensor
    stretch: Tensor
    slope: Tensor
    limit: Tensor

    def noise(self, rng: torch.Generator, side: int) -> Tensor:
        """One picture of each, (n, side, side), zero mean, unit variance; a new one at every call."""
        device = self.angle.device
        angle, stretch, slope, limit = (x.view(-1, 1, 1) for x in (self.angle, self.stretch, self.slope, self.limit))
        fx = torch.fft.rfftfreq(side, device=device)[None, :] * side
        fy = torch.fft.fftfreq(side, device=device)[:, None] * side
        along, across = fx * angle.cos() + fy * angle.sin(), fy * angle.cos() - fx * angle.sin()
        square = (along * stretch) ** 2 + across**2
        gain = torch.exp(-0.5 * slope * torch.log1p(square) - square / limit**2)
        gain[:, 0, 0] = 0
        noise = torch.fft.irfft2(torch.fft.rfft2(normal(rng, (len(angle), side, side), device)) * gain, (side, side))
        return noise / noise.flatten(1).std(1).clamp(min=1e-6).view(-1, 1, 1)


def draw_spectra(rng: torch.Generator, count: int, device: torch.device) -> Spectra:
    """Draw spectra from white noise to clouds, a part of them stretched into stripes."""
    return Spectra(
        angle=uniform(rng, (count,), device, 0.0, torch.pi),
        stretch=torch.exp(normal(rng, (count,), device).abs() * 0.7),
        slope=uniform(rng, (count,), device, 0.0, 2.0),
        limit=torch.exp(uniform(rng, (count,), device, 1.5, 4.8)),
    )


@dataclass(frozen=True)
class Textures:
    """``count`` textures for each of B scenes: their spectra and ``kind`` (B, count): FLAT, NOISE, RIDGES or SPECKS."""

    spectra: Spectra
    kind: Tensor

    def pictures(self, rng: torch.Generator, side: int) -> Tensor:
        """(B, count, side, side), of about unit size. What looks the same at two visits differs in every pixel."""
        noise = self.spectra.noise(rng, side).view(*self.kind.shape, side, side)
        kind = self.kind[..., None, None]
        noise = torch.where(kind == RIDGES, 2 * torch.exp(-((noise / 0.25) ** 2)) - 0.5, noise)
        noise = torch.where(kind == SPECKS, 3 * (noise - 1.2).clamp(min=0), noise)
        return torch.where(kind == FLAT, 0.0, noise)


def draw_textures(rng: torch.Generator, scenes: int, count: int, device: torch.device) -> Textures:
    return Textures(draw_spectra(rng, scenes * count, device), choice(rng, _KINDS, (scenes, count), device))


def gradients(slopes: Tensor, side: int) -> Tensor:
    """A slow linear change across each of K regions, (B, K, side, side), from slopes (B, K, 2)."""
    return torch.einsum("bkc,chw->bkhw", slopes, coordinates(side, slopes.device))
