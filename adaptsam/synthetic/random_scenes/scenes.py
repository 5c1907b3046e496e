"""Endless scenes of random shapes at two visits each: training data without any anatomy, made on any device.

What a scene shows is drawn anew each time: how many shapes of which size and order, how much of it is seen, their gray
or colour, their textures, what the scanner does, and what changed at the second visit. Nothing in it is a body, so that
a model can learn only what holds for all images: that a structure ends where its looks end, and what stays the same
between two visits. Some of what real images have is there on purpose: organs that touch and hardly differ, a layer of
fat around or between them, air and bone far from all else, mucosa of one colour, a small structure magnified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adaptsam.synthetic.device_random import chance, choice, normal, uniform
from adaptsam.synthetic.random_scenes.image_artefacts import imaged
from adaptsam.synthetic.random_scenes.random_shapes import (
    BLOB,
    TUBE,
    Shapes,
    coordinates,
    deformed,
    draw_shapes,
    fields,
)
from adaptsam.synthetic.random_scenes.textures import Textures, draw_textures, gradients
from adaptsam.synthetic.visit_pairs import VisitPairs

SHAPES = 12
_TEXTURES = 4
_COLOUR_SHARE, _MUCOSA_SHARE = 0.25, 0.6
_MUCOSA = ((0.55, 0.95), (0.22, 0.55), (0.15, 0.45))
_BODY_SHARE, _SKIN_SHARE = 0.6, 0.5
_RIM_SHARE, _OUTLIER_SHARE = 0.35, 0.12
_MAGNIFIED_SHARE = 0.35


@dataclass(frozen=True)
class _Looks:
    """Looks of every structure and, last, of its surroundings: ``mean`` (B, K + 1, 3), gray or colour; ``strength`` and
    ``choice`` (B, K + 1) of its texture; ``slopes`` (B, K + 1, 2); ``softness`` (B, K + 1) of its edge in pixels.
    Around a structure lies a ``rim`` (B, K) of as many pixels, in the colour ``fat`` (B, 3) of the scene."""

    mean: Tensor
    strength: Tensor
    choice: Tensor
    slopes: Tensor
    softness: Tensor
    rim: Tensor
    fat: Tensor
    textures: Textures


def draw_scenes(rng: torch.Generator, scenes: int, side: int, device: str | torch.device = "cpu") -> VisitPairs:
    """``scenes`` pairs of images of ``side`` pixels; masks are what stays visible of each shape.

    ``rng`` must live on the same device.
    """
    device = torch.device(device)
    shapes = _with_body(rng, draw_shapes(rng, scenes, SHAPES, device))
    colour = chance(rng, (scenes,), device, _COLOUR_SHARE)
    centre, width = _draw_view(rng, shapes)
    looks = _draw_looks(rng, scenes, colour, width)
    grid = coordinates(side, device) * width[:, None, None, None] + centre[:, :, None, None]
    strength = uniform(rng, (scenes,), device, 0.0, 0.05)
    images, masks = [], []
    for visit in range(2):
        place = deformed(rng, grid, strength * width) if visit else grid
        seen = shapes.later(rng, 0.06) if visit else shapes
        image, mask = _painted(rng, seen, looks, place, side / width)
        images.append(imaged(rng, image, colour))
        masks.append(mask)
    return VisitPairs(torch.stack(images, 1), torch.stack(masks, 1))


def _with_body(rng: torch.Generator, shapes: Shapes) -> Shapes:
    """The first shape of most scenes is a large blob in the middle, with the others in and around it.

    In half of those the second one is the same a little smaller: what is under the skin.
    """
    scenes, device = len(shapes.kind), shapes.kind.device
    body = chance(rng, (scenes,), device, _BODY_SHARE)
    skin = body & chance(rng, (scenes,), device, _SKIN_SHARE)
    size = torch.stack([uniform(rng, (scenes,), device, 0.3, 0.65), uniform(rng, (scenes,), device, 0.25, 0.5)], -1)
    middle, turn = 0.08 * normal(rng, (scenes, 2), device), 0.2 * normal(rng, (scenes,), device)
    thinner = uniform(rng, (scenes, 1), device, 0.7, 0.96)
    kind, centre, radii, angle, wobble, twin = (
        x.clone() for x in (shapes.kind, shapes.centre, shapes.radii, shapes.angle, shapes.wobble, shapes.twin)
    )
    for number, there, radius in ((0, body, size), (1, skin, size * thinner)):
        kind[:, number] = torch.where(there, BLOB, kind[:, number])
        twin[:, number] &= ~there
        centre[:, number] = torch.where(there[:, None], middle, centre[:, number])
        radii[:, number] = torch.where(there[:, None], radius, radii[:, number])
        angle[:, number] = torch.where(there, turn, angle[:, number])
        wobble[:, number] = torch.where(there[:, None], wobble[:, 0], wobble[:, number])
    return replace(shapes, kind=kind, centre=centre, radii=radii, angle=angle, wobble=wobble, twin=twin)


def _draw_view(rng: torch.Generator, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """Draw the image's place, (B, 2), and width, (B,): all of the scene, or one structure magnified."""
    scenes, device = len(shapes.kind), shapes.kind.device
    number = torch.randint(1, SHAPES, (scenes, 1), generator=rng, device=device)
    radius = shapes.radii.mean(-1).gather(1, number)[:, 0]
    middle = shapes.centre.gather(1, number[..., None].expand(-1, -1, 2))[:, 0]
    width = (radius * torch.exp(uniform(rng, (scenes,), device, 0.9, 2.4))).clamp(0.08, 1.0)
    near = middle + 0.15 * width[:, None] * normal(rng, (scenes, 2), device)
    magnified = chance(rng, (scenes,), device, _MAGNIFIED_SHARE)
    return near * magnified[:, None], torch.where(magnified, width, 1.0)


