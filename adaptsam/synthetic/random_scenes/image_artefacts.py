"""Artefacts of scanner or camera: blur, coarse pixels, shading, grain, streaks, gamma, window, highlights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.synthetic.device_random import chance, choice, normal, uniform
from adaptsam.synthetic.random_scenes.random_shapes import coordinates, smooth_noise
from adaptsam.synthetic.random_scenes.textures import draw_spectra

_BLUR_REACH = 6


def imaged(rng: torch.Generator, images: Tensor, colour: Tensor) -> Tensor:
    """Images (N, 3, S, S), about 0 to 1, as taken: float32, 0 to 255 in whole numbers.

    ``colour`` bool (N,) tells which ones a camera took: only those have highlights and dark corners, and gray ones stay
    gray.
    """
    images = shaded(rng, images)
    images = blurred_or_coarse(rng, images)
    images = with_streaks(rng, images)
    images = with_camera(rng, images, colour)
    images = with_grain(rng, images, colour)
    images = windowed(rng, images)
    gamma = torch.exp(0.35 * normal(rng, (len(images), 1, 1, 1), images.device))
    return (images.clamp(0, 1) ** gamma * 255).round()


def windowed(rng: torch.Generator, images: Tensor) -> Tensor:
    """Images (B, 3, S, S), one in three in a narrower window of grays, beyond which all is black or white."""
    device, size = images.device, (len(images), 1, 1, 1)
    low, high = uniform(rng, size, device, -0.2, 0.3), uniform(rng, size, device, 0.6, 1.2)
    return torch.where(chance(rng, size, device, 1 / 3), (images - low) / (high - low), images)


def shaded(rng: torch.Generator, images: Tensor) -> Tensor:
    """Images (B, 3, S, S), half of them with brighter and darker regions, as of a coil or a lamp."""
    device, count, side = images.device, len(images), images.shape[-1]
    strength = uniform(rng, (count, 1, 1, 1), device, -0.3, 0.3).clamp(min=0)
    return images * torch.exp(strength * smooth_noise(rng, count, 2, side, device))


def blurred_or_coarse(rng: torch.Generator, images: Tensor) -> Tensor:
    """Images (B, 3, S, S): three of ten at up to four times coarser resolution and back, three blurred."""
    device, count = images.device, len(images)
    kind = choice(rng, (0.3, 0.3, 0.4), (count,), device)
    amount = uniform(rng, (count,), device)
    coarseness = 1 + 3 * amount * (kind == 0)
    # Half a coarse pixel of blur keeps what is too fine for it from turning into patterns.
    sigma = torch.where(kind == 0, 0.5 * (coarseness - 1), torch.where(kind == 1, 0.3 + 1.5 * amount, 0.0))
    return _resampled(_blurred(images, sigma), coarseness)


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian blur of images (N, C, S, S), each by its own ``sigma`` (N,) pixels."""
    count, channels = images.shape[:2]
    offset = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=images.device)
    width = torch.exp(offset**2 / (-2 * sigma[:, None].clamp(min=1e-2) ** 2))
    width = (width / width.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    padded = functional.pad(images.flatten(0, 1)[None], (_BLUR_REACH,) * 4, mode="reflect")
    once = functional.conv2d(padded, width[:, None, None, :], groups=count * channels)
    return functional.conv2d(once, width[:, None, :, None], groups=count * channels).view_as(images)


def _resampled(images: Tensor, coarseness: Tensor) -> Tensor:
    """Images (N, C, S, S) at pixels ``coarseness`` (N,) times as large, and back; as they are where it is 1."""
    side = images.shape[-1]
    pixels = torch.arange(side, device=images.device) + 0.5
    # The coarse image lies in the first corner of the fine one's frame; beyond its end the last pixel goes on.
    coarse = _sampled(images, (pixels * coarseness[:, None]).clamp(max=side), "bilinear")
    return torch.where(
        coarseness.view(-1, 1, 1, 1) > 1, _sampled(coarse, pixels / coarseness[:, None], "bicubic"), images
    )


def _sampled(images: Tensor, places: Tensor, mode: str) -> Tensor:
    """Images (N, C, S, S) at all pairs of places (N, S), in pixels from the corner, along both axes."""
    side = images.shape[-1]
    axis = 2 * places / side - 1
    grid = torch.stack([axis[:, None, :].expand(-1, side, -1), axis[:, :, None].expand(-1, -1, side)], -1)
    return functional.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def with_streaks(rng: torch.Generator, images: Tensor) -> Tensor:
    """Images (B, 3, S, S), one in eight with bright and dark streaks through one point, as from metal."""
    device, count = images.device, len(images)
    grid = coordinates(images.shape[-1], device)
    centre = uniform(rng, (count, 2, 1, 1), device, -0.4, 0.4)
    offset = grid[None] - centre
    angle = torch.atan2(offset[:, 1], offset[:, 0])
    rate = torch.randint(3, 14, (count, 1, 1), generator=rng, device=device)
    phase = uniform(rng, (count, 1, 1), device, 0.0, 6.3)
    wave = torch.sin(angle * rate + phase) * torch.exp(-offset.square().sum(1).sqrt() * 4)
    strength = (uniform(rng, (count, 1, 1), device, -1.4, 0.2)).clamp(min=0)
    return images + (strength * wave)[:, None]


def with_camera(rng: torch.Generator, images: Tensor, colour: Tensor) -> Tensor:
    """Images (B, 3, S, S) with highlights and dark corners where ``colour`` (B,) is true."""
    device, count, side = images.device, len(images), images.shape[-1]
    glints = draw_spectra(rng, count, device).noise(rng, side)
    level = uniform(rng, (count, 1, 1), device, 2.2, 4.0)
    white = ((glints - level) * 6).clamp(0, 1)[:, None]
    distance = coordinates(side, device).square().sum(0).sqrt()
    corners = 1 - uniform(rng, (count, 1, 1, 1), device, 0.0, 1.2) * distance.square()
    camera = images * corners * (1 - white) + white
    return torch.where(colour.view(-1, 1, 1, 1), camera, images)


def with_grain(rng: torch.Generator, images: Tensor, colour: Tensor) -> Tensor:
    """Images (B, 3, S, S) with noise of a random grain and strength; one noise for the channels of gray images."""
    device, count, side = images.device, len(images), images.shape[-1]
    strength = torch.exp(uniform(rng, (count, 1, 1, 1), device, -6.0, -2.3))
    gray = draw_spectra(rng, count, device).noise(rng, side)[:, None]
    own = normal(rng, tuple(images.shape), device)
    return images + strength * torch.where(colour.view(-1, 1, 1, 1), 0.5 * gray + 0.5 * own, gray)
