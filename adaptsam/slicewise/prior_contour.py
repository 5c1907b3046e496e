"""Contour of one structure in the prior: its drawn slices, its shape between them, distances from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from adaptsam.image.orientation import Orientation
from adaptsam.image.resampling import set_upright
from adaptsam.image.shape_interpolation import between
from adaptsam.image.signed_distance import signed_distance
from adaptsam.image.volume import Geometry, Structure

#: Distance fields hold at most this many voxels; larger structures get a coarser field.
FIELD_VOXELS = 4_000_000

#: Millimetres returned where a point lies beyond the distance field.
FAR = 1e4

#: A step between drawn slices that occurs so often is a habit of whoever drew, and not a gap between two parts.
RECURRING = 3


@dataclass(frozen=True, eq=False)
class PriorContour:
    """One structure of the prior in canonical order.

    ``mask`` is the stored mask (K, J, I), turned. ``drawn`` lists the slices that a person contoured and that hold some
    of it; ``body`` is the mask within ``box`` (k, j, i slices) with the slices that were skipped interpolated. A longer
    gap parts the structure in two, and stays.
    """

    name: str
    mask: np.ndarray
    drawn: tuple[int, ...]
    box: tuple[slice, slice, slice]
    body: np.ndarray
    geometry: Geometry

    @property
    def volume_mm3(self) -> float:
        return float(self.body.sum()) * self.geometry.voxel_volume

    @property
    def voxels(self) -> np.ndarray:
        """Indices (n, 3) of the structure's voxels, i, j, k; at most about 20000, evenly taken."""
        index = np.argwhere(self.body)[:, ::-1] + [self.box[2].start, self.box[1].start, self.box[0].start]
        return index[:: max(1, len(index) // 20000)]

    @property
    def centroid(self) -> np.ndarray:
        """The centre of mass, (3,) LPS mm."""
        return self.geometry.world(self.voxels.mean(axis=0))

    def areas(self) -> np.ndarray:
        """Pixels (n,) on each drawn slice."""
        return np.array([int(self.mask[k].sum()) for k in self.drawn])

    def diameter_mm(self) -> float:
        """The median over drawn slices of the diameter of a circle of the same area."""
        pixel = self.geometry.spacing[0] * self.geometry.spacing[1]
        return float(np.median(np.sqrt(4 * self.areas() * pixel / np.pi)))

    def extent_mm(self) -> float:
        """The largest in-plane side, in mm, of the bounding box on a single slice."""
        sides = []
        for k in self.drawn:
            rows, columns = (np.flatnonzero(self.mask[k].any(axis=axis)) for axis in (1, 0))
            sides.append((rows[-1] - rows[0] + 1) * self.geometry.spacing[1])
            sides.append((columns[-1] - columns[0] + 1) * self.geometry.spacing[0])
        return float(max(sides))

    def centre(self, k: int) -> tuple[float, float]:
        """The middle (x, y) in pixels of the bounding box on drawn slice ``k``."""
        rows, columns = (np.flatnonzero(self.mask[k].any(axis=axis)) for axis in (1, 0))
        return (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2

    def around(self, margin_mm: float) -> tuple[slice, slice]:
        """Rows and columns of the box in a slice that encloses the structure and ``margin_mm`` about it."""
        width, height = self.geometry.spacing[:2]
        pads = (int(np.ceil(margin_mm / height)), int(np.ceil(margin_mm / width)))
        rows, columns = (
            slice(max(0, one.start - pad), min(length, one.stop + pad))
            for one, pad, length in zip(self.box[1:], pads, self.geometry.shape[1:], strict=True)
        )
        return rows, columns

    def blunt_ends(self, share: float) -> tuple[bool, bool]:
        """Whether the structure ends abruptly at its first and last drawn slice: area above ``share`` of the median."""
        areas = self.areas()
        limit = share * float(np.median(areas))
        several = len(areas) >= 4
        return several and bool(areas[0] >= limit), several and bool(areas[-1] >= limit)


def prior_contour(structure: Structure, orientation: Orientation, geometry: Geometry) -> PriorContour:
    """Turn one structure; ``geometry`` is the canonical grid. The mask must not be empty."""
    mask = orientation.apply(structure.mask)
    filled_slices = [int(k) for k in np.flatnonzero(mask.any(axis=(1, 2)))]
    contoured = _contoured(structure, orientation, filled_slices, mask.shape[0])
    drawn = tuple(k for k in filled_slices if contoured[k])
    flat = mask[drawn[0]].copy()
    for k in drawn[1:]:
        flat |= mask[k]
    rows, columns = (np.flatnonzero(flat.any(axis=axis)) for axis in (1, 0))
    box = (slice(drawn[0], drawn[-1] + 1), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    body = _fill_between(mask[box], [k - drawn[0] for k in drawn], contoured[box[0]], geometry)
    return PriorContour(structure.name, mask, drawn, box, body, geometry)


def _contoured(structure: Structure, orientation: Orientation, filled: list[int], slices: int) -> np.ndarray:
    """Canonical slices that are evidence, bool (slices,), of the structure or of its absence.

    Recorded, with the gaps that part the structure in two; or told from a regular pattern of empty slices.
    """
    if structure.contoured is not None and orientation.order[0] == 0:
        recorded = np.asarray(structure.contoured, bool)[:: -1 if orientation.flipped[0] else 1]
        if recorded[filled].any():
            return recorded | _left_out(np.flatnonzero(recorded), slices)
    contoured = np.ones(slices, bool)
    steps = np.diff(filled)
    if len(steps) >= 2:
        step, often = Counter(steps.tolist()).most_common(1)[0]
        if step > 1 and often >= 0.7 * len(steps):
            for k, gap in zip(filled, steps, strict=False):
                if gap <= step:
                    contoured[k + 1 : k + gap] = False
    return contoured


def _left_out(recorded: np.ndarray, slices: int) -> np.ndarray:
    """The slices, bool (slices,), that lie between two parts of a structure: nobody meant something to be there.

    A gap is longer than that by which slices were skipped if it is more than twice the usual step between recorded
    slices, the median one or a longer one that recurs.
    """
    left_out = np.zeros(slices, bool)
    steps = np.diff(recorded)
    if len(steps) < 2:
        return left_out
    recurring = [step for step, often in Counter(steps.tolist()).items() if often >= RECURRING]
    usual = max(sorted(steps)[(len(steps) - 1) // 2], *recurring, 1)
    for k, step in zip(recorded, steps, strict=False):
        if step > 2 * usual:
            left_out[k + 1 : k + step] = True
    return left_out


def _fill_between(mask: np.ndarray, drawn: list[int], contoured: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The mask with slices without a contour interpolated between the drawn ones around them."""
    body = mask.copy()
    for low, high in pairwise(drawn):
        if high - low > 1 and not contoured[low + 1 : high].any():
            for k in range(low + 1, high):
                body[k] = between(mask[low], mask[high], (k - low) / (high - low), geometry.spacing[1::-1])
    return body


class DistanceField:
    """Signed distances in mm to a prior structure, negative inside, up to ``reach_mm`` around it."""

    def __init__(self, contour: PriorContour, reach_mm: float) -> None:
        geometry = contour.geometry
        spacing = geometry.spacing[::-1]
        pads = [int(np.ceil(reach_mm / size)) + 2 for size in spacing]
        pads[0] = 1  # along k, points beyond the ends are brought to the end slices
        sides = [s + 2 * pad for s, pad in zip(contour.body.shape, pads, strict=True)]
        stride = max(1, int(np.ceil(np.sqrt(np.prod(sides) / FIELD_VOXELS))))
        padded = np.pad(contour.body, [(pad, pad) for pad in pads])[:, ::stride, ::stride]
        self.slices = (contour.drawn[0], contour.drawn[-1])
        self._start = np.array([contour.box[axis].start - pads[axis] for axis in range(3)])
        self._stride = np.array([1, stride, stride])
        self._shape = padded.shape
        upright, grid, self._lean = self._set_upright(padded, geometry)
        self._field = signed_distance(upright, grid.spacing[::-1])

    def _set_upright(self, padded: np.ndarray, whole: Geometry) -> tuple[np.ndarray, Geometry, np.ndarray | None]:
        """The mask with perpendicular axes, its grid, and the matrix (4, 4) that takes indices there, if it leans."""
        grid = Geometry(
            shape=(padded.shape[0], padded.shape[1], padded.shape[2]),
            spacing=tuple(whole.spacing[c] * float(self._stride[2 - c]) for c in range(3)),  # type: ignore[arg-type]
            origin=tuple(float(value) for value in whole.world(self._start[::-1])),  # type: ignore[arg-type]
            direction=whole.direction,
        )
        mask, upright = set_upright(padded, grid, nearest=True)
        lean = np.linalg.inv(upright.index_to_world) @ grid.index_to_world if grid.is_sheared else None
        return mask, upright, lean

    @property
    def lattice(self) -> np.ndarray:
        """Points all over the field, corners included, (125, 3) prior indices i, j, k."""
        shares = np.linspace(0.0, 1.0, 5)
        points = np.stack(np.meshgrid(shares, shares, shares, indexing="ij"), axis=-1).reshape(-1, 3)
        return (points * (np.array(self._shape) - 1) * self._stride + self._start)[:, ::-1]

    def sample(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances at prior indices (..., 3) i, j, k, and the slices they were taken on.

        Points beyond the first or last drawn slice are judged by their place on that slice.
        """
        k = np.clip(index[..., 2], self.slices[0], self.slices[1])
        at = np.stack([k, index[..., 1], index[..., 0]])
        at = (at - self._start.reshape(-1, *[1] * (at.ndim - 1))) / self._stride.reshape(-1, *[1] * (at.ndim - 1))
        if self._lean is not None:
            at = (at[::-1].T @ self._lean[:3, :3].T + self._lean[:3, 3]).T[::-1]
        return ndimage.map_coordinates(self._field, at, order=1, mode="constant", cval=FAR), k
