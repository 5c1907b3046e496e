"""The ROIs of an RTSTRUCT as its sequences give them: names, frames of reference and closed contours, in LPS mm.

An ROI is an item of the Structure Set ROI Sequence (DICOM PS3.3, C.8.8.5), told by its place there: numbers and names
may be repeated in files as they are. Contours and observations refer to it by its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.image.terminology import CODE_KEYS

#: What encloses an area; PS3.3, C.8.8.6.1 has POINT, OPEN_PLANAR and OPEN_NONPLANAR beside it.
CLOSED, XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_WHY = {
    "POINT": "a point encloses nothing",
    "OPEN_PLANAR": "an open contour encloses nothing",
    "OPEN_NONPLANAR": "an open contour encloses nothing",
    "": "their geometric type is missing",
}


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed contour: ``points`` (n, 3) LPS mm, the ``offset`` (3,) of its slab's centre, the slab's ``thickness``.

    The last two are in mm (C.8.8.6.2), and 0 where the file tells none. ``exclusive``: of the type that combines by
    exclusive or. ``slice_uid`` is of the one slice that it names, "" where it names none or several.
    """

    points: np.ndarray
    offset: np.ndarray
    thickness: float
    exclusive: bool
    slice_uid: str = ""


@dataclass(frozen=True, eq=False)
class Roi:
    """One ROI: ``place`` is its item's, ``frame`` the UID of its frame of reference, "" where the file does not tell.

    ``drawn`` is how many contours the file has of it, whatever their type; ``contours`` are the closed ones.
    """

    place: int
    number: int
    name: str
    frame: str
    color: tuple[int, int, int] | None
    interpreted_type: str
    codes: dict[str, str]
    drawn: int
    contours: tuple[Contour, ...]
    remarks: tuple[Remark, ...]


def item_names(dataset: Dataset) -> list[str]:
    """The names of all ROIs by their places, as the file has them; those without one are called ``ROI-`` and number."""
    return [str(item.get("ROIName", "") or f"ROI-{item.ROINumber}") for item in dataset.StructureSetROISequence]


def item_frames(dataset: Dataset) -> list[str]:
    """The frame of reference of each ROI by its place: its own, or the file's only one, or ""."""
    named = [
        str(item.get("FrameOfReferenceUID", "")) for item in dataset.get("ReferencedFrameOfReferenceSequence") or ()
    ]
    only = named[0] if len(set(named)) == 1 else ""
    return [str(item.get("ReferencedFrameOfReferenceUID", "") or only) for item in dataset.StructureSetROISequence]


def read_rois(dataset: Dataset, names: Sequence[str], places: Collection[int] | None = None) -> list[Roi]:
    """The ROIs of these places, all by default; ``names`` has what each is called, by its place.

    Raises:
        InputError: a number stands for several ROIs, so that nobody can tell whose contours are whose.
        AttributeError, TypeError, ValueError: the file is damaged.
    """
    frames = item_frames(dataset)
    wanted = [place for place in range(len(names)) if places is None or place in places]
    numbers = [int(item.ROINumber) for item in dataset.StructureSetROISequence]
    _check_numbers(numbers, names, wanted)
    drawings = _by_number(dataset, "ROIContourSequence")
    observations = _by_number(dataset, "RTROIObservationsSequence")
    return [
        _roi(
            place, numbers[place], names[place], frames[place],
            drawings.get(numbers[place], []), observations.get(numbers[place], []),
        )
        for place in wanted
    ]  # fmt: skip


def orphans(dataset: Dataset) -> list[Remark]:
    """Contours that belong to no ROI of the file."""
    known = {int(item.ROINumber) for item in dataset.StructureSetROISequence}
    lost = {number: items for number, items in _by_number(dataset, "ROIContourSequence").items() if number not in known}
    return [
        Remark(f"contours of ROI number {number}", sum(_count(item) for item in items), "no ROI has this number")
        for number, items in lost.items()
        if any(_count(item) for item in items)
    ]


def _check_numbers(numbers: Sequence[int], names: Sequence[str], wanted: Sequence[int]) -> None:
    counts = Counter(numbers)
    for place in wanted:
        if counts[numbers[place]] > 1:
            alike = [names[other] for other, number in enumerate(numbers) if number == numbers[place]]
            raise InputError(
                f"{' and '.join(map(repr, alike))} have one ROI number, {numbers[place]}, so that their contours "
                "cannot be told apart; number the ROIs anew where they were drawn, or choose others with --structure."
            )


def _by_number(dataset: Dataset, sequence: str) -> dict[int, list[Dataset]]:
    items: dict[int, list[Dataset]] = {}
    for item in dataset.get(sequence) or ():
        items.setdefault(int(item.ReferencedROINumber), []).append(item)
    return items


def _count(drawing: Dataset) -> int:
    return len(drawing.get("ContourSequence") or ())


