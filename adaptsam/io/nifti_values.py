"""Values of a NIfTI image where ITK's differ from the standard's: a slope of 0, and voxels that are not a number."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.io.nifti_grid import is_nifti_2

_FLOATS = {16: "f4", 64: "f8"}
_CHUNK = 16 * 2**20


def nifti_values(path: Path, array: np.ndarray) -> np.ndarray:
    """The array (K, J, I) that ITK read from a NIfTI-1 file, with what it takes otherwise put right.

    A slope of 0, or none, means no scaling; ITK adds the intercept. It sets voxels that are
    not a number to 0, which is water.

    Raises:
        InputError: some voxels, or the intercept, are not a number.
    """
    if is_nifti_2(path):
        return array
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        header = file.read(348)
        order = "<" if struct.unpack("<i", header[:4])[0] == 348 else ">"
        (kind,) = struct.unpack_from(f"{order}h", header, 70)
        start, slope, intercept = struct.unpack_from(f"{order}3f", header, 108)
        if kind in _FLOATS:
            file.seek(int(start))
            lost = sum(_not_numbers(chunk, f"{order}{_FLOATS[kind]}") for chunk in _chunks(file, array.size, kind))
            if lost:
                raise InputError(
                    f"{path.name} has {lost} voxels that are not a number; export it again, or set them to air."
                )
    if slope == 0 or not np.isfinite(slope):
        return _unshifted(array, intercept) if np.isfinite(intercept) and intercept != 0 else array
    if not np.isfinite(intercept):
        raise InputError(f"{path.name} has a rescaling that is no number; export it again.")
    return array


def _chunks(file: gzip.GzipFile | BufferedReader, count: int, kind: int) -> Iterator[bytes]:
    left = count * int(_FLOATS[kind][1])
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _not_numbers(chunk: bytes, form: str) -> int:
    values = np.frombuffer(chunk[: len(chunk) // int(form[-1]) * int(form[-1])], form)
    return int(values.size - np.isfinite(values).sum())


def _unshifted(array: np.ndarray, intercept: float) -> np.ndarray:
    """Values without an intercept that was added; whole numbers again, where they were."""
    values = array.astype(np.float64) - intercept
    whole = np.rint(values)
    if not np.allclose(values, whole, atol=1e-3):
        return values.astype(np.float32)
    small = np.abs(whole).max(initial=0) < 2**15
    return whole.astype(np.int16 if small else np.int32)