def _draw_looks(rng: torch.Generator, scenes: int, colour: Tensor, width: Tensor) -> _Looks:
    device, size = colour.device, (scenes, SHAPES + 1)
    contrast = torch.exp(uniform(rng, (scenes, 1), device, -1.6, 0.0))
    gray = _draw_grays(rng, contrast)
    mucosa = colour & chance(rng, (scenes,), device, _MUCOSA_SHARE)
    dark = chance(rng, (scenes,), device, 0.6) & ~mucosa
    mean = _coloured(rng, gray, colour, mucosa)
    mean[:, -1] *= torch.where(dark, 0.05, 1.0)[:, None]
    magnified = width[:, None] ** -uniform(rng, (scenes, 1), device)
    rim = chance(rng, (scenes, SHAPES), device, _RIM_SHARE) * torch.exp(
        uniform(rng, (scenes, SHAPES), device, 0.0, 1.8)
    )
    fat = mean[:, -2] * uniform(rng, (scenes, 1), device, 0.3, 1.0)
    return _Looks(
        mean=mean,
        strength=torch.exp(uniform(rng, size, device, -5.0, -1.8)) * (0.3 + 0.7 * contrast),
        choice=torch.randint(0, _TEXTURES, size, generator=rng, device=device),
        slopes=0.15 * contrast[..., None] * normal(rng, (*size, 2), device),
        softness=torch.exp(uniform(rng, size, device, -1.0, 1.0)) * magnified,
        rim=rim * magnified,
        fat=fat,
        textures=draw_textures(rng, scenes, _TEXTURES, device),
    )


def _draw_grays(rng: torch.Generator, contrast: Tensor) -> Tensor:
    """A gray of each structure, (B, K + 1), evenly spread in random order so that no two are alike by chance.

    They lie around one level of the scene, by ``contrast`` (B, 1), as soft tissues do; a few are black or white.
    """
    device, size = contrast.device, (len(contrast), SHAPES + 1)
    order = torch.rand(size, generator=rng, device=device).argsort(1)
    spread = (order + torch.rand(size, generator=rng, device=device)) / (SHAPES + 1)
    level = 0.5 + (1 - contrast) * uniform(rng, (size[0], 1), device, -0.3, 0.3)
    gray = level + contrast * (spread - 0.5)
    extreme = choice(rng, (0.5, 0.5), size, device) + uniform(rng, size, device, -0.12, 0.12)
    return torch.where(chance(rng, size, device, _OUTLIER_SHARE), extreme, gray).clamp(0, 1)


def _coloured(rng: torch.Generator, gray: Tensor, colour: Tensor, mucosa: Tensor) -> Tensor:
    """Grays (B, K + 1) as (B, K + 1, 3): colour scenes have one cast that their structures share; mucosa is reddish."""
    device, size = gray.device, gray.shape
    tint = torch.rand((*size, 3), generator=rng, device=device)
    cast = torch.rand((size[0], 1, 3), generator=rng, device=device)
    gray = gray[..., None]
    bright = 0.4 * tint + 0.3 * gray + 0.3 * cast
    red = torch.stack([low + (high - low) * cast[..., i] for i, (low, high) in enumerate(_MUCOSA)], -1)
    red = red * (0.6 + 0.8 * gray) + 0.1 * (tint - 0.5)
    mixed = torch.where(mucosa[:, None, None], red, bright)
    return torch.where(colour[:, None, None], mixed, gray.expand(-1, -1, 3)).clamp(0, 1).clone()


def _painted(
    rng: torch.Generator, shapes: Shapes, looks: _Looks, place: Tensor, pixels_a_side: Tensor
) -> tuple[Tensor, Tensor]:
    """The shapes painted one over the other, (B, 3, S, S), and what stays visible of each, (B, K, S, S).

    ``pixels_a_side`` (B,) is how many pixels one unit of length, the side of the whole scene, has.
    """
    scenes, device, side = len(place), place.device, place.shape[-1]
    pictures = looks.textures.pictures(rng, side)
    slopes = gradients(looks.slopes, side)
    rows = torch.arange(scenes, device=device)
    signed = fields(shapes, place)
    narrow = shapes.radii.amin(-1) * torch.where(shapes.kind == TUBE, 0.25, 1.0) * pixels_a_side[:, None]
    fat = looks.fat[..., None, None]
    image = torch.zeros(scenes, 3, side, side, device=device)
    masks = torch.zeros(scenes, SHAPES, side, side, dtype=torch.bool, device=device)
    for number in range(-1, SHAPES):
        looks_like = looks.mean[:, number, :, None, None] + (
            looks.strength[:, number, None, None] * pictures[rows, looks.choice[:, number]] + slopes[:, number]
        ).unsqueeze(1)
        if number < 0:
            image = looks_like
            continue
        pixels = signed[:, number] * narrow[:, number, None, None]
        around = pixels + looks.rim[:, number, None, None]
        softness = looks.softness[:, number, None, None]
        rimmed = (looks.rim[:, number, None, None] > 0) * torch.sigmoid(around / softness)
        image = torch.lerp(image, fat, rimmed[:, None])
        image = torch.lerp(image, looks_like, torch.sigmoid(pixels / softness)[:, None])
        masks &= (around <= 0)[:, None]
        masks[:, number] = pixels > 0
    return image, masks
