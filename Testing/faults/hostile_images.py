"""NRRD, NIfTI and MetaImage that are damaged or mean harm."""

from __future__ import annotations

import gzip
import shutil
import struct
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from faults.mutations import damaged, packed_zeros

from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.io import write_structures, write_volume

_GEOMETRY = Geometry((5, 12, 10), (2.0, 2.0, 3.0), (-20.0, -24.0, 5.0))
_ODD = ("", "0", "-1", "nan", "inf", "1e308", "1e-308", "99999999999999999999", "x", "4294967296", "2147483647", "%s%n")


def write_image_seeds(folder: Path) -> None:
    """An image in every format, and structures on it."""
    array = np.random.default_rng(0).normal(0, 300, _GEOMETRY.shape).astype(np.int16)
    image = Volume(array, _GEOMETRY)
    for suffix in (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd"):
        write_volume(folder / f"image{suffix}", image)
    halves = array > 0, array > 300
    structures = StructureSet(tuple(Structure(f"S{n}", mask) for n, mask in enumerate(halves)), _GEOMETRY)
    write_structures(folder / "labels.seg.nrrd", structures, image)


def make_nrrd_case(seeds: Path, rng: Random, case: Path) -> str:
    """``case.nrrd``, ``case.nhdr`` or ``case.seg.nrrd``."""
    name, suffix = rng.choice((("image.nrrd", ".nrrd"), ("image.nhdr", ".nhdr"), ("labels.seg.nrrd", ".seg.nrrd")))
    return _make(seeds / name, case / f"case{suffix}", rng, partial(_odd_text, separator=b":"), _hostile_nrrd)


def make_metaimage_case(seeds: Path, rng: Random, case: Path) -> str:
    """``case.mha`` or ``case.mhd``."""
    suffix = rng.choice((".mha", ".mhd"))
    path = case / f"case{suffix}"
    return _make(seeds / f"image{suffix}", path, rng, partial(_odd_text, separator=b"="), _hostile_metaimage)


def make_nifti_case(seeds: Path, rng: Random, case: Path) -> str:
    """``case.nii`` or ``case.nii.gz``."""
    suffix = rng.choice((".nii", ".nii.gz"))
    return _make(
        seeds / "image.nii", case / f"case{suffix}", rng, _odd_nifti, _hostile_nifti, packed=suffix == ".nii.gz"
    )


def _make(seed: Path, path: Path, rng: Random, odd, hostile, packed: bool = False) -> str:
    """Damage, odd values or harm; ``packed`` gzips what comes of it, or is damaged itself."""
    for sibling in seed.parent.glob("image.*raw*"):
        shutil.copy(sibling, path.parent)
    good = seed.read_bytes()
    way = rng.random()
    if way < 0.2 and packed:
        bad, told = damaged(gzip.compress(good), rng)
        path.write_bytes(bad)
        return f"gzip: {told}"
    if way < 0.45:
        bad, told = damaged(good, rng, header=500)
    elif way < 0.8:
        bad, told = odd(good, rng)
    else:
        return hostile(path, good, rng)
    path.write_bytes(gzip.compress(bad) if packed else bad)
    return told


def _odd_text(good: bytes, rng: Random, separator: bytes) -> tuple[bytes, str]:
    """Some fields of a header of lines with values that make no sense."""
    end = good.find(b"\n\n") if separator == b":" else good.find(b"ElementDataFile") + 40
    end = end if end > 0 else len(good)
    lines, rest = good[:end].split(b"\n"), good[end:]
    told = []
    for _ in range(rng.choice((1, 1, 2))):
        fields = [n for n, line in enumerate(lines) if separator in line]
        n = rng.choice(fields)
        key, _, value = lines[n].partition(separator)
        told.append(key.decode("latin1").strip())
        way = rng.random()
        if way < 0.15:
            del lines[n]
        elif way < 0.25:
            lines.insert(n, lines[n])
        elif way < 0.7:
            parts = value.split()
            if parts:
                parts[rng.randrange(len(parts))] = rng.choice(_ODD).encode()
            lines[n] = key + separator + b" " + b" ".join(parts)
        else:
            other = rng.choice(
                (b"(nan,0,0) (0,0,0) (1e308,1e308,1)", b"\x1b[2J\x07", b"9" * 4000, b"LIST", b"0 0 0", b"-5")
            )
            lines[n] = key + separator + b" " + other
        if not any(separator in line for line in lines):
            break
    return b"\n".join(lines) + rest, f"odd {', '.join(told)}"


def _hostile_nrrd(path: Path, good: bytes, rng: Random) -> str:
    way = rng.choice(
        ("sizes", "bomb", "outside", "outside list", "segments", "skip", "pattern", "dimension", "list file")
    )
    header = [b"NRRD0004", b"type: short", b"dimension: 3", b"space: left-posterior-superior", b"endian: little"]
    grid = [b"space directions: (1,0,0) (0,1,0) (0,0,1)", b"space origin: (0,0,0)"]
    sizes, encoding, data = b"10 12 5", b"raw", bytes(1200)
    told = way
    if way == "sizes":
        sizes = rng.choice((b"100000 100000 100000", b"46340 46340 2", b"2000 2000 2000", b"4294967296 4294967296 1"))
        encoding = rng.choice((b"raw", b"gzip", b"ascii"))
    elif way == "bomb":
        sizes, encoding = b"2000 2000 1000", b"gzip"
        data = packed_zeros(2000, kind="gzip")
    elif way == "outside":
        place = rng.choice(
            (b"../canary/secret.raw", b"/etc/passwd", str(path.parent.parent / "canary/secret.raw").encode())
        )
        grid.append(b"data file: " + place)
        sizes, data, told = b"10 12 5", b"", f"refuse data {place[:12]!r}"
        if place == b"/etc/passwd":
            sizes = b"2 5 5"
    elif way == "outside list":
        grid.append(b"data file: LIST 2\n" + b"\n".join([b"../canary/secret.raw"] * 5))
        data, told = b"", "refuse a list of data outside"
    elif way == "list file":
        grid.append(b"data file: LIST\n" + b"\n".join([b"x.raw"] * 200_000))
        data = b""
    elif way == "pattern":
        grid.append(
            b"data file: ../canary/secret%c.raw 0 4 1 2" if rng.random() < 0.5 else b"data file: %s%n%n 0 4 1 2"
        )
        data, told = b"", "refuse a pattern of data outside"
    elif way == "segments":
        number = rng.choice((b"0", b"7", b"99999999999999999999"))
        for key, value in (
            (b"ID", b"a"),
            (b"Layer", rng.choice((b"0", b"-1", b"9", b"1e9", b"x"))),
            (b"LabelValue", rng.choice((b"1", b"-1", b"99999999999999999999", b"nan"))),
            (b"Color", rng.choice((b"1 0 0", b"nan nan nan", b"1e400 0 0", b"-5 300 1", b"1 0"))),
            (b"Name", rng.choice((b"S", b"\x1b[2J", b"../../x", b"a" * 90_000))),
            (
                b"Tags",
                rng.choice(
                    (b"a:b|", b"AdaptSAM.RoiNumber:\xc2\xb2|", b"AdaptSAM.RoiNumber:" + b"9" * 5000, b":|" * 9000)
                ),
            ),
        ):
            grid.append(b"Segment" + number + b"_" + key + b":=" + value)
        path = path.with_name("case.seg.nrrd")
    elif way == "skip":
        grid.append(
            rng.choice((b"byte skip: -1", b"byte skip: 99999999999", b"line skip: 99999999999", b"byte skip: -99999"))
        )
    elif way == "dimension":
        header[2] = b"dimension: " + rng.choice((b"0", b"1", b"16", b"17", b"-3", b"99999"))
        sizes = b" ".join([b"2"] * rng.choice((1, 2, 4, 16)))
    lines = [*header, b"sizes: " + sizes, b"encoding: " + encoding, *grid]
    body = gzip.compress(data) if encoding == b"gzip" and way != "bomb" else data
    path.write_bytes(b"\n".join(lines) + b"\n\n" + body)
    return told


def _hostile_metaimage(path: Path, good: bytes, rng: Random) -> str:
    way = rng.choice(("sizes", "outside", "outside", "list", "bomb", "channels"))
    fields = {
        b"ObjectType": b"Image",
        b"NDims": b"3",
        b"BinaryData": b"True",
        b"CompressedData": b"False",
        b"TransformMatrix": b"1 0 0 0 1 0 0 0 1",
        b"Offset": b"0 0 0",
        b"ElementSpacing": b"1 1 1",
        b"DimSize": b"10 12 5",
        b"ElementType": b"MET_SHORT",
        b"ElementDataFile": b"LOCAL",
    }
    data, told = bytes(1200), way
    if way == "sizes":
        fields[b"DimSize"] = rng.choice((b"100000 100000 100000", b"46340 46340 2", b"2000 2000 2000", b"-5 -5 -5"))
    elif way == "channels":
        fields[b"ElementNumberOfChannels"] = rng.choice((b"-1", b"0", b"999999999", b"3"))
        data, fields = data, dict(sorted(fields.items(), key=lambda item: item[0] == b"ElementDataFile"))
    elif way == "bomb":
        data = packed_zeros(2000, kind="zlib")
        fields[b"DimSize"], fields[b"CompressedData"] = b"2000 2000 1000", b"True"
        fields[b"CompressedDataSize"] = str(len(data)).encode()
        fields[b"ElementDataFile"] = fields.pop(b"ElementDataFile")
    else:
        place = rng.choice(
            (b"../canary/secret.raw", str(path.parent.parent / "canary/secret.raw").encode(), b"/etc/passwd")
        )
        fields[b"DimSize"] = b"10 12 5" if place != b"/etc/passwd" else b"2 5 5"
        data = b""
        if way == "list":
            fields[b"ElementDataFile"] = b"LIST 2D\n" + b"\n".join([place] * 5)
        else:
            fields[b"ElementDataFile"] = place
        told = f"refuse data outside: {way}"
    path.write_bytes(b"".join(key + b" = " + value + b"\n" for key, value in fields.items()) + data)
    return told


def _odd_nifti(good: bytes, rng: Random) -> tuple[bytes, str]:
    """Fields of the header of 348 bytes with values that make no sense."""
    changed = bytearray(good)
    told = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        name, offset, code, count = rng.choice(_NIFTI)
        n = rng.randrange(count)
        told.append(name)
        if code == "h":
            value = rng.choice((0, -1, 1, 3, 4, 7, 8, 32767, -32768, 512, 1792, 2304))
        else:
            value = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38, 1e-38, -1e38, 4e9, 100.0))
        struct.pack_into(f"<{code}", changed, offset + n * struct.calcsize(code), value)
    return bytes(changed), f"odd {', '.join(told)}"


