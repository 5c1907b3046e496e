"""Endless training images of the bundled model: axial phantom slices with every structure's mask, made when needed.

The ranges are wider than anatomy and scanners demand (densities, noise, blur, window, field of view), so that what is
learnt is shape and context rather than one scanner's Hounsfield units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset, get_worker_info

from adaptsam.data.phantom.anatomy import Anatomy, draw_anatomy, draw_warp
from adaptsam.data.phantom.render import STRUCTURES, Densities, render


@dataclass(frozen=True)
class Slices:
    """A batch: ``images`` (B, 3, S, S) float32 0 to 255, ``masks`` (B, len(STRUCTURES), S, S) bool."""

    images: Tensor
    masks: Tensor


class PhantomSlices(IterableDataset[Slices]):
    """Batches of ``batch`` slices of ``size`` pixels, two to a patient, drawn from ``seed``, made on ``device``."""

    def __init__(self, batch: int, size: int, seed: int, device: str = "cpu") -> None:
        self.batch, self.size, self.seed, self.device = batch, size, seed, device

    def __iter__(self) -> Iterator[Slices]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        while True:
            pairs: list[tuple[Tensor, Tensor]] = []
            while len(pairs) < self.batch:
                anatomy = draw_anatomy(rng)
                densities = draw_densities(rng)
                pairs += [draw_slice(rng, anatomy, densities, self.size, self.device) for _ in range(2)]
            images, masks = zip(*pairs[: self.batch], strict=True)
            yield Slices(torch.stack(images), torch.stack(masks))


def draw_densities(rng: np.random.Generator) -> Densities:
    """Hounsfield units around the usual ones; one patient in four has contrast agent in the blood."""
    contrast = rng.uniform(60, 200) if rng.random() < 0.25 else 0.0
    lung = rng.uniform(-900, -680)
    return Densities(
        fat=rng.uniform(-125, -70),
        muscle=rng.uniform(30, 75),
        bone=rng.uniform(250, 800),
        marrow=rng.uniform(90, 320),
        lung=lung,
        mediastinum=rng.uniform(-80, 40),
        blood=rng.uniform(25, 60) + contrast,
        heart=rng.uniform(25, 60) + 0.8 * contrast,
        liver=rng.uniform(40, 80) + 0.4 * contrast,
        stomach=rng.uniform(-20, 60),
        cord=rng.uniform(5, 50),
        vessel=rng.uniform(-100, 50) + contrast,
        couch=rng.uniform(-900, -200),
    )


def draw_slice(
    rng: np.random.Generator, anatomy: Anatomy, densities: Densities, size: int, device: str
) -> tuple[Tensor, Tensor]:
    """One windowed slice (3, S, S), 0 to 255, and its masks (len(STRUCTURES), S, S)."""
    centre, side = _draw_view(rng, anatomy)
    step = side / size
    axis = (torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2) * step
    angle = rng.normal(0, 0.05)
    u, v = axis[None, :].expand(size, size), axis[:, None].expand(size, size)
    x = np.cos(angle) * u - np.sin(angle) * v + centre[0]
    y = np.sin(angle) * u + np.cos(angle) * v + centre[1]
    z = centre[2] + rng.normal(0, 0.03) * x + rng.normal(0, 0.03) * y
    points = torch.stack([x, y, z])
    softness = max(0.7, 0.7 * step) * rng.uniform(0.7, 1.8)
    hounsfield, masks = render(anatomy, points, densities, softness, draw_warp(rng, rng.uniform(0, 4)))
    return windowed(rng, scanned(rng, hounsfield, step)), masks


def _draw_view(rng: np.random.Generator, anatomy: Anatomy) -> tuple[np.ndarray, float]:
    """The centre (mm) and side (mm) of what the slice shows: whole table, body, or a part magnified."""
    tumour = anatomy.tumour
    near_tumour = tumour is not None and rng.random() < 0.45
    z = rng.uniform(-145, 140)
    if near_tumour and tumour is not None:
        z = float(tumour.centre[2] + rng.uniform(-0.9, 0.9) * tumour.radii[2])
    kind = rng.random()
    body = 2 * anatomy.body_radii[0]
    if kind < 0.3:
        return np.array([*rng.normal(0, 12, size=2), z]), rng.uniform(body * 1.05, 520)
    if kind < 0.65:
        return np.array([*rng.normal(0, 6, size=2), z]), body * rng.uniform(0.98, 1.12)
    anchors: list[Sequence[float] | np.ndarray] = [
        [0.0, anatomy.spine_y + anatomy.spine_radius],
        anatomy.heart_centre[:2],
        rng.uniform(-90, 90, size=2),
    ]
    anchor = tumour.centre[:2] if near_tumour and tumour is not None else anchors[rng.integers(len(anchors))]
    return np.array([anchor[0] + rng.normal(0, 10), anchor[1] + rng.normal(0, 10), z]), rng.uniform(64, 240)


def scanned(rng: np.random.Generator, hounsfield: Tensor, step: float) -> Tensor:
    """Noise with the grain of a reconstruction kernel, a blur, and slow shading. ``step`` is mm per pixel."""
    noise = torch.from_numpy(rng.standard_normal(hounsfield.shape, dtype=np.float32)).to(hounsfield.device)
    noise = _blurred(noise, rng.uniform(0.0, 1.2))
    shading = torch.from_numpy(rng.standard_normal((1, 1, 4, 4), dtype=np.float32)).to(hounsfield.device)
    shading = functional.interpolate(shading, hounsfield.shape, mode="bicubic", align_corners=True)[0, 0]
    image = _blurred(hounsfield, rng.uniform(0.0, 0.9 / step))
    texture = (
        1
        + 0.15
        * functional.interpolate(
            torch.from_numpy(rng.standard_normal((1, 1, 24, 24), dtype=np.float32)).to(image.device),
            hounsfield.shape,
            mode="bicubic",
        )[0, 0]
    )
    noise = noise / noise.std() * np.exp(rng.uniform(np.log(5), np.log(60)))
    return torch.where(image < -500, -1000 + (image + 1000) * texture, image) + noise + shading * rng.uniform(0, 15)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of ``sigma`` pixels."""
    if sigma < 0.3:
        return image
    radius = max(1, round(2.5 * sigma))
    grid = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-(grid**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None, None], (radius,) * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, None, :]), kernel[None, None, :, None])[0, 0]