def _roi(
    place: int, number: int, name: str, frame: str, drawings: Sequence[Dataset], observations: Sequence[Dataset]
) -> Roi:
    contours, remarks = _closed_contours(name, [c for one in drawings for c in one.get("ContourSequence") or ()])
    if sum(1 for one in drawings if _count(one)) > 1:
        remarks.append(
            Remark(f"items with contours of {name!r}", len(drawings), "they were taken together", left_out=False)
        )
    types = [str(one.get("RTROIInterpretedType", "") or "") for one in observations]
    different = list(dict.fromkeys(kind for kind in types if kind))
    if len(different) > 1:
        why = f"they call it {' and '.join(different)}, and the first was taken"
        remarks.append(Remark(f"observations of {name!r}", len(observations), why, left_out=False))
    color = next((list(one.ROIDisplayColor) for one in drawings if one.get("ROIDisplayColor")), [])
    return Roi(
        place=place,
        number=number,
        name=name,
        frame=frame,
        color=(int(color[0]), int(color[1]), int(color[2])) if len(color) == 3 else None,
        interpreted_type=different[0] if different else "",
        codes=next((codes for one in observations if (codes := _codes(one))), {}),
        drawn=sum(_count(one) for one in drawings),
        contours=contours,
        remarks=tuple(remarks),
    )


def _codes(observation: Dataset) -> dict[str, str]:
    code = (observation.get("RTROIIdentificationCodeSequence") or [Dataset()])[0]
    return {key: str(code[key].value) for key in CODE_KEYS if key in code}


def _closed_contours(name: str, items: Sequence[Dataset]) -> tuple[tuple[Contour, ...], list[Remark]]:
    """Each closed contour once: a copy of a contour would undo it, wherever it begins and whichever way it goes."""
    closed: dict[bytes, Contour] = {}
    left: Counter[tuple[str, str]] = Counter()
    miscounted = 0
    for item in items:
        kind = str(item.get("ContourGeometricType", "") or "").strip().upper()
        if kind not in (CLOSED, XOR):
            why = _WHY.get(kind, "AdaptSAM does not know their geometric type")
            # A type that is none may be any text, a patient's name too.
            left[f"{kind + ' ' if kind and kind in _WHY else ''}contours of {name!r}", why] += 1
            continue
        points = _numbers(item).reshape(-1, 3)
        offset = np.array([float(value) for value in item.get("ContourOffsetVector") or (0, 0, 0)]).reshape(3)
        thickness = float(item.get("ContourSlabThickness") or 0)
        if not (np.isfinite(points).all() and np.isfinite(offset).all() and np.isfinite(thickness)):
            raise ValueError
        if len(points) < 3:
            left[f"contours of {name!r}", "they have fewer than three points"] += 1
            continue
        key = _round(points) + offset.tobytes()
        if key in closed:
            left[f"contours of {name!r}", "they are copies of others"] += 1
            continue
        told = item.get("NumberOfContourPoints")
        miscounted += told not in (None, "") and int(told) != len(points)
        closed[key] = Contour(points, offset, abs(thickness), kind == XOR, _slice_uid(item))
    remarks = [Remark(what, count, why) for (what, why), count in left.items()]
    if miscounted:
        why = "they have another number of points than the file tells, and were read as they stand"
        remarks.append(Remark(f"contours of {name!r}", miscounted, why, left_out=False))
    return tuple(closed.values()), remarks


def _slice_uid(contour: Dataset) -> str:
    named = contour.get("ContourImageSequence") or []
    return str(named[0].get("ReferencedSOPInstanceUID", "")) if len(named) == 1 else ""


def _numbers(contour: Dataset) -> np.ndarray:
    """The contour's coordinates; parsing the bytes is many times faster than pydicom's number objects."""
    if "ContourData" not in contour:
        return np.empty(0)
    raw = contour.get_item("ContourData").value
    if isinstance(raw, bytes):
        text = raw.decode("ascii").strip(" \0")
        return np.array(text.split("\\"), float) if text else np.empty(0)
    return np.empty(0) if raw in (None, "") else np.array(raw, float).reshape(-1)


def _round(points: np.ndarray) -> bytes:
    """The same bytes for a polygon wherever it begins, whichever way it goes, whether or not it repeats a point."""
    ring = points[(points != np.roll(points, 1, axis=0)).any(axis=1)] + 0.0
    if not len(ring):
        return points[:1].tobytes()
    lowest = np.lexsort(ring.T[::-1])[0]
    starts = np.flatnonzero((ring == ring[lowest]).all(axis=1))
    rounds = [np.roll(ring, -start, axis=0) for start in starts]
    rounds += [np.roll(ring[::-1], start + 1, axis=0) for start in starts]
    return min(one.tobytes() for one in rounds)
