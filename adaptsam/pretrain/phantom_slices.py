"""Training images of the bundled model: axial phantom slices at two visits with every structure's mask.

The ranges are wider than anatomy and scanners demand (densities, noise, blur, window, field of view), so that what is
learnt is shape and context rather than one scanner's Hounsfield units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom.anatomy import Anatomy, draw_anatomy, draw_warp
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES, Densities, render

#: Slices that are drawn before one with a wanted share of a structure is given up.
_TRIES = 2000


@dataclass(frozen=True)
class View:
    """View of a slice: a square of ``side`` mm around ``centre`` (x, y, z in mm)."""

    centre: np.ndarray
    side: float

    def again(self, rng: np.random.Generator) -> View:
        """About the same place at another visit."""
        return View(self.centre + rng.normal(0, (6.0, 6.0, 3.0)), self.side * rng.normal(1, 0.03))


def draw_pairs(rng: np.random.Generator, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``count`` patients at two visits each, a slice of each visit of ``size`` pixels, a multiple of 8.

    Returns:
        Gray slices uint8 (count, 2, size, size), and the structures' masks with eight pixels a byte, the first highest,
        uint8 (count, 2, K, size, size / 8).
    """
    pairs = [_draw_pair(rng, size) for _ in range(count)]
    gray, masks = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return gray, np.packbits(masks, axis=-1)


