"""Several images in one DICOM series: phases, echoes or b-values at the same positions, told apart by their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

#: What tells images of one series apart, the surest first.
TELLING = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "EchoNumbers",
    "EchoTime",
    "InversionTime",
    "DiffusionBValue",
    "FlipAngle",
    "AcquisitionNumber",
    "ImageType",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "KVP",
    "AcquisitionTime",
    "ContentTime",
    "SeriesTime",
)


@dataclass(frozen=True)
class Parts:
    """The images of one series: by what they are distinguished, what is said of each, and the places of its slices."""

    told_by: str
    labels: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def find_parts(headers: Sequence[Dataset]) -> Parts | None:
    """The images in a series whose positions repeat, in the order of what tells them apart; None where it is one image.

    One attribute, or two together, must give images that all have every position once; ``labels`` is empty where none
    does.
    """
    positions = [_position(header) for header in headers]
    counts = Counter(positions)
    if not counts or max(counts.values()) < 2:
        return None
    for keywords in (*((one,) for one in TELLING), *combinations(TELLING[:11], 2)):
        values = [tuple(_value(header, keyword) for keyword in keywords) for header in headers]
        groups: dict[tuple, list[int]] = {}
        for place, value in enumerate(values):
            groups.setdefault(value, []).append(place)
        if len(groups) < 2 or any(len(places) != len(counts) for places in groups.values()):
            continue
        if all(len({positions[place] for place in places}) == len(counts) for places in groups.values()):
            ordered = sorted(groups, key=lambda value: [_order(one) for one in value])
            labels = tuple(", ".join(value) for value in ordered)
            return Parts(" and ".join(keywords), labels, tuple(tuple(groups[value]) for value in ordered))
    return Parts("", (), ())


def _position(header: Dataset) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in header.get("ImagePositionPatient") or ())


def _value(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str("" if value is None else value)


def _order(value: str) -> tuple[bool, float, str]:
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
