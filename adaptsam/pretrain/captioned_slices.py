"""Phantom slices with captions: what can be named in them, and which patches are it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.pretrain.phantom_slices import draw_densities, draw_slice, whole_view, windowed
from adaptsam.synthetic.thorax_phantom.anatomy import draw_anatomy
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES, Densities


@dataclass(frozen=True)
class Topic:
    """Topic of a caption: its names, and the structures it covers."""

    names: tuple[str, ...]
    structures: tuple[str, ...]


LUNGS = Topic(("lung", "lungs", "both lungs"), ("Lung-Left", "Lung-Right"))
SIDES = (Topic(("left lung",), ("Lung-Left",)), Topic(("right lung",), ("Lung-Right",)))
OTHERS = (
    Topic(("heart",), ("Heart",)),
    Topic(("spine", "vertebra", "vertebral column"), ("Spine",)),
    Topic(("spinal cord",), ("Spinal-Cord",)),
    Topic(("aorta",), ("Aorta",)),
    Topic(("trachea", "airway"), ("Trachea",)),
    Topic(("liver",), ("Liver",)),
    Topic(("stomach",), ("Stomach",)),
    Topic(("ribs", "rib"), ("Ribs",)),
    Topic(("tumour", "tumor", "lung tumour", "lung tumor", "tumour in the lung"), ("GTV-1",)),
    Topic(("chest wall", "soft tissue"), ("Rest",)),
    Topic(("background", "air around the body"), ("Outside",)),
)
EMPTY = Topic(("",), ())
TOPICS = (LUNGS, *SIDES, *OTHERS)
_WINDOW = (-910.0, 590.0)  # the papers'


@dataclass(frozen=True)
class SlicePool:
    """Slices drawn beforehand.

    Attributes:
        images: uint8 (N, S, S), gray.
        shares: for each of :data:`TOPICS`, how much of each patch is it: float32 (N, patches) in [0, 1].
    """

    images: Tensor
    shares: dict[Topic, Tensor]


def draw_pool(rng: np.random.Generator, count: int, size: int, patch: int) -> SlicePool:
    """``count`` slices of ``size`` pixels with patches of ``patch``, two slices to a patient."""
    images: list[Tensor] = []
    masks: list[Tensor] = []
    while len(images) < count:
        anatomy, densities = draw_anatomy(rng), _ct_densities(rng)
        for _ in range(2):
            hounsfield, mask = draw_slice(rng, anatomy, densities, whole_view(rng, anatomy), size, "cpu")
            images.append(windowed(hounsfield, _WINDOW)[0].to(torch.uint8))
            masks.append(mask)
    stack = torch.stack(masks[:count])
    shares = {topic: patch_shares(topic_mask(stack, topic), patch) for topic in TOPICS}
    return SlicePool(torch.stack(images[:count]), shares)


def _ct_densities(rng: np.random.Generator) -> Densities:
    """Densities of a CT: those that :func:`draw_densities` draws as if of another modality are drawn again."""
    while True:
        densities = draw_densities(rng)
        if densities.lung < -650 and densities.fat < -60 and densities.bone > 240:
            return densities


def topic_mask(masks: Tensor, topic: Topic) -> Tensor:
    """Mask of a topic, bool (…, S, S), from the masks (…, len(STRUCTURES), S, S) of a phantom."""
    channel = {name: masks[..., index, :, :] for index, name in enumerate(STRUCTURES)}
    channel["Outside"] = ~channel["Body"]
    channel["Rest"] = channel["Body"] & ~masks[..., 1:, :, :].any(-3)
    mask = torch.stack([channel[name] for name in topic.structures]).any(0)
    # A tumour is in the lung, but a picture of the one is none of the other.
    return mask if topic.structures == ("GTV-1",) else mask & ~channel["GTV-1"]


def patch_shares(mask: Tensor, patch: int) -> Tensor:
    """Share of each patch that a mask (N, S, S) fills: float32 (N, patches) in [0, 1], row by row."""
    return functional.avg_pool2d(mask[:, None].float(), patch).flatten(1)


def draw_topics(rng: np.random.Generator) -> tuple[Topic, ...]:
    """Topics that exclude each other: the lungs, or each of them."""
    return ((LUNGS,) if rng.random() < 0.4 else SIDES) + OTHERS


def draw_captions(rng: np.random.Generator, topics: Sequence[Topic], templates: Sequence[str]) -> list[str]:
    """One caption a topic."""
    names = [str(rng.choice(topic.names)) for topic in topics]
    return [str(rng.choice(templates)).format(name) for name in names]
