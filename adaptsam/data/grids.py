"""Voxels numbered in another way: cropped, flipped or with axes exchanged, but the same voxels."""

from __future__ import annotations

import numpy as np

from adaptsam.data.volume import Geometry
from adaptsam.errors import GeometryError


def place_on_grid(labels: np.ndarray, geometry: Geometry, reference: Geometry, name: str) -> np.ndarray:
    """Labels on the reference's grid, without resampling.

    Args:
        labels: (K, J, I), on ``geometry``.
        geometry: where the labels lie.
        reference: the grid wanted; voxels that ``labels`` does not cover become 0.
        name: of the file, for the message.

    Raises:
        GeometryError: the voxel centres of the two grids are not the same.
    """
    if geometry.matches(reference):
        return labels
    to_reference = np.linalg.inv(reference.index_to_world) @ geometry.index_to_world
    axes, offset = np.rint(to_reference[:3, :3]), np.rint(to_reference[:3, 3])
    permutes = (np.abs(axes).sum(axis=0) == 1).all() and (np.abs(axes).sum(axis=1) == 1).all()
    size = np.array(labels.shape[::-1])
    drift = np.abs(to_reference[:3, :3] - axes) @ size + np.abs(to_reference[:3, 3] - offset)
    if not permutes or drift.max() > 0.01:
        raise GeometryError(
            f"{name} lies on another grid than the image ({_grid(geometry)} against {_grid(reference)}); "
            "resample it onto the image first."
        )
    source = np.argwhere(labels)[:, ::-1]
    target = np.rint(source @ axes.T + offset).astype(int)[:, ::-1]
    if len(target) and ((target < 0) | (target >= reference.shape)).any():
        raise GeometryError(f"{name} has labels outside the image; choose the image that it was drawn on.")
    placed = np.zeros(reference.shape, labels.dtype)
    placed[tuple(target.T)] = labels[tuple(source[:, ::-1].T)]
    return placed


def _grid(geometry: Geometry) -> str:
    columns, spacing = geometry.shape[::-1], geometry.spacing
    return f"{columns[0]}×{columns[1]}×{columns[2]} voxels of {spacing[0]:.3g}×{spacing[1]:.3g}×{spacing[2]:.3g} mm"
