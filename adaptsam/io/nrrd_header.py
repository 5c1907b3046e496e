"""NRRD headers that give the grid back to the last bit.

NRRD stores each axis as one vector, spacing times direction, and ITK takes it apart again by a norm and a reciprocal;
both ways round. Written plainly, an oblique grid changes in its last digits each time that it is saved.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np

from adaptsam.image.volume import Geometry

_Vector = tuple[float, float, float]
# Candidates within three units in the last place of each component, the nearest first.
_STEPS = sorted(itertools.product(range(-3, 4), repeat=3), key=lambda steps: sum(map(abs, steps)))


def keep_grid(path: Path, geometry: Geometry, *, layers: bool = False) -> None:
    """Correct the header of a file that SimpleITK wrote.

    Args:
        path: ``.nrrd`` or ``.nhdr``.
        geometry: what a reader shall find.
        layers: the first axis lists label layers, as Slicer says it.
    """
    header, blank_line, data = path.read_bytes().partition(b"\n\n")
    axes = " ".join("(" + ",".join(f"{part:.17g}" for part in vector) + ")" for vector in _axis_vectors(geometry))
    corrected = re.sub(rb"(?m)^(space directions: (?:none )?)\(.*$", rb"\g<1>" + axes.encode(), header)
    if layers:
        corrected = corrected.replace(b"\nkinds: vector ", b"\nkinds: list ", 1)
    if corrected != header:
        path.write_bytes(corrected + blank_line + data)


def tidy_direction(direction: tuple[float, ...]) -> tuple[float, ...]:
    """The direction without the last-bit noise of reading: 0.9999999999999999 is 1."""
    values = np.array(direction)
    whole = np.rint(values)
    return tuple(float(value) for value in np.where(np.abs(values - whole) < 1e-15, whole, values) + 0.0)


def _axis_vectors(geometry: Geometry) -> list[_Vector]:
    columns = np.reshape(geometry.direction, (3, 3)).T
    return [_vector(spacing, tuple(column.tolist())) for spacing, column in zip(geometry.spacing, columns, strict=True)]


def _vector(spacing: float, direction: _Vector) -> _Vector:
    """A vector that is read as this spacing and direction; their product where there is none."""
    product = [spacing * part for part in direction]
    for steps in _STEPS:
        x, y, z = (part + step * math.ulp(part) if part else 0.0 for part, step in zip(product, steps, strict=True))
        if _as_read((x, y, z)) == (spacing, direction):
            return x, y, z
    return product[0], product[1], product[2]


def _as_read(vector: _Vector) -> tuple[float, tuple[float, ...]]:
    x, y, z = vector
    norm = math.sqrt(x * x + y * y + z * z)
    return norm, tidy_direction((x * (1 / norm), y * (1 / norm), z * (1 / norm))) if norm else vector
