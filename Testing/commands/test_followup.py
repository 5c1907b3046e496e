"""``adaptsam followup``: DICOM in, a later study of the same patient out, or one sentence and nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptsam import cli
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume, same_patient
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_structures

NAME, NUMBER = "Muster^Erika", "4711-0815"


def sentence_of(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("adaptsam: ")
    assert said.count("\n") == 1
    assert "Muster" not in said
    assert NUMBER not in said
    return said


def test_a_digital_follow_up_is_written_as_a_later_study_of_the_same_patient(tmp_path, capsys):
    image, structures = thorax_with_nodule()
    written = write_dicom_series(tmp_path / "ct", image)
    write_structures(tmp_path / "rs.dcm", structures, written)
    command = ["followup", f"--image={tmp_path / 'ct'}", f"--mask={tmp_path / 'rs.dcm'}", f"--output={tmp_path / 'f'}"]
    assert cli.main([*command, "--target=GTV-1", "--change=small", "--seed=2", "--json"]) == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert NAME not in said.out + said.err
    assert made["settings"]["volume_ratio"] == 0.8
    prior, later = read_volume(tmp_path / "ct"), read_volume(tmp_path / "f" / "ct")
    assert same_patient(prior, later) is True
    assert later.dicom.study_date == "20260208"
    assert later.dicom.study_uid != prior.dicom.study_uid
    assert later.dicom.frame_of_reference_uid != prior.dicom.frame_of_reference_uid
    found = read_structures(tmp_path / "f" / "rtstruct.dcm", later)
    assert found.names == structures.names
    cm3 = found.structures[0].mask.sum() * later.geometry.voxel_volume / 1000
    assert cm3 == pytest.approx(made["volumes_cm3"]["GTV-1"], rel=0.02)
    assert cli.main(command) == 2
    assert "exists already" in sentence_of(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target=GTV-2"], "did you mean 'GTV-1'"),
        (["--change=medum"], "Did you mean 'medium'"),
        (["--tumour=grow", "--volume-ratio=0.5"], "above 1"),
    ],
)
def test_a_follow_up_that_cannot_be_made_leaves_nothing(options, said, tmp_path, capsys):
    image, structures = thorax_with_nodule()
    written = write_dicom_series(tmp_path / "ct", image)
    write_structures(tmp_path / "rs.dcm", structures, written)
    command = ["followup", f"--image={tmp_path / 'ct'}", f"--mask={tmp_path / 'rs.dcm'}", f"--output={tmp_path / 'f'}"]
    assert cli.main([*command, *options]) == 2
    assert said in sentence_of(capsys)
    assert not (tmp_path / "f").exists()


def thorax_with_nodule() -> tuple[Volume, StructureSet]:
    """A body, one lung of noisy air in it, and a nodule in the lung."""
    geometry = Geometry((20, 60, 64), (4.0, 4.0, 5.0), (-126.0, -118.0, -47.5))
    k, j, i = np.indices(geometry.shape)
    x, y, z = np.moveaxis(geometry.world(np.stack([i, j, k], axis=-1)), -1, 0)
    lung = (x / 80) ** 2 + (y / 70) ** 2 < 1
    nodule = x**2 + y**2 + z**2 < 20**2
    array = np.where((x / 110) ** 2 + (y / 100) ** 2 < 1, 30, -1000)
    array[lung], array[nodule] = -800, 40
    array = array + np.random.default_rng(0).integers(-20, 20, array.shape)
    dicom = DicomSource(patient_id=NUMBER, study_date="20260201", header={"PatientName": NAME})
    structures = (Structure("GTV-1", nodule), Structure("Lung", lung & ~nodule))
    return Volume(array.astype(np.int16), geometry, "CT", dicom), StructureSet(structures, geometry, dicom)
