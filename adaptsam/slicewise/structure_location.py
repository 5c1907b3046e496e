"""Location of a structure in one target: the registered contour on every slice, and around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptsam.image.volume import Geometry
from adaptsam.registration.deformable import Deformation
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.prior_contour import FAR, DistanceField, PriorContour


@dataclass(frozen=True, eq=False)
class SliceLocation:
    """``distance`` float32 (H, W): mm from each pixel of a target slice to the registered contour, negative inside.

    ``prior_k`` is the (fractional) prior slice that lies where the structure is expected on this target slice.
    Within ``box`` (rows, columns), ``index`` (h, w, 3) are the prior indices i, j, k of the slice's pixels, and
    ``solid`` (h, w) is the distance to the registered contour as a closed body, which ``distance`` is not: that goes on
    beyond the ends as the end slices are.
    """

    distance: np.ndarray
    prior_k: float
    box: tuple[slice, slice]
    index: np.ndarray
    solid: np.ndarray


class Location:
    """The registered contour of one structure in one target, both canonical.

    Attributes:
        expected: the first and last target slice (they may lie outside the target) that the contour reaches.
        inside: the share of the structure that lies in the target's field of view.
    """

    def __init__(
        self,
        contour: PriorContour,
        field: DistanceField,
        registration: Rigid | Deformation,
        prior: Geometry,
        target: Geometry,
    ) -> None:
        self._field, self._registration, self._prior, self._target = field, registration, prior, target
        points = self.to_target_index(contour.voxels)
        self.expected = (int(np.rint(points[:, 2].min())), int(np.rint(points[:, 2].max())))
        seen = np.all((points > -0.5) & (points < np.array(target.shape[::-1]) - 0.5), axis=1)
        self.inside = float(seen.mean())
        self.seen_points = np.rint(points[seen]).astype(int)
        corners = self.to_target_index(field.lattice)
        rows, columns = (
            slice(max(0, int(np.floor(low))), min(length, int(np.ceil(high)) + 1))
            for low, high, length in zip(
                self._in_plane_low(corners), self._in_plane_high(corners), target.shape[1:], strict=True
            )
        )
        self._box = (rows, columns)

    def to_target_index(self, prior_index: np.ndarray) -> np.ndarray:
        """Target indices (..., 3) of prior indices (..., 3), i, j, k."""
        return self._target.index(self._registration.to_target(self._prior.world(prior_index)))

    def on_slice(self, k: int) -> SliceLocation:
        """Distances on target slice ``k``, and the prior slice to pair it with; a tilted slice crosses several."""
        rows, columns = self._box
        distance = np.full(self._target.shape[1:], FAR, np.float32)
        j, i = np.mgrid[rows, columns].astype(float)
        if j.size == 0:
            none = np.zeros(j.shape)
            return SliceLocation(
                distance, float(sum(self._field.slices) / 2), (rows, columns), np.zeros((*j.shape, 3)), none
            )
        world = self._target.world(np.stack([i, j, np.full_like(i, k)], axis=-1))
        index = self._prior.index(self._registration.to_prior(world))
        near, prior_k = self._field.sample(index)
        distance[rows, columns] = near
        beyond = (np.abs(index[..., 2] - prior_k) - 0.5) * self._prior.spacing[2]
        solid = np.where(index[..., 2] == prior_k, near, np.maximum(near, beyond))
        middle = float(prior_k[near <= max(0.0, float(near.min()) + 1.0)].mean())
        return SliceLocation(distance, middle, (rows, columns), index, solid)

    def distance_at(self, index: np.ndarray) -> np.ndarray:
        """Millimetres to the registered contour at target indices (n, 3), i, j, k."""
        world = self._registration.to_prior(self._target.world(index))
        return self._field.sample(self._prior.index(world))[0]

    def _in_plane_low(self, corners: np.ndarray) -> tuple[float, float]:
        return float(corners[:, 1].min()) - self._slack[0], float(corners[:, 0].min()) - self._slack[1]

    def _in_plane_high(self, corners: np.ndarray) -> tuple[float, float]:
        return float(corners[:, 1].max()) + self._slack[0], float(corners[:, 0].max()) + self._slack[1]

    @property
    def _slack(self) -> tuple[float, float]:
        """Pixels (rows, columns) that slices beyond the structure's ends may shift at a tilt of up to 10°."""
        return 10.0 / self._target.spacing[1], 10.0 / self._target.spacing[0]
