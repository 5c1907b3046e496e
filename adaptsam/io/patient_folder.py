"""Series in a patient's folder: the phases of a 4D scan, or the visits, in order and not yet read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.io.dicom.series_reader import SeriesInfo, list_series
from adaptsam.io.files import ImageSource, series_source
from adaptsam.io.video.frames import natural_key

# "30%", "Gated, 30.0%A"; then "T30", "Gated_30", "phase 3", "resp 30".
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")
_NAMED = re.compile(r"(?:^|[^a-z])(?:t|te|ph|phase|gated|gate|resp)[\s_=:.-]*(\d{1,3})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Phase:
    """One phase: ``label`` is its percentage ("30 %") or its place ("3"), as the scanner told it."""

    label: str
    source: ImageSource


@dataclass(frozen=True)
class PatientVisit:
    """One visit: the day of its study, and its series, of which one is the image."""

    day: date
    series: tuple[SeriesInfo, ...]
    folder: Path

    def source(self, like: SeriesInfo | None, title: str) -> ImageSource:
        """The visit's image: the only series of the modality of ``like``, or of its modality and description.

        Raises:
            InputError: none, or several to choose from.
        """
        found = [info for info in self.series if like is None or info.modality == like.modality]
        if like is not None and len(found) > 1:
            found = [info for info in found if info.description == like.description] or found
        if len(found) != 1:
            names = "; ".join(f"{info.modality}, {info.slices} slices, {info.description!r}" for info in self.series)
            raise InputError(
                f"{title} of {self.folder.name} has {len(found)} series that may be meant ({names}); "
                "give every visit's with --target."
            )
        others = [info for info in self.series if info is not found[0]]
        return series_source(self.folder, replace(found[0], remarks=(*found[0].remarks, *_left(others))), title)


def find_phases(folder: str | Path) -> tuple[Phase, ...]:
    """The phases of the 4D scan in a folder and its subfolders, in order.

    They are recognised by the percentage or phase in the series' descriptions (other series, such as an average, are
    left out); else by their temporal position, or by what tells the images of one series apart; else, where all are
    alike, by their number.

    Raises:
        InputError: no phases, one phase twice, or phases that do not share a frame of reference.
    """
    folder = Path(folder).absolute()
    parts = [part for info in list_series(folder) for part in _images(info)]
    phases = _by_description(parts) or _by_position(parts) or _by_number(parts)
    if len(phases) < 2:
        raise InputError(
            f"{folder.name} holds no 4D scan: {len(parts)} series, and neither their descriptions (30 %) nor their "
            "temporal positions tell phases; name the series with --target and --target-series."
        )
    _check_phases(phases, folder)
    others = _left([info for info in parts if all(info is not one for _, one in phases)])
    return tuple(
        Phase(label, series_source(folder, replace(info, remarks=(*info.remarks, *others)), f"Phase {label}"))
        for label, info in phases
    )


def find_visits(folder: str | Path) -> tuple[PatientVisit, ...]:
    """The visits in a patient's folder and its subfolders, by study, the earliest first.

    Raises:
        InputError: no series, or a series without a study date.
    """
    folder = Path(folder).absolute()
    listed = list_series(folder)
    if not listed:
        raise InputError(f"{folder.name} holds no DICOM image series; choose the patient's folder.")
    without = [info for info in listed if _day(info) is None]
    if without:
        raise InputError(
            f"{len(without)} of {len(listed)} series in {folder.name} have no study date, so that the visits cannot be "
            "put in order; give them with --target."
        )
    studies: dict[str, list[SeriesInfo]] = {}
    for info in listed:
        studies.setdefault(info.study_uid, []).append(info)
    ordered = sorted(studies.values(), key=lambda series: (series[0].study_date, series[0].study_time))
    return tuple(PatientVisit(_day(series[0]) or date.min, tuple(series), folder) for series in ordered)


def _day(info: SeriesInfo) -> date | None:
    try:
        return date.fromisoformat(info.study_date.strip().replace(".", ""))
    except ValueError:
        return None


def _left(others: Sequence[SeriesInfo]) -> list[Remark]:
    """The series of the folder that are none of those wanted."""
    names = ", ".join(f"{info.modality} {info.description!r} of {info.slices} slices" for info in others)
    return [Remark(f"other series ({names})", len(others), "they are not what was asked for")] if others else []


def _images(info: SeriesInfo) -> list[SeriesInfo]:
    """A series that holds several images of the same place as one for each."""
    if not info.parts:
        return [info]
    return [replace(info, files=part.files, slices=len(part.files), parts=(part,), temporal=()) for part in info.parts]


def _by_description(parts: Sequence[SeriesInfo]) -> list[tuple[str, SeriesInfo]]:
    for pattern, unit in ((_PERCENT, " %"), (_NAMED, "")):
        found = [(match[1], info) for info in parts if (match := pattern.search(info.description))]
        if len({value for value, _ in found}) > 1:
            return [(f"{float(value):g}{unit}", info) for value, info in sorted(found, key=lambda one: float(one[0]))]
    return []


def _by_position(parts: Sequence[SeriesInfo]) -> list[tuple[str, SeriesInfo]]:
    placed = [(str(info.temporal[0]), info) for info in parts if info.temporal]
    placed = placed or [(info.parts[0].label, info) for info in parts if info.parts]
    if len({place for place, _ in placed}) < 2:
        return []
    return sorted(placed, key=lambda one: natural_key(one[0]))


def _by_number(parts: Sequence[SeriesInfo]) -> list[tuple[str, SeriesInfo]]:
    kinds = {(info.modality, info.frame_of_reference_uid, info.slices) for info in parts}
    numbers = {info.number for info in parts}
    if len(kinds) != 1 or None in numbers or len(numbers) != len(parts) or not parts[0].frame_of_reference_uid:
        return []
    return [(str(place), info) for place, info in enumerate(parts, start=1)]


def _check_phases(phases: Sequence[tuple[str, SeriesInfo]], folder: Path) -> None:
    labels = [label for label, _ in phases]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"{folder.name} holds phase {twice} {labels.count(twice)} times; leave one 4D scan in it.")
    if len({info.frame_of_reference_uid for _, info in phases}) > 1:
        raise InputError(
            f"The {len(phases)} phases in {folder.name} have different frames of reference, so they are not of one 4D "
            "scan; give them with --target."
        )
