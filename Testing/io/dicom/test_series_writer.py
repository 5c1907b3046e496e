from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from adaptsam.errors import GeometryError, InputError
from adaptsam.image import Geometry, Volume
from adaptsam.io import read_volume, write_dicom_series


def test_an_oblique_ct_comes_back_with_its_values_and_grid(volume: Volume, tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", volume)
    read = read_volume(tmp_path / "ct")
    assert (read.array == volume.array).all()
    assert read.geometry.matches(volume.geometry, tolerance=1e-9)


def test_a_written_series_is_returned_as_it_will_be_read(volume: Volume, tmp_path: Path) -> None:
    written = write_dicom_series(tmp_path / "ct", volume)
    assert written.dicom == replace(read_volume(tmp_path / "ct").dicom, header={})


def test_a_derived_series_keeps_patient_study_and_frame_and_gets_new_uids(
    make_series: Callable[..., Path], tmp_path: Path, identity: dict[str, str]
) -> None:
    source = read_volume(make_series())
    written = write_dicom_series(tmp_path / "out", source, description="follow-up", series_number=12, model="ef" * 32)
    assert source.dicom is not None
    assert written.dicom is not None
    assert written.dicom.frame_of_reference_uid == source.dicom.frame_of_reference_uid
    assert written.dicom.study_uid == source.dicom.study_uid
    assert written.dicom.series_uid != source.dicom.series_uid
    assert not set(written.dicom.sop_instance_uids) & set(source.dicom.sop_instance_uids)
    first = dcmread(tmp_path / "out" / "CT.0001.dcm")
    assert {keyword: str(first[keyword].value) for keyword in identity} == identity
    assert (first.SeriesDescription, first.SeriesNumber, first.ImageType[0]) == ("follow-up", 12, "DERIVED")
    assert first.SoftwareVersions[1] == "ef" * 32
    assert "research use only, not approved by a clinician" in first.DerivationDescription


def test_slices_stacked_against_their_normal_stay_where_they_are(volume: Volume, tmp_path: Path) -> None:
    flipped = Geometry((7, 20, 24), (1, 1, 2), (5, 6, 7), (1, 0, 0, 0, 1, 0, 0, 0, -1))
    write_dicom_series(tmp_path / "ct", Volume(volume.array, flipped))
    read = read_volume(tmp_path / "ct")
    assert read.geometry.origin == (5, 6, 7 - 2 * 6)
    assert (read.array == volume.array[::-1]).all()


def test_fractions_of_hounsfield_units_are_rounded(volume: Volume, tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", replace(volume, array=volume.array + np.float32(0.4)))
    assert (read_volume(tmp_path / "ct").array == volume.array).all()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"modality": "MR"}, InputError, "write NRRD instead"),
        ({"array": np.full((7, 20, 24), 40000)}, InputError, "no Hounsfield units"),
        ({"array": np.full((7, 20, 24), np.nan)}, InputError, "no Hounsfield units"),
        (
            {"geometry": Geometry((7, 20, 24), (1, 1, 1), (0, 0, 0), (1, 0.6, 0, 0, 0.8, 0, 0, 0, 1))},
            GeometryError,
            "rows and columns are not perpendicular",
        ),
    ],
)
def test_what_a_ct_series_cannot_hold_is_refused(
    volume: Volume, tmp_path: Path, change: dict[str, object], kind: type[InputError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        write_dicom_series(tmp_path / "ct", replace(volume, **change))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
