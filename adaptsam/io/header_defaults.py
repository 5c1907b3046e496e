"""Defaults for what NRRD and MetaImage headers leave out of where the image lies, and refusal of other units."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark

_LONGEST_HEADER = 8 * 2**20
_MILLIMETRES = ("mm", "millimeter", "millimetre", "millimeters", "millimetres", "?", "")
_PLACED_IN = {"nrrd": ("spaceorigin", "axismins"), "meta": ("Offset", "Position", "Origin")}
# Of NRRD's spaces, scanner-xyz and 3D-right-handed tell nothing of the patient's left and right.
_PATIENTS = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)(-time)?|[lr][ap][si]t?", re.IGNORECASE)
_SPACED_IN = {"nrrd": ("spacedirections", "spacings"), "meta": ("ElementSpacing", "ElementSize")}


def place_remarks(path: Path) -> tuple[Remark, ...]:
    """Remarks on what an NRRD or MetaImage header, which was checked, does not tell: it is taken as ITK takes it.

    Raises:
        InputError: lengths in other units, stored values that stand for others (MetaImage's intensity function,
            NRRD's old min and max), or bytes to skip within a MetaImage.
    """
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    fields = _fields(path, ":" if nrrd else "=")
    kind = "nrrd" if nrrd else "meta"
    unit = _other_unit([fields.get(name, "") for name in ("spaceunits", "units", "DistanceUnits")])
    if unit:
        raise InputError(f"{path.name} gives its lengths in {unit!r}; save it in millimetres.")
    if _scaled(fields):
        raise InputError(
            f"{path.name} stores other values than it means (intensity function, or old min and max); save it again."
        )
    if fields.get("ElementDataFile", "").upper() == "LOCAL" and fields.get("HeaderSize", "0") not in ("0", "-1"):
        # ITK counts them from the beginning of the file, and so reads the header's text as voxels.
        raise InputError(f"{path.name} tells to skip bytes (HeaderSize) of what follows its header; save it again.")
    lacking = [
        what
        for what, names in (("origin", _PLACED_IN[kind]), ("spacing", _SPACED_IN[kind]))
        if not any(name in fields for name in names)
    ]
    if "spacing" not in lacking and "spacedirections" not in fields and not _spaced(fields, kind):
        lacking.append("spacing")
    if nrrd and "spacedirections" in fields and not _PATIENTS.fullmatch(fields.get("space", "")):
        lacking.append("anatomical directions")
    if not lacking:
        return ()
    why = f"it tells no {' and no '.join(lacking)}; 0, 1 mm and left-posterior-superior stand in for them"
    return (Remark("headers", 1, why, left_out=False),)


def _spaced(fields: dict[str, str], kind: str) -> bool:
    """Whether there is a length for each axis in space (ITK turns an axis of a negative one); colours have none."""
    words = next(fields[name] for name in _SPACED_IN[kind] if name in fields).split()
    axes = int(fields.get("dimension" if kind == "nrrd" else "NDims", "3"))
    return sum(_is_length(word) for word in words) >= min(3, axes)


def _is_length(word: str) -> bool:
    try:
        return isfinite(float(word)) and float(word) != 0
    except ValueError:
        return False


def _fields(path: Path, divider: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file.read(_LONGEST_HEADER).decode("latin1").split("\n"):
            key, found, value = line.rstrip("\r").partition(divider)
            if not line.strip() and divider == ":":
                break
            if not found or line.startswith("#") or value.startswith("="):
                continue
            fields[key.strip().replace(" ", "").lower() if divider == ":" else key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
    return fields


def _other_unit(values: list[str]) -> str:
    """The first unit of length that is not the millimetre; "" where there is none."""
    for value in values:
        for unit in value.split('"')[1::2] if '"' in value else value.split():
            if unit.strip().lower() not in _MILLIMETRES:
                return unit.strip()
    return ""


def _scaled(fields: dict[str, str]) -> bool:
    names = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
    if "oldmin" in fields or "oldmax" in fields:
        return True
    try:
        return [float(fields.get(name) or plain) for name, plain in zip(names, (1, 0), strict=True)] != [1.0, 0.0]
    except ValueError:
        return True
