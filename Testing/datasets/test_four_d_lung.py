"""4D-Lung as it is downloaded: visits by date, gates, and the patient that is left out."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from adaptsam.datasets import open_four_d_lung, recognise, visits
from adaptsam.errors import InputError


def test_visits_are_in_the_order_of_their_dates_and_of_one_gate(four_d_lung_folder):
    first, second = visits(four_d_lung_folder / "100_HM10395")
    assert first.series.date < second.series.date
    assert "Gated, 0.0%" in first.series.description
    volume, tumour = first.read()
    assert volume.array.min() < -500
    assert tumour.names == ("Tumor_c00",)
    assert tumour.structures[0].mask.any()
    assert recognise(four_d_lung_folder) == "4d-lung"


def test_the_gate_can_be_chosen_and_a_missing_one_is_told(four_d_lung_folder):
    [first, _] = visits(four_d_lung_folder / "100_HM10395", gate=5)
    assert "Gated, 50.0%" in first.series.description
    assert "Tumor_c10" in first.read()[1].names
    missing = open_four_d_lung(four_d_lung_folder, gate=3)
    assert not missing.usable
    assert "visit-1 has no gate 3: it has 0, 5" in " ".join(missing.cases[0].problems)


def test_samples_are_named_by_visit(four_d_lung_folder):
    dataset = open_four_d_lung(four_d_lung_folder)
    assert {sample.patient for sample in dataset.samples} == {"100_HM10395"}
    assert {sample.name.split("/")[1] for sample in dataset.samples} == {"visit-1", "visit-2"}
    assert all(sample.read()[1].any() for sample in dataset.samples)


def test_the_patient_with_wrong_contours_is_left_out_with_the_reason_unless_asked_for(four_d_lung_folder):
    left_out = open_four_d_lung(four_d_lung_folder).cases[1]
    assert left_out.name == "118_HM10395"
    assert not left_out.samples
    assert "its contours are wrong" in left_out.remarks[0]
    assert open_four_d_lung(four_d_lung_folder, excluded={}).cases[1].samples


def test_a_visit_without_a_tumour_or_an_rtstruct_is_told(four_d_lung_folder, copy_of):
    root = copy_of(four_d_lung_folder)
    headers = {path: pydicom.dcmread(path) for path in sorted((root / "100_HM10395").rglob("1-1.dcm"))}
    drawn = [path for path, header in headers.items() if header.StructureSetROISequence[0].ROIName == "Tumor_c00"]
    drawn[0].unlink()
    headers[drawn[1]].StructureSetROISequence[0].ROIName = "GTV"
    headers[drawn[1]].save_as(drawn[1])
    dataset = open_four_d_lung(root)
    problems = " ".join(dataset.cases[0].problems)
    assert "gate 0: no RTSTRUCT names this series" in problems
    assert "no ROI's name contains 'Tumor', it has GTV, Lung-Left" in problems
    with pytest.raises(InputError, match="cannot be used as 4d-lung"):
        dataset.check_usable()


def test_a_folder_without_patients_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no patient's folder"):
        open_four_d_lung(tmp_path)
