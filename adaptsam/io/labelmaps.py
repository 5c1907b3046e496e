"""Labelmaps: one integer image, one structure per value."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.resampling import place_on_grid, set_upright
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.io.itk_images import read_itk_image, write_itk_image

_MOST_LABELS = 512


def read_labelmap(path: Path, reference: Volume) -> StructureSet:
    """The structures of a labelmap, named ``label-1``, ``label-2``, … after their values.

    Raises:
        InputError: the values are not labels, or all are 0.
        GeometryError: the labelmap lies on another grid than ``reference``.
    """
    image = read_itk_image(path)
    values = np.unique(image.array)
    if image.array.ndim != 3 or not np.isfinite(values).all() or (values != np.rint(values)).any() or values.min() < 0:
        raise InputError(
            f"{path.name} is not a labelmap: its values are not whole numbers from 0; choose another file."
        )
    labels = [int(value) for value in values if value > 0]
    if not labels:
        raise InputError(f"{path.name} is empty: it holds no label; choose another file.")
    if len(labels) > _MOST_LABELS:
        raise InputError(f"{path.name} has {len(labels)} different values, so it is an image and not a labelmap.")
    array = place_on_grid(image.array, image.geometry, reference.geometry, path.name)
    structures = tuple(
        Structure(f"label-{label}", array == label, color=distinct_color(number), number=label)
        for number, label in enumerate(labels)
    )
    return StructureSet(structures, reference.geometry)


def write_labelmap(path: Path, structures: StructureSet, geometry: Geometry, *, overwrite: bool = False) -> None:
    """Write the structures as 1, 2, … in their order; where all are called ``label-n``, each keeps its n.

    Raises:
        InputError: structures overlap.
    """
    labels = np.zeros(geometry.shape, np.uint16)
    for structure, value in zip(structures.structures, label_values(structures.names), strict=True):
        if labels[structure.mask].any():
            raise InputError(f"{structure.name!r} overlaps another structure; write a .seg.nrrd, which can hold both.")
        labels[structure.mask] = value
    smallest = labels.astype(np.uint8) if labels.max() < 256 else labels
    upright, grid = set_upright(smallest, geometry, nearest=True)
    write_itk_image(path, upright, grid, overwrite=overwrite)


def without_overlaps(structures: StructureSet) -> tuple[StructureSet, tuple[str, ...]]:
    """The structures as a labelmap can hold them, and the names of those that lost voxels.

    What several hold is left to the smallest of them: of a tumour in a lung, the tumour stays whole.
    """
    taken = np.zeros(structures.geometry.shape, bool)
    parted: dict[int, Structure] = {}
    sizes = [int(np.count_nonzero(one.mask)) for one in structures.structures]
    for number in sorted(range(len(sizes)), key=sizes.__getitem__):
        one = structures.structures[number]
        parted[number] = replace(one, mask=one.mask & ~taken) if (one.mask & taken).any() else one
        taken |= one.mask
    ordered = tuple(parted[number] for number in range(len(sizes)))
    lost = tuple(a.name for a, b in zip(ordered, structures.structures, strict=True) if a is not b)
    return replace(structures, structures=ordered), lost


def label_values(names: Sequence[str]) -> list[int]:
    """Values of structures in a labelmap: 1, 2, …; where all are called ``label-n``, each keeps its n."""
    named = [re.fullmatch(r"label-([1-9]\d{0,3})", name) for name in names]
    own = [int(match[1]) for match in named if match]
    return own if len(own) == len(set(own)) == len(named) else list(range(1, len(named) + 1))


def distinct_color(number: int) -> tuple[int, int, int]:
    """RGB, 0 to 255: neighbours in number differ in hue by the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + number * 0.381966) % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
