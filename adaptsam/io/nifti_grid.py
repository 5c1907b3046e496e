"""Grid of a NIfTI image: one rule for sform and qform, that of nibabel, for images and masks alike."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptsam.image.remarks import Remark
from adaptsam.image.volume import Geometry

# Millimetres: sform and qform are written in single precision.
_ALIKE = 0.01
# Of a quaternion in single precision, a first part whose square is below this is none.
_HALF_TURN = 3 * float(np.finfo(np.float32).eps)
_MILLIMETRES = {1: 1000.0, 3: 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class _Header:
    sizes: tuple[int, int, int]
    pixdim: np.ndarray
    qform_code: int
    sform_code: int
    quaternion: np.ndarray
    offset: np.ndarray
    rows: np.ndarray
    unit: int


def nifti_grid(path: Path, found: Geometry) -> tuple[Geometry, tuple[Remark, ...]]:
    """The grid of a NIfTI file whose header was checked, and what about it is in doubt.

    The sform is used where its code is set, else the qform, else the spacing alone, with the origin in the middle and
    the first axis from left to right of the picture, as nibabel has it (nifti1.Nifti1Header.get_best_affine).

    Args:
        path: the file.
        found: the grid by ITK, kept to its last bit where it is the same.
    """
    header = _read(path)
    sform = np.vstack([header.rows, [0, 0, 0, 1]])
    qform = _qform(header)
    remarks = []
    affine = sform if header.sform_code > 0 else qform if header.qform_code > 0 else _centred(header)
    if header.sform_code > 0 and header.qform_code > 0:
        apart = _apart(sform, qform, header.sizes)
        if apart > _ALIKE:
            why = (
                f"they put voxels up to {apart:.3g} mm apart; the sform was used for images and masks, as nibabel does"
            )
            remarks.append(Remark("places in the header, sform and qform", 2, why, left_out=False))
    if header.sform_code <= 0 and header.qform_code <= 0:
        why = "it tells no orientation (sform and qform are 0); axes were taken as nibabel does"
        remarks.append(Remark("headers", 1, why, left_out=False))
    unknown = int((~_usable(header)).sum())
    if header.sform_code <= 0 and unknown:
        why = "they are 0 or no numbers; 1 mm stands in for them"
        remarks.append(Remark("sides of a voxel in the header", unknown, why, left_out=False))
    factor = _MILLIMETRES.get(header.unit)
    if factor is not None:
        affine = np.diag([factor] * 3 + [1.0]) @ affine
        why = f"its unit is {'metres' if header.unit == 1 else 'micrometres'}; they were taken as such"
        remarks.append(Remark("lengths in the header", 3, why, left_out=False))
    lps = _RAS_TO_LPS @ affine
    if _apart(lps, found.index_to_world, header.sizes) <= _ALIKE:
        return found, tuple(remarks)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    geometry = Geometry(
        found.shape,
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (float(lps[0, 3]), float(lps[1, 3]), float(lps[2, 3])),
        tuple(float(value) for value in (lps[:3, :3] / spacing).ravel()),
    )
    return geometry, tuple(remarks)


def is_nifti_2(path: Path) -> bool:
    """Whether a file whose header was checked is of the second version."""
    return 540 in (struct.unpack(f"{order}i", _start(path)[:4])[0] for order in "<>")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        return file.read(540)


def _read(path: Path) -> _Header:
    data = _start(path)
    order = "<" if struct.unpack("<i", data[:4])[0] in (348, 540) else ">"

    def values(form: str, start: int) -> tuple:
        return struct.unpack_from(f"{order}{form}", data, start)

    if values("i", 0)[0] == 540:
        sizes, pixdim, codes = values("8q", 16), values("8d", 104), values("2i", 344)
        quaternion, rows, unit = values("6d", 352), values("12d", 400), values("i", 500)[0]
    else:
        sizes, pixdim, codes = values("8h", 40), values("8f", 76), values("2h", 252)
        quaternion, rows, unit = values("6f", 256), values("12f", 280), values("b", 123)[0]
    extent = [max(1, int(sizes[n])) if n <= sizes[0] else 1 for n in (1, 2, 3)]
    return _Header(
        (extent[0], extent[1], extent[2]),
        np.array(pixdim[:4], float),
        codes[0],
        codes[1],
        np.array(quaternion[:3], float),
        np.array(quaternion[3:], float),
        np.array(rows, float).reshape(3, 4),
        unit & 7,
    )


def _usable(header: _Header) -> np.ndarray:
    return np.isfinite(header.pixdim[1:]) & (header.pixdim[1:] != 0)


def _spacing(header: _Header) -> np.ndarray:
    return np.where(_usable(header), np.abs(header.pixdim[1:]), 1.0)


def _qform(header: _Header) -> np.ndarray:
    b, c, d = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    a = np.sqrt(rest) if rest > _HALF_TURN else 0.0
    length = a * a + b * b + c * c + d * d
    s = 2.0 / length if length > 0 else 0.0
    rotation = np.array(
        [
            [1 - s * (c * c + d * d), s * (b * c - a * d), s * (b * d + a * c)],
            [s * (b * c + a * d), 1 - s * (b * b + d * d), s * (c * d - a * b)],
            [s * (b * d - a * c), s * (c * d + a * b), 1 - s * (b * b + c * c)],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (_spacing(header) * [1, 1, -1 if header.pixdim[0] < 0 else 1])
    affine[:3, 3] = header.offset
    return affine


def _centred(header: _Header) -> np.ndarray:
    affine = np.diag([*(_spacing(header) * [-1, 1, 1]), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(header.sizes) - 1) / 2)
    return affine


def _apart(one: np.ndarray, other: np.ndarray, sizes: tuple[int, int, int]) -> float:
    """Millimetres between the corners of the image by two matrices."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*np.subtract(sizes, 1), 1]
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())
