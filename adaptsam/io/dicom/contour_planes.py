"""Contours in the patient as masks on the slices of an image: which slice each belongs to, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adaptsam.errors import GeometryError
from adaptsam.image.contour_overlaps import Overlaps, encloses_voxels, find_overlaps
from adaptsam.image.rasterisation import fill_contours
from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Geometry
from adaptsam.io.dicom.roi_items import Contour, Roi

# In slices: contours of two planes closer than this belong together, and a contour may tilt by as much.
_ONE_PLANE = 0.1
# In slices: files round, and contours half-way between slices must not fall on every second one.
_ROUNDED = 1e-3
# What contours are written in where they are not in millimetres, as the standard wants them.
_UNITS = {10.0: "centimetres", 1000.0: "metres"}


def draw_roi(roi: Roi, geometry: Geometry, *, strict: bool) -> tuple[np.ndarray, np.ndarray, list[Remark]]:
    """The mask bool (K, J, I) of an ROI, the slices (K,) that have contours of it, and what was not simply drawn.

    A contour counts for the slice nearest to its plane, right in the middle for the next one along k, and for all
    slices whose centres lie within its slab; where planes lie denser than slices, each slice takes the nearest plane.

    Args:
        roi: its contours in LPS mm.
        geometry: of the image.
        strict: image and contours share no frame of reference, so that their planes must be those of the slices.

    Raises:
        GeometryError: contours are not parallel to the slices, lie where there is no slice, or, if strict, beside the
            image.
    """
    mask, contoured = np.zeros(geometry.shape, bool), np.zeros(geometry.shape[0], bool)
    indices = [geometry.index(contour.points) for contour in roi.contours]
    if not indices:
        return mask, contoured, []
    _check_units(roi, geometry)
    if any(np.ptp(index[:, 2]) > 2 * _ONE_PLANE for index in indices):
        raise GeometryError(
            f"The contours of {roi.name!r} are not parallel to the slices; choose their own image, or other structures."
        )
    heights = np.array(
        [index[:, 2].mean() + _offset(contour, geometry) for index, contour in zip(indices, roi.contours, strict=True)]
    )
    _check_planes(roi, heights, geometry, strict=strict)
    beside = np.array([_misses_image(index, geometry) for index in indices])
    if strict and beside.any():
        raise GeometryError(
            f"The contours of {roi.name!r} lie beside the image; choose their own image, or other structures."
        )
    found = _by_slice(heights, [contour.thickness / _slice_distance(geometry) for contour in roi.contours], geometry)
    overlaps: dict[int, Overlaps] = {}
    for k, here in found.items():
        plain = [n for n in here if not roi.contours[n].exclusive]
        overlaps[k] = find_overlaps([indices[n][:, :2] for n in plain], geometry.shape[1:])
        copies = {plain[n] for n in overlaps[k].copies}
        mask[k] = fill_contours([indices[n][:, :2] for n in here if n not in copies], geometry.shape[1:])
        contoured[k] = True
    used = {n for here in found.values() for n in here}
    remarks = _misplaced(roi, heights, used, beside, indices, geometry) + _shared(roi.name, overlaps)
    empty = sum(1 for n in used if not beside[n] and not encloses_voxels(indices[n][:, :2], geometry.shape[1:]))
    if empty:
        remarks.append(Remark(f"contours of {roi.name!r}", empty, "they enclose no voxel's centre"))
    return mask, contoured, remarks


def _shared(name: str, overlaps: Mapping[int, Overlaps]) -> list[Remark]:
    """Remarks on what contours of one slice share."""
    remarks = []
    copies = sum(len(one.copies) for one in overlaps.values())
    if copies:
        why = "they enclose the same voxels as others, of which they are copies"
        remarks.append(Remark(f"contours of {name!r}", copies, why))
    for slices, what in (
        (
            [k for k, one in overlaps.items() if one.crossing],
            "contours overlap on slice {} (counted from 0) without one lying in the other: outside where they do",
        ),
        (
            [k for k, one in overlaps.items() if one.thin],
            "a contour lies less than a pixel within another on slice {} (counted from 0); only the rim is inside",
        ),
    ):
        if slices:
            where = ", ".join(map(str, slices[:8])) + (", …" if len(slices) > 8 else "")
            remarks.append(Remark(f"slices of {name!r}", len(slices), what.format(where), left_out=False))
    return remarks


def _check_units(roi: Roi, geometry: Geometry) -> None:
    """Raise :class:`GeometryError` if contours lie on slices as centimetres or metres, and not as millimetres."""
    if _on_slices(roi, geometry, 1):
        return
    for factor, unit in _UNITS.items():
        if _on_slices(roi, geometry, factor):
            raise GeometryError(
                f"The contours of {roi.name!r} are in {unit}, it seems, and not in millimetres: so they lie on the "
                "slices; export them again."
            )


def _on_slices(roi: Roi, geometry: Geometry, factor: float) -> bool:
    """Whether the planes, of which there are several, lie each on a slice of its own, and the contours in the image."""
    indices = [geometry.index(contour.points * factor) for contour in roi.contours]
    heights = np.array([index[:, 2].mean() for index in indices])
    slices = np.clip(np.rint(heights), 0, geometry.shape[0] - 1)
    planes = len({round(float(contour.points[0] @ _normal(geometry)) * 1e3) for contour in roi.contours})
    apart = len(set(slices.tolist())) == planes > 1
    return (
        apart
        and bool((np.abs(heights - slices) <= _ONE_PLANE).all())
        and not any(_misses_image(index, geometry) for index in indices)
    )


def _offset(contour: Contour, geometry: Geometry) -> float:
    """Distance in slices of the slab's centre from the contour's plane."""
    return float((np.linalg.inv(geometry.index_to_world[:3, :3]) @ contour.offset)[2])


def _slice_distance(geometry: Geometry) -> float:
    """Millimetres between slices along their normal."""
    return geometry.spacing[2] * float(np.cos(np.radians(geometry.tilt_deg)))


def _by_slice(heights: np.ndarray, slabs: Sequence[float], geometry: Geometry) -> dict[int, list[int]]:
    """The numbers of the contours that each slice takes; heights and slabs are in slices."""
    last = geometry.shape[0] - 1
    nearest = np.clip(np.floor(heights + 0.5 + _ROUNDED), 0, last).astype(int)
    reached: dict[int, set[int]] = {}
    for n, (height, slab) in enumerate(zip(heights, slabs, strict=True)):
        reach = slab / 2 - _ROUNDED
        first, end = int(np.ceil(height - reach)), int(np.floor(height + reach))
        for k in {int(nearest[n]), *range(max(first, 0), min(end, last) + 1)}:
            reached.setdefault(k, set()).add(n)
    found: dict[int, list[int]] = {}
    for k in sorted(reached):
        here = np.array(sorted(reached[k]))
        plane = heights[here[np.abs(heights[here] - k).argmin()]]
        found[k] = [int(n) for n in here if abs(heights[n] - plane) <= _ONE_PLANE]
    return found


def _misplaced(
    roi: Roi, heights: np.ndarray, used: set[int], beside: np.ndarray, indices: Sequence[np.ndarray], geometry: Geometry
) -> list[Remark]:
    """Remarks on contours that lie between the slices or reach beyond them."""
    remarks = []
    between = [n for n in range(len(heights)) if n not in used]
    if between:
        why = "contours of a plane nearer to the same slice are there"
        remarks.append(Remark(f"contours of {roi.name!r}", len(between), why))
    drift = np.abs(heights - np.clip(np.floor(heights + 0.5 + _ROUNDED), 0, geometry.shape[0] - 1))
    moved = [n for n in used if drift[n] > _ONE_PLANE]
    if moved:
        farthest = float(drift[moved].max()) * _slice_distance(geometry)
        why = f"they lie between slices, and count for the nearest one, up to {farthest:.2g} mm away"
        remarks.append(Remark(f"contours of {roi.name!r}", len(moved), why, left_out=False))
    if beside.any():
        remarks.append(Remark(f"contours of {roi.name!r}", int(beside.sum()), "they lie beside the image"))
    cut = sum(1 for n in used if not beside[n] and _leaves_image(indices[n], geometry))
    if cut:
        why = "they reach beyond the image, and end at its border"
        remarks.append(Remark(f"contours of {roi.name!r}", cut, why, left_out=False))
    return remarks


def _check_planes(roi: Roi, heights: np.ndarray, geometry: Geometry, *, strict: bool) -> None:
    """Every contour must lie within half a slice of a slice; right on it where position alone has to tell."""
    farthest = _ONE_PLANE if strict else 0.5 + _ROUNDED
    off = np.abs(heights - np.clip(np.rint(heights), 0, geometry.shape[0] - 1)) > farthest
    if not off.any():
        return
    normal = _normal(geometry)
    positions = sorted({round(float(roi.contours[n].points.mean(axis=0) @ normal), 2) for n in np.flatnonzero(off)})
    shown = ", ".join(f"{position:g}" for position in positions[:5]) + (" mm, …" if len(positions) > 5 else " mm")
    raise GeometryError(
        f"{roi.name!r} has contours on {len(positions)} planes where the image has no slice (at {shown}); "
        "choose the series that they were drawn on, or other structures with --structure."
    )


def _normal(geometry: Geometry) -> np.ndarray:
    axes = np.reshape(geometry.direction, (3, 3))
    return np.cross(axes[:, 0], axes[:, 1])


def _misses_image(index: np.ndarray, geometry: Geometry) -> bool:
    last = np.array([geometry.shape[2], geometry.shape[1]]) - 0.5
    return bool((index[:, :2].max(axis=0) < -0.5).any() or (index[:, :2].min(axis=0) > last).any())


def _leaves_image(index: np.ndarray, geometry: Geometry) -> bool:
    last = np.array([geometry.shape[2], geometry.shape[1]]) - 0.5
    return bool(
        (index[:, :2].min(axis=0) < -0.5 - _ROUNDED).any() or (index[:, :2].max(axis=0) > last + _ROUNDED).any()
    )
