"""What a scanner or a camera does to a scene: blur, coarse pixels, shading, grain, streaks, gamma, highlights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.finetune.synthetic.shapes import coordinates, normal, smooth_noise, uniform
from adaptsam.finetune.synthetic.textures import draw_spectra


def imaged(rng: torch.Generator, images: Tensor, colour: Tensor) -> Tensor:
    """Images (N, 3, S, S), about 0 to 1, as taken: float32, 0 to 255 in whole numbers.

    ``colour`` bool (N,) tells which ones a camera took: only those have highlights and dark corners, and gray ones stay
    gray.
    """
    images = shaded(rng, images)
    images = torch.stack([_blurred_and_coarse(rng, image) for image in images])
    images = with_streaks(rng, images)
    images = with_camera(rng, images, colour)
    images = with_grain(rng, images, colour)
    gamma = torch.exp(0.35 * normal(rng, (len(images), 1, 1, 1), images.device))
    return (images.clamp(0, 1) ** gamma * 255).round()


def shaded(rng: torch.Generator, images: Tensor) -> Tensor:
    """Brighter and darker regions, as of a coil or a lamp; half of the images."""
    device, count, side = images.device, len(images), images.shape[-1]
    strength = uniform(rng, (count, 1, 1, 1), device, -0.3, 0.3).clamp(min=0)
    return images * torch.exp(strength * smooth_noise(rng, count, 2, side, device))


def _blurred_and_coarse(rng: torch.Generator, image: Tensor) -> Tensor:
    """One image (3, S, S) at a coarser resolution and back, or blurred, or as it is."""
    device, side = image.device, image.shape[-1]
    choice, amount = (float(uniform(rng, (), device, 0.0, 1.0)) for _ in range(2))
    if choice < 0.3:
        smaller = round(side / (1 + 3 * amount))
        small = functional.interpolate(image[None], (smaller, smaller), mode="bilinear", antialias=True)
        return functional.interpolate(small, (side, side), mode="bicubic")[0]
    if choice < 0.6:
        width = torch.exp(torch.arange(-4, 5, device=device) ** 2 / (-2 * (0.3 + 1.5 * amount) ** 2))
        width = width / width.sum()
        padded = functional.pad(image[:, None], (4, 4, 4, 4), mode="reflect")
        once = functional.conv2d(padded, width.view(1, 1, 1, -1))
        return functional.conv2d(once, width.view(1, 1, -1, 1))[:, 0]
    return image


def with_streaks(rng: torch.Generator, images: Tensor) -> Tensor:
    """Straight bright and dark streaks through one point of one image in eight, as from metal."""
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
    """Highlights and dark corners on colour images."""
    device, count, side = images.device, len(images), images.shape[-1]
    glints = draw_spectra(rng, count, device).noise(rng, side)
    level = uniform(rng, (count, 1, 1), device, 2.2, 4.0)
    white = ((glints - level) * 6).clamp(0, 1)[:, None]
    distance = coordinates(side, device).square().sum(0).sqrt()
    corners = 1 - uniform(rng, (count, 1, 1, 1), device, 0.0, 1.2) * distance.square()
    camera = images * corners * (1 - white) + white
    return torch.where(colour.view(-1, 1, 1, 1), camera, images)


def with_grain(rng: torch.Generator, images: Tensor, colour: Tensor) -> Tensor:
    """Noise of a random grain and strength, the same in the three channels of gray images."""
    device, count, side = images.device, len(images), images.shape[-1]
    strength = torch.exp(uniform(rng, (count, 1, 1, 1), device, -6.0, -2.3))
    gray = draw_spectra(rng, count, device).noise(rng, side)[:, None]
    own = normal(rng, tuple(images.shape), device)
    return images + strength * torch.where(colour.view(-1, 1, 1, 1), 0.5 * gray + 0.5 * own, gray)
