"""Endless scenes of random shapes at two visits each: training data without any anatomy, made on any device.

What a scene shows is drawn anew each time: how many shapes of which size and order, their gray or colour, their
textures, what the scanner does, and what changed at the second visit. Nothing in it is a body, so that a model can
learn only what holds for all images: that a structure ends where its looks end, and what stays the same between two
visits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adaptsam.finetune.pairs import VisitPairs
from adaptsam.finetune.synthetic.artefacts import imaged
from adaptsam.finetune.synthetic.shapes import (
    BLOB,
    TUBE,
    Shapes,
    coordinates,
    deformed,
    draw_shapes,
    fields,
    normal,
    uniform,
)
from adaptsam.finetune.synthetic.textures import Textures, draw_textures, gradients

SHAPES = 12
_TEXTURES = 4
_COLOUR_SHARE = 0.25
_BODY_SHARE = 0.6


@dataclass(frozen=True)
class _Looks:
    """Of every structure and, last, of what is around them: ``mean`` (B, K + 1, 3), gray or colour; ``strength`` and
    ``choice`` (B, K + 1) of its texture; ``slopes`` (B, K + 1, 2); ``softness`` (B, K + 1) of its edge in pixels."""

    mean: Tensor
    strength: Tensor
    choice: Tensor
    slopes: Tensor
    softness: Tensor
    textures: Textures


def draw_scenes(rng: torch.Generator, scenes: int, side: int, device: str | torch.device = "cpu") -> VisitPairs:
    """``scenes`` pairs of images of ``side`` pixels; masks are what stays visible of each shape.

    ``rng`` must live on the same device.
    """
    device = torch.device(device)
    shapes = draw_shapes(rng, scenes, SHAPES, device)
    shapes = _with_body(rng, shapes)
    colour = torch.rand(scenes, generator=rng, device=device) < _COLOUR_SHARE
    looks = _draw_looks(rng, scenes, colour, device)
    grid = coordinates(side, device)
    strength = uniform(rng, (scenes,), device, 0.0, 0.05)
    images, masks = [], []
    for visit in range(2):
        place = deformed(rng, grid, strength) if visit else grid.expand(scenes, -1, -1, -1)
        seen = shapes.later(rng, 0.06) if visit else shapes
        image, mask = _painted(rng, seen, looks, place, side)
        images.append(imaged(rng, image, colour))
        masks.append(mask)
    return VisitPairs(torch.stack(images, 1), torch.stack(masks, 1))


def _with_body(rng: torch.Generator, shapes: Shapes) -> Shapes:
    """The first shape of most scenes is a large blob in the middle, with the others in and around it."""
    scenes, device = len(shapes.kind), shapes.kind.device
    body = torch.rand(scenes, generator=rng, device=device) < _BODY_SHARE
    size = torch.stack([uniform(rng, (scenes,), device, 0.3, 0.65), uniform(rng, (scenes,), device, 0.25, 0.5)], -1)
    kind, centre, radii, angle = (x.clone() for x in (shapes.kind, shapes.centre, shapes.radii, shapes.angle))
    kind[body, 0] = BLOB
    centre[body, 0] = 0.08 * normal(rng, (int(body.sum()), 2), device)
    radii[body, 0] = size[body]
    angle[body, 0] = 0.2 * normal(rng, (int(body.sum()),), device)
    return replace(shapes, kind=kind, centre=centre, radii=radii, angle=angle)


def _draw_looks(rng: torch.Generator, scenes: int, colour: Tensor, device: torch.device) -> _Looks:
    size = (scenes, SHAPES + 1)
    # Evenly spread levels in random order, so that no two structures of a scene look the same by chance.
    order = torch.rand(size, generator=rng, device=device).argsort(1)
    gray = ((order + torch.rand(size, generator=rng, device=device)) / (SHAPES + 1))[..., None]
    tint = torch.rand((*size, 3), generator=rng, device=device)
    # A colour scene has one cast that its structures share, as mucosa does.
    cast = torch.rand((scenes, 1, 3), generator=rng, device=device)
    mean = torch.where(colour.view(-1, 1, 1), 0.4 * tint + 0.3 * gray + 0.3 * cast, gray.expand(-1, -1, 3))
    dark = torch.rand(scenes, generator=rng, device=device) < 0.6
    mean[:, -1] = torch.where(dark[:, None], 0.05 * mean[:, -1], mean[:, -1])
    return _Looks(
        mean=mean,
        strength=torch.exp(uniform(rng, size, device, -5.0, -1.8)),
        choice=torch.randint(0, _TEXTURES, size, generator=rng, device=device),
        slopes=0.15 * normal(rng, (*size, 2), device),
        softness=torch.exp(uniform(rng, size, device, -1.0, 1.0)),
        textures=draw_textures(rng, scenes, _TEXTURES, device),
    )


def _painted(rng: torch.Generator, shapes: Shapes, looks: _Looks, place: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The shapes painted one over the other, (B, 3, S, S), and what stays visible of each, (B, K, S, S)."""
    scenes, device = len(place), place.device
    pictures = looks.textures.pictures(rng, side)
    slopes = gradients(looks.slopes, side)
    rows = torch.arange(scenes, device=device)
    signed = fields(shapes, place)
    narrow = shapes.radii.amin(-1) * torch.where(shapes.kind == TUBE, 0.25, 1.0) * side
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
        cover = torch.sigmoid(pixels / looks.softness[:, number, None, None])
        image = torch.lerp(image, looks_like, cover[:, None])
        inside = pixels > 0
        masks &= ~inside[:, None]
        masks[:, number] = inside
    return image, masks
