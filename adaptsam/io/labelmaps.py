"""Labelmaps: one integer image, one structure per value."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.resampling import grid_remarks, place_on_grid, set_upright
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.io.itk_images import read_itk_image, write_itk_image

_MOST_LABELS = 512
_ORDINALS = {2: "second", 3: "third"}
#: The largest label that is written.
_LARGEST = 2**32 - 1


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
    about = (*image.remarks, *grid_remarks(image.geometry, reference.geometry), *gap_remarks(structures))
    return StructureSet(structures, reference.geometry, remarks=about)


def gap_remarks(structures: Sequence[Structure]) -> list[Remark]:
    """A word on masks that are drawn on every second or third slice alone, with nothing between."""
    remarks = []
    for structure in structures:
        filled = np.flatnonzero(structure.mask.any(axis=(1, 2)))
        gaps = set(np.diff(filled).tolist())
        if len(filled) > 2 and len(gaps) == 1 and (step := gaps.pop()) > 1:
            between = int(filled[-1] - filled[0] + 1 - len(filled))
            which = _ORDINALS.get(step, f"{step}th")
            why = f"nothing is drawn there, only on every {which} slice; they count as not drawn"
            remarks.append(Remark(f"slices between those of {structure.name!r}", between, why, left_out=False))
    return remarks


def write_labelmap(path: Path, structures: StructureSet, geometry: Geometry, *, overwrite: bool = False) -> None:
    """Write the structures as 1, 2, … in their order; where all are called ``label-n``, each keeps its n.

    Raises:
        InputError: structures overlap.
    """
    values = label_values(structures.names, _LARGEST)
    labels = np.zeros(geometry.shape, np.min_scalar_type(max(values, default=0)))
    for structure, value in zip(structures.structures, values, strict=True):
        if labels[structure.mask].any():
            raise InputError(f"{structure.name!r} overlaps another structure; write a .seg.nrrd, which can hold both.")
        labels[structure.mask] = value
    upright, grid = set_upright(labels, geometry, nearest=True)
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


def label_values(names: Sequence[str], most: int = 255) -> list[int]:
    """Values of structures in a labelmap: 1, 2, …; where all are called ``label-n``, each keeps its n.

    ``most`` is the largest value that can be written.
    """
    named = [re.fullmatch(r"label-([1-9]\d{0,9})", name) for name in names]
    own = [int(match[1]) for match in named if match]
    kept = len(own) == len(set(own)) == len(named) and max(own, default=0) <= most
    return own if kept else list(range(1, len(named) + 1))


def distinct_color(number: int) -> tuple[int, int, int]:
    """RGB, 0 to 255: neighbours in number differ in hue by the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + number * 0.381966) % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
