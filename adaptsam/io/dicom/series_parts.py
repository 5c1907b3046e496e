"""Several images in one DICOM series: phases, echoes or b-values of the same places, told apart by their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
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
    "RepetitionTime",
    "SequenceName",
    "ScanOptions",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
    "SeriesTime",
    "InstanceCreationTime",
)
# Slices of one image have these alike, also where they lie between each other's.
_ONE_VALUE = (*TELLING[:3], "EchoNumbers", "EchoTime", "DiffusionBValue")
# Slices of one image may differ in these: scanners acquire every second one first.
_SOME_VALUES = ("AcquisitionNumber", "TriggerTime")
#: An image of a series that lies between the slices of another one has so many slices at least.
_FEWEST = 3


@dataclass(frozen=True)
class Parts:
    """The images of one series: by what they are distinguished, what is said of each, and the places of its slices."""

    told_by: str
    labels: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def find_parts(headers: Sequence[Dataset]) -> Parts | None:
    """The images in a series, in the order of what tells them apart; None where it is one image.

    Where positions repeat, one attribute, or two together, must give images that have every position once; failing
    that, as many images as the most repeated position has slices, of which some lack positions of others. Where none
    does, ``labels`` is empty. Images may also lie between each other's slices, where that makes no even image, or by
    attributes that all slices of one image have alike.
    """
    positions = [_position(header) for header in headers]
    counts = Counter(positions)
    if not counts:
        return None
    most = max(counts.values())
    if most < 2:
        even = _is_even(_heights(positions))
        return _between(headers, positions, _ONE_VALUE if even else TELLING)
    incomplete = Parts("", (), ())
    for keywords in (*((one,) for one in TELLING), *combinations(TELLING[:11], 2)):
        groups = _groups(headers, keywords)
        if len(groups) < 2 or any(_repeats(places, positions) for places in groups.values()):
            continue
        if all(len(places) == len(counts) for places in groups.values()):
            return _parts(keywords, groups)
        if len(groups) == most and not incomplete.labels:
            incomplete = _parts(keywords, groups)
    return incomplete


def mixed_by(headers: Sequence[Dataset]) -> tuple[str, int] | None:
    """The attribute in which slices of an even image differ that lie between each other, and how many values it has.

    Some scanners acquire so; but two phases, half a slice apart, would look the same.
    """
    found = _between(headers, [_position(header) for header in headers], _SOME_VALUES)
    return None if found is None else (found.told_by, len(found.labels))


def _between(
    headers: Sequence[Dataset], positions: Sequence[tuple[float, ...]], keywords: Sequence[str]
) -> Parts | None:
    """Images that lie between each other's slices, each even in itself; None where no attribute tells such."""
    if len(headers) < 2 * _FEWEST:
        return None
    heights = _heights(positions)
    for keyword in keywords:
        groups = _groups(headers, (keyword,))
        if not 2 <= len(groups) <= len(headers) // _FEWEST:
            continue
        stacks = sorted((np.sort(heights[list(places)]) for places in groups.values()), key=lambda stack: stack[0])
        overlap = all(one[-1] > other[0] for one, other in pairwise(stacks))
        if overlap and all(len(stack) >= _FEWEST and _is_even(stack) for stack in stacks):
            return _parts((keyword,), groups)
    return None


def _heights(positions: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Millimetres along the line on which slices lie, from one of its ends."""
    places = np.array(positions, float).reshape(len(positions), -1)
    if not places.size:
        return np.zeros(len(places))
    far = places[np.linalg.norm(places - places[0], axis=1).argmax()]
    farther = places[np.linalg.norm(places - far, axis=1).argmax()]
    length = float(np.linalg.norm(farther - far))
    return (places - far) @ (farther - far) / length if length > 0 else np.zeros(len(places))


def _is_even(heights: np.ndarray) -> bool:
    gaps = np.diff(np.sort(heights))
    return bool(len(gaps) == 0 or np.ptp(gaps) <= max(0.1, 0.04 * float(np.median(gaps))))


def _groups(headers: Sequence[Dataset], keywords: Sequence[str]) -> dict[tuple, list[int]]:
    """The places of the slices by the values of these attributes."""
    groups: dict[tuple, list[int]] = {}
    for place, header in enumerate(headers):
        groups.setdefault(tuple(_value(header, keyword) for keyword in keywords), []).append(place)
    return groups


def _repeats(places: Sequence[int], positions: Sequence[tuple[float, ...]]) -> bool:
    return len({positions[place] for place in places}) < len(places)


def _parts(keywords: Sequence[str], groups: dict[tuple, list[int]]) -> Parts:
    ordered = sorted(groups, key=lambda value: [_order(one) for one in value])
    labels = tuple(", ".join(value) for value in ordered)
    return Parts(" and ".join(keywords), labels, tuple(tuple(groups[value]) for value in ordered))


def _position(header: Dataset) -> tuple[float, ...]:
    told = header.get("ImagePositionPatient") or ()
    return tuple(round(float(value), 2) for value in told) if len(told) == 3 else ()


def _value(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str("" if value is None else value)


def _order(value: str) -> tuple[bool, float, str]:
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
