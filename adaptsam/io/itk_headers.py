"""Headers of NRRD, MetaImage and NIfTI files, looked at before ITK reads them.

ITK trusts what a header says: it reads other files wherever they lie, sets memory aside for whatever size is claimed,
and its NRRD library (teem) ends the process on some fields. So what is written there is held to what such files need.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError

#: So many bytes of voxels are believed of any file, and of a larger image so many for each byte that it takes.
BELIEVED, MOST_FOR_A_BYTE = 512 * 2**20, 100
_LONGEST_HEADER, _LONGEST_FIELD, _MOST_FILES = 8 * 2**20, 2000, 20_000
_WHOLE = {1: ("char", "int8"), 2: ("short", "int16"), 4: ("int", "int32"), 8: ("longlong", "long long", "int64")}
_NRRD_TYPES = {"float": 4, "double": 8} | {
    form: size
    for size, names in _WHOLE.items()
    for name in names
    for form in (
        *(name, f"u{name}", f"{name}_t", f"u{name}_t", f"signed {name}", f"unsigned {name}"),
        *(f"{name} int", f"signed {name} int", f"unsigned {name} int"),
    )
}
# Millimetres, for an origin or the side of a voxel.
_FARTHEST = 1e6
_NRRD_ENCODINGS = ("raw", "txt", "text", "ascii", "hex", "gz", "gzip", "bz2", "bzip2")
_META_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG", "MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}


def check_header(path: Path) -> None:
    """Look at the header of a file whose suffix says NRRD, MetaImage or NIfTI.

    Raises:
        InputError: the header is damaged, claims more than the file can hold, or names files in other folders.
    """
    name = path.name.lower()
    try:
        if name.endswith((".nrrd", ".nhdr")):
            _check_nrrd(path)
        elif name.endswith((".mha", ".mhd")):
            _check_metaimage(path)
        else:
            _check_nifti(path)
    except (ValueError, LookupError, OverflowError, struct.error, EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path.name} is damaged or not what its suffix says; copy or export it again.") from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror or 'damaged'}); check the path.") from None


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as file:
        lines = _lines(file.read(_LONGEST_HEADER))
    if not re.fullmatch(r"NRRD000[1-5]", lines[0]):
        raise ValueError
    fields: dict[str, str] = {}
    after_list: list[str] = []
    for number, line in enumerate(lines[1:], start=1):
        key, colon, value = line.partition(": ")
        if not line:
            break
        if line.startswith("#") or ":=" in line:
            continue
        if not colon or len(line) > _LONGEST_FIELD:
            raise ValueError
        name = key.strip().lower().replace(" ", "")
        fields[name] = value.strip()
        if name == "datafile" and value.strip().upper().startswith("LIST"):
            after_list = [text for text in lines[number + 1 :] if text]
            break
    sizes = [int(size) for size in fields["sizes"].split()]
    if len(sizes) != int(fields["dimension"]) or len(sizes) > 16 or min(sizes) < 1:
        raise ValueError
    if fields["encoding"].lower() not in _NRRD_ENCODINGS:
        raise ValueError
    for skip in ("lineskip", "byteskip"):
        if skip in fields and not -1 <= int(fields[skip]) <= path.stat().st_size + BELIEVED:
            raise ValueError
    data = fields.get("datafile")
    files = [path] if data is None else _named_files(path, data, after_list)
    _check_size(path, prod(sizes) * _NRRD_TYPES[fields["type"].lower()], files)


def _check_metaimage(path: Path) -> None:
    with path.open("rb") as file:
        lines = _lines(file.read(_LONGEST_HEADER))
    fields: dict[str, str] = {}
    after_list: list[str] = []
    for number, line in enumerate(lines):
        key, equals, value = line.partition("=")
        if not equals or len(line) > _LONGEST_FIELD:
            raise ValueError
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            after_list = [text for text in lines[number + 1 :] if text]
            break
    data = fields["ElementDataFile"]
    sizes = [int(size) for size in fields["DimSize"].split()]
    if len(sizes) != int(fields["NDims"]) or len(sizes) > 10 or min(sizes) < 1:
        raise ValueError
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    # Other vectors stand in these fields; a number that is none, or an endless one, ends MetaIO or the grid.
    if not 1 <= channels <= 10_000:
        raise ValueError
    local = data.upper() == "LOCAL"
    files = [path] if local else _named_files(path, data, after_list)
    packed = int(fields.get("CompressedDataSize", "0"))
    if not 0 <= packed <= sum(file.stat().st_size for file in files):
        raise ValueError
    _check_size(path, prod(sizes) * channels * _META_TYPES[fields["ElementType"].upper().removesuffix("_ARRAY")], files)


def _check_nifti(path: Path) -> None:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        header = file.read(540)
    order = "<" if struct.unpack("<i", header[:4])[0] in (348, 540) else ">"
    if struct.unpack(f"{order}i", header[:4])[0] == 540:
        (bits,) = struct.unpack(f"{order}h", header[14:16])
        count, *sizes = struct.unpack(f"{order}8q", header[16:80])
        codes, quaternion, rows = (
            struct.unpack(f"{order}{form}", header[start:end])
            for form, start, end in (("2i", 344, 352), ("6d", 352, 400), ("12d", 400, 496))
        )
    else:
        if struct.unpack(f"{order}i", header[:4])[0] != 348 or header[344:348] not in (b"n+1\0", b"ni1\0"):
            raise ValueError
        count, *sizes = struct.unpack(f"{order}8h", header[40:56])
        (bits,) = struct.unpack(f"{order}h", header[72:74])
        codes, quaternion, rows = (
            struct.unpack(f"{order}{form}", header[start:end])
            for form, start, end in (("2h", 252, 256), ("6f", 256, 280), ("12f", 280, 328))
        )
    if not 1 <= count <= 7 or min(sizes[:count]) < 1 or bits < 1:
        raise ValueError
    # The NIfTI library looks for the nearest rotation without end where there is none.
    if codes[0] > 0 and not all(abs(value) <= _FARTHEST for value in quaternion):
        raise ValueError
    if codes[1] > 0:
        _check_axes(np.reshape(rows, (3, 4)))
    _check_size(path, prod(sizes[:count]) * bits // 8, [path])


def _check_axes(rows: np.ndarray) -> None:
    """Whether three axes and an origin (3, 4), in mm, are of an image."""
    lengths = np.linalg.norm(rows[:, :3], axis=0)
    sound = np.isfinite(rows).all() and np.abs(rows).max() <= _FARTHEST and lengths.min() >= 1 / _FARTHEST
    if not sound or abs(np.linalg.det(rows[:, :3] / lengths)) < 1e-3:
        raise ValueError


def _lines(start: bytes) -> list[str]:
    return [line.rstrip("\r") for line in start.decode("latin1").split("\n")]


def _named_files(path: Path, value: str, after: Sequence[str]) -> list[Path]:
    """The data files that a header names, which must lie in its folder.

    Args:
        path: of the header.
        value: a name; "LIST", with the names in the lines ``after``; or a pattern as ``slice%03d.raw 1 20 1``.
        after: lines that follow.
    """
    if value.upper().split()[:1] == ["LIST"]:
        names = list(after)
    elif "%" in value:
        pattern, *numbers = value.split()
        first, last, step, *_ = (int(number) for number in numbers)
        if not re.fullmatch(r"[^%]*%0?\d?d[^%]*", pattern) or step == 0 or abs(last - first) // abs(step) > _MOST_FILES:
            raise ValueError
        names = [pattern % number for number in range(first, last + (1 if step > 0 else -1), step)]
    else:
        names = [value]
    if not names or len(names) > _MOST_FILES:
        raise ValueError
    folder = os.path.abspath(path.parent)
    files = [Path(os.path.abspath(os.path.join(folder, name))) for name in dict.fromkeys(names)]
    for file in files:
        if os.path.commonpath([folder, file]) != folder:
            raise InputError(f"{path.name} wants data of another folder; put its data file beside it.")
        if not file.is_file():
            raise InputError(f"The data file of {path.name} is not there; copy it beside it.")
    return files


def _check_size(path: Path, claimed: int, files: Sequence[Path]) -> None:
    stored = sum(file.stat().st_size for file in files)
    if claimed > max(BELIEVED, MOST_FOR_A_BYTE * stored):
        raise InputError(
            f"{path.name} claims {claimed / 1e9:.1f} GB of voxels and holds {stored / 1e6:.3g} MB; it is damaged: copy "
            "or export it again."
        )
