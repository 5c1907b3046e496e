"""Resampling between grids: the same voxels numbered in another way, and sheared grids set upright."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from adaptsam.errors import GeometryError
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Geometry


def place_on_grid(labels: np.ndarray, geometry: Geometry, reference: Geometry, name: str) -> np.ndarray:
    """Labels on the reference's grid, without resampling; on a sheared one, each voxel takes the label at its centre.

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
    if reference.is_sheared:
        return resampled(labels, geometry, reference, nearest=True)
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


def grid_remarks(geometry: Geometry, reference: Geometry) -> tuple[Remark, ...]:
    """Remark on what :func:`place_on_grid` does to labels of a tilted gantry's image, if it does."""
    if geometry.matches(reference) or not reference.is_sheared:
        return ()
    why = "the gantry was tilted and their file cannot hold such a grid: each takes the label nearest to its centre"
    return (Remark("voxels of the image", int(np.prod(reference.shape)), why, left_out=False),)


def set_upright(
    array: np.ndarray, geometry: Geometry, *, nearest: bool = False, fill: float = 0.0
) -> tuple[np.ndarray, Geometry]:
    """Array (K, J, I) and grid as they are, or resampled to perpendicular axes where the grid is sheared.

    Labels go there by the nearest voxel and come back by :func:`place_on_grid` unchanged.
    """
    if not geometry.is_sheared:
        return array, geometry
    upright = upright_grid(geometry)
    return resampled(array, geometry, upright, nearest=nearest, fill=fill), upright


def upright_grid(geometry: Geometry) -> Geometry:
    """The smallest grid of perpendicular axes that covers a sheared one; its i axis and its slices are the same."""
    steps = geometry.index_to_world[:3, :3]
    axes = np.linalg.qr(steps)[0]
    axes = axes * np.sign(np.sum(axes * steps, axis=0))
    spacing = np.sum(axes * steps, axis=0)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (
        np.array(geometry.shape[::-1]) - 1
    )
    along = (geometry.world(corners) - geometry.origin) @ axes / spacing
    low, high = np.floor(along.min(axis=0) + 1e-6), np.ceil(along.max(axis=0) - 1e-6)
    columns, rows, slices = (high - low).astype(int) + 1
    return Geometry(
        shape=(int(slices), int(rows), int(columns)),
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin=tuple(float(value) for value in axes @ (low * spacing) + geometry.origin),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in axes.ravel()),
    )


def resampled(
    array: np.ndarray, geometry: Geometry, onto: Geometry, *, nearest: bool = False, fill: float = 0.0
) -> np.ndarray:
    """The array (K, J, I) of one grid on another, linearly or by the nearest voxel; ``fill`` lies outside."""
    # Rounded, because slice −1e-16 would lie outside.
    to_source = np.round(np.linalg.inv(geometry.index_to_world) @ onto.index_to_world, 9)
    flat = ndimage.affine_transform(
        array.astype(np.uint8) if array.dtype == bool else array,
        to_source[2::-1, 2::-1],
        to_source[2::-1, 3],
        output_shape=onto.shape,
        order=0 if nearest else 1,
        mode="constant",
        cval=fill,
    )
    return flat.astype(array.dtype, copy=False)


def _grid(geometry: Geometry) -> str:
    columns, spacing = geometry.shape[::-1], geometry.spacing
    return f"{columns[0]}×{columns[1]}×{columns[2]} voxels of {spacing[0]:.3g}×{spacing[1]:.3g}×{spacing[2]:.3g} mm"