def _draw_pair(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One patient: uint8 (2, size, size) and the structures' masks, bool (2, K, size, size)."""
    anatomy, densities, window = draw_anatomy(rng), draw_densities(rng), draw_window(rng)
    view = draw_view(rng, anatomy)
    images, masks = [], []
    for visit in range(2):
        if visit:
            view = view.again(rng)
            window = window if rng.random() < 0.7 else draw_window(rng)
        hounsfield, mask = draw_slice(rng, anatomy, densities, view, size, "cpu")
        images.append(windowed(hounsfield, window)[0].numpy().astype(np.uint8))
        masks.append(mask.numpy())
    return np.stack(images), np.stack(masks)


def draw_target(
    seed: int, structures: Sequence[str], size: int = 256, least: float = 0.004, whole: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A slice of a patient who is drawn from ``seed``, and one target on it.

    Args:
        seed: the patient and the slice; no other seed gives the same patient.
        structures: names in :data:`~adaptsam.synthetic.thorax_phantom.rendering.STRUCTURES`, whose union is the target.
        size: of the image, in pixels.
        least: the smallest share of the image that the target may take.
        whole: the whole body in every image, as a scanner shows it; else a part is magnified in a third of them.

    Returns:
        uint8 (size, size), gray, and bool (size, size) with foreground and background.

    Raises:
        InputError: no slice shows as much.
    """
    return _drawn(seed, structures, size, whole, lambda share: least <= share <= 0.9)


def draw_without(seed: int, structures: Sequence[str], whole: bool = False, size: int = 256) -> NDArray[np.uint8]:
    """A slice, uint8 (size, size), on which none of the structures is; arguments as :func:`draw_target`.

    Raises:
        InputError: every slice shows one, as whole slices do the spine.
    """
    return _drawn(seed, structures, size, whole, lambda share: share == 0)[0]


def _drawn(
    seed: int, structures: Sequence[str], size: int, whole: bool, wanted: Callable[[float], bool]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The first slice on which the structures take a share of the image that is wanted."""
    rng = np.random.default_rng([seed, 77])
    rows = [STRUCTURES.index(name) for name in structures]
    for _ in range(_TRIES):
        anatomy = draw_anatomy(rng)
        densities, view = draw_densities(rng), whole_view(rng, anatomy) if whole else draw_view(rng, anatomy)
        hounsfield, masks = draw_slice(rng, anatomy, densities, view, size, "cpu")
        target = masks[rows].any(0)
        if wanted(float(target.float().mean())):
            return windowed(hounsfield, draw_window(rng))[0].numpy().astype(np.uint8), target.numpy()
    kind = "whole slices" if whole else "slices"
    names = " or ".join(structures)
    raise InputError(f"None of {_TRIES} {kind} shows as much of {names} as is wanted; choose others or another share.")


def draw_densities(rng: np.random.Generator) -> Densities:
    """Hounsfield units around the usual ones; one patient in four has contrast agent in the blood.

    One in four has any density anywhere, as if another modality had been used: shape and context are all that is left.
    """
    if rng.random() < 0.25:
        return Densities(*rng.uniform(-900, 550, size=len(fields(Densities))).tolist())
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
    rng: np.random.Generator, anatomy: Anatomy, densities: Densities, view: View, size: int, device: str
) -> tuple[Tensor, Tensor]:
    """One slice (S, S) in Hounsfield units, and its masks (len(STRUCTURES), S, S)."""
    centre, step = view.centre, view.side / size
    axis = (torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2) * step
    angle = rng.normal(0, 0.05)
    u, v = axis[None, :].expand(size, size), axis[:, None].expand(size, size)
    x = np.cos(angle) * u - np.sin(angle) * v + centre[0]
    y = np.sin(angle) * u + np.cos(angle) * v + centre[1]
    z = centre[2] + rng.normal(0, 0.03) * x + rng.normal(0, 0.03) * y
    points = torch.stack([x, y, z])
    softness = max(0.7, 0.7 * step) * rng.uniform(0.7, 1.8)
    hounsfield, masks = render(anatomy, points, densities, softness, draw_warp(rng, rng.uniform(0, 4)))
    return scanned(rng, hounsfield, step), masks


def draw_view(rng: np.random.Generator, anatomy: Anatomy) -> View:
    """The whole table, the body, or a part magnified."""
    tumour = anatomy.tumour
    near_tumour = tumour is not None and rng.random() < 0.45
    z = rng.uniform(-145, 140)
    if near_tumour and tumour is not None:
        z = float(tumour.centre[2] + rng.uniform(-0.9, 0.9) * tumour.radii[2])
    kind = rng.random()
    body = 2 * anatomy.body_radii[0]
    if kind < 0.3:
        return View(np.array([*rng.normal(0, 12, size=2), z]), rng.uniform(body * 1.05, 520))
    if kind < 0.65:
        return View(np.array([*rng.normal(0, 6, size=2), z]), body * rng.uniform(0.98, 1.12))
    anchors: list[Sequence[float] | np.ndarray] = [
        [0.0, anatomy.spine_y + anatomy.spine_radius],
        anatomy.heart_centre[:2],
        rng.uniform(-90, 90, size=2),
    ]
    anchor = tumour.centre[:2] if near_tumour and tumour is not None else anchors[rng.integers(len(anchors))]
    return View(np.array([anchor[0] + rng.normal(0, 10), anchor[1] + rng.normal(0, 10), z]), rng.uniform(64, 240))


def whole_view(rng: np.random.Generator, anatomy: Anatomy) -> View:
    """The whole body, as a scanner shows it."""
    centre = np.array([*rng.normal(0, 10, size=2), rng.uniform(-145, 140)])
    if anatomy.tumour is not None and rng.random() < 0.45:
        centre[2] = anatomy.tumour.centre[2] + rng.uniform(-0.9, 0.9) * anatomy.tumour.radii[2]
    return View(centre, 2 * anatomy.body_radii[0] * rng.uniform(1.0, 1.35))


def scanned(rng: np.random.Generator, hounsfield: Tensor, step: float) -> Tensor:
    """A slice (S, S) in HU with a kernel's noise, a blur, and slow shading. ``step`` is mm per pixel."""
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


def draw_window(rng: np.random.Generator) -> tuple[float, float]:
    """The papers' window most of the time, else a soft-tissue or a random one; lowest and highest HU."""
    kind = rng.random()
    if kind < 0.15:
        return -160.0, 240.0
    if kind < 0.4:
        return rng.uniform(-1000, -300), rng.uniform(150, 800)
    return -910.0, 590.0


def windowed(hounsfield: Tensor, window: tuple[float, float]) -> Tensor:
    """Hounsfield units (S, S) as gray (3, S, S), 0 to 255."""
    low, high = window
    gray = ((hounsfield - low) / (high - low)).clamp(0, 1) * 255
    return gray.round().expand(3, -1, -1).contiguous()
