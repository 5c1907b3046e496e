"""Finding the phases of a 4D scan and the visits of a patient among the series of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from adaptsam.errors import InputError
from adaptsam.image import DicomSource, Geometry, Volume
from adaptsam.io import find_phases, find_visits, list_series, write_dicom_series

GRID = Geometry((3, 8, 8), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
SCAN = DicomSource(patient_id="1", study_uid="1.2.3", frame_of_reference_uid="1.2.4", study_date="20240301")


def write(folder: Path, value: int, description: str = "", source: DicomSource = SCAN, number: int = 1, **tags) -> Path:
    array = np.random.default_rng(value).integers(0, 50, GRID.shape).astype(np.int16)
    array[:, 0, 0] = value
    header = {"StudyDate": source.study_date} if source.study_date else {}
    volume = Volume(array, GRID, "CT", replace(source, header=source.header | header))
    write_dicom_series(folder, volume, description=description, series_number=number)
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, tag in tags.items():
            setattr(dataset, keyword, tag)
        dataset.save_as(path)
    return folder


def values_of(phases: Sequence) -> list[int]:
    return [int(phase.source.read().array[0, 0, 0]) for phase in phases]


@pytest.mark.parametrize(
    ("descriptions", "labels"),
    [
        (["4DCT, Gated, 0.0%A", "4DCT, Gated, 50.0%A", "4DCT, Gated, 100.0%A"], ["0 %", "50 %", "100 %"]),
        (["CT 4D 5%", "CT 4D 10%", "CT 4D 90%"], ["5 %", "10 %", "90 %"]),
        (["Thorax T00", "Thorax T20", "Thorax T90"], ["0", "20", "90"]),
        (["Phase 1", "Phase 2", "Phase 10"], ["1", "2", "10"]),
    ],
)
def test_phases_are_ordered_by_what_their_descriptions_say(tmp_path: Path, descriptions, labels) -> None:
    for place in (2, 0, 1):
        write(tmp_path / f"series-{place}", 100 + place, descriptions[place], number=7 - place)
    write(tmp_path / "average", 99, "AVERAGE", number=1)
    phases = find_phases(tmp_path)
    assert [phase.label for phase in phases] == labels
    assert values_of(phases) == [100, 101, 102]
    assert phases[1].source.title == f"Phase {labels[1]}"


def test_phases_are_told_by_their_temporal_position_where_no_description_does(tmp_path: Path) -> None:
    for place in (2, 1, 3):
        write(tmp_path / str(place), 100 + place, "lung", number=10 - place, TemporalPositionIdentifier=place)
    assert [phase.label for phase in find_phases(tmp_path)] == ["1", "2", "3"]
    assert values_of(find_phases(tmp_path)) == [101, 102, 103]


def test_phases_within_one_series_are_parted_by_their_temporal_position(tmp_path: Path) -> None:
    for place in (1, 2):
        write(tmp_path / str(place), 100 + place, "4D", TemporalPositionIdentifier=place, SeriesInstanceUID="1.2.9")
    assert len(list_series(tmp_path)) == 1
    assert values_of(find_phases(tmp_path)) == [101, 102]


def test_series_that_are_alike_are_phases_by_their_number(tmp_path: Path) -> None:
    for place in (2, 1, 3):
        write(tmp_path / str(place), 100 + place, "lung", number=place)
    assert values_of(find_phases(tmp_path)) == [101, 102, 103]


def test_what_is_no_4d_scan_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", 100, "planning", number=1)
    with pytest.raises(InputError, match="holds no 4D scan: 1 series"):
        find_phases(tmp_path)
    other = replace(SCAN, frame_of_reference_uid="1.2.5")
    write(tmp_path / "b", 101, "control", other, number=2)
    with pytest.raises(InputError, match="holds no 4D scan: 2 series"):
        find_phases(tmp_path)
    write(tmp_path / "c", 102, "gated 0%", number=3)
    write(tmp_path / "d", 103, "gated 50%", other, number=4)
    with pytest.raises(InputError, match=r"2 phases in .* have different frames of reference"):
        find_phases(tmp_path)
    write(tmp_path / "e", 104, "gated 50%", number=5)
    with pytest.raises(InputError, match="holds phase 50 % 2 times"):
        find_phases(tmp_path)


def visit(day: str, time: str = "") -> DicomSource:
    header = {"StudyTime": time} if time else {}
    return DicomSource(patient_id="1", study_uid=f"1.2.{day or 0}{time}", study_date=day, header=header)


def test_visits_are_ordered_by_the_date_and_time_of_their_study(tmp_path: Path) -> None:
    write(tmp_path / "a", 103, "CT", visit("20240315", "150000"))
    write(tmp_path / "b", 101, "CT", visit("20240301"))
    write(tmp_path / "c", 102, "CT", visit("20240315", "090000"))
    visits = find_visits(tmp_path)
    assert [one.day.isoformat() for one in visits] == ["2024-03-01", "2024-03-15", "2024-03-15"]
    assert [int(one.source(None, "Visit").read().array[0, 0, 0]) for one in visits] == [101, 102, 103]


def test_visits_without_dates_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", 101, "CT", visit("20240301"))
    write(tmp_path / "b", 102, "CT", visit(""), StudyDate="")
    with pytest.raises(InputError, match=r"1 of 2 series in .* have no study date"):
        find_visits(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no DICOM image series"):
        find_visits(tmp_path / "empty")


def test_of_a_visits_series_the_one_like_the_prior_is_the_image(tmp_path: Path) -> None:
    write(tmp_path / "a", 101, "thorax", visit("20240301"), number=1)
    write(tmp_path / "b", 102, "scout", visit("20240308"), number=1)
    write(tmp_path / "c", 103, "thorax", visit("20240308"), number=2)
    first, second = find_visits(tmp_path)
    [like] = first.series
    assert second.source(like, "Visit 2").read().array[0, 0, 0] == 103
    with pytest.raises(InputError, match=r"Visit 2 of .* has 2 series that may be meant .*'scout'.*'thorax'"):
        second.source(replace(like, description="abdomen"), "Visit 2")