_NIFTI = (
    ("dim", 40, "h", 8),
    ("datatype", 70, "h", 1),
    ("bitpix", 72, "h", 1),
    ("pixdim", 76, "f", 8),
    ("vox_offset", 108, "f", 1),
    ("scl", 112, "f", 2),
    ("codes", 252, "h", 2),
    ("quatern", 256, "f", 6),
    ("srow", 280, "f", 12),
)


def _hostile_nifti(path: Path, good: bytes, rng: Random) -> str:
    way = rng.choice(("sizes", "bomb", "pair", "extension", "datatype", "channels"))
    changed = bytearray(good)
    data = b""
    if way in ("sizes", "bomb"):
        shape = rng.choice(
            ((3, 32767, 32767, 32767), (3, 2000, 2000, 1000), (3, 32767, 32767, 2), (7, 9, 9, 9, 99, 99, 99, 99))
        )
        shape = (3, 2000, 2000, 1000) if way == "bomb" else shape
        for n, size in enumerate(shape):
            struct.pack_into("<h", changed, 40 + 2 * n, size)
        if way == "bomb":
            path = path.with_name("case.nii.gz")
            path.write_bytes(packed_zeros(2000, bytes(changed[:352]), "gzip"))
            return way
    elif way == "pair":
        struct.pack_into("<4s", changed, 344, b"ni1\0")
        path.with_name("case.img").write_bytes(good[352:])
    elif way == "extension":
        struct.pack_into("<4B", changed, 348, 1, 0, 0, 0)
        data = struct.pack("<ii", rng.choice((2**31 - 16, 16, -16, 0)), 4)
    elif way == "datatype":
        struct.pack_into(
            "<hh", changed, 70, rng.choice((0, 1, 32, 128, 1536, 1792, 2048, 2304)), rng.choice((1, 8, 128, 256))
        )
    else:
        for n, size in enumerate((5, 10, 12, 5, 1, rng.choice((2, 300, 32767)))):
            struct.pack_into("<h", changed, 40 + 2 * n, size)
    body = bytes(changed[:352]) + data + bytes(changed[352:])
    path.write_bytes(gzip.compress(body) if path.name.endswith(".gz") else body)
    return way