def windowed(rng: np.random.Generator, hounsfield: Tensor) -> Tensor:
    """The papers' window most of the time, else a soft-tissue or a random one, as (3, S, S) 0 to 255."""
    low, high = -910.0, 590.0
    kind = rng.random()
    if kind < 0.12:
        low, high = -160.0, 240.0
    elif kind < 0.3:
        low = rng.uniform(-1000, -500)
        high = rng.uniform(200, 800)
    gray = ((hounsfield - low) / (high - low)).clamp(0, 1) * 255
    return gray.round().expand(3, -1, -1).contiguous()


CLASSES = ("Background", *(name for name in STRUCTURES if name != "Body"), "Body")


def patch_classes(masks: Tensor, grid: int) -> Tensor:
    """What each patch shows: an index into :data:`CLASSES`, (B, grid, grid), from masks (B, len(STRUCTURES), S, S).

    The structure that covers most of the patch wins, small ones counting double; the body is what is left of it.
    """
    share = functional.adaptive_avg_pool2d(masks.float(), grid)
    body, parts = share[:, :1], share[:, 1:]
    weight = torch.ones(len(STRUCTURES) - 1, device=masks.device)
    for name in ("Spinal-Cord", "GTV-1"):
        weight[STRUCTURES.index(name) - 1] = 2.0
    parts = parts * weight[None, :, None, None]
    rest = (body - share[:, 1:].sum(1, keepdim=True)).clamp(min=0)
    return torch.cat([1 - body, parts, rest], dim=1).argmax(1)
