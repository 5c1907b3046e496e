"""`adaptsam data check`: what it says of whole and damaged data sets."""

from __future__ import annotations

import json

import pytest

from adaptsam import cli


def test_a_whole_data_set_is_described_patient_by_patient(nsclc_folder, capsys):
    assert cli.main(["data", "check", str(nsclc_folder)]) == 0
    said = capsys.readouterr().out
    assert "is read as nsclc-radiomics: 3 patients, of which 3 can be used" in said
    assert all(f"LUNG1-00{number}" in said for number in (1, 2, 3))
    assert "419 of the 422 published patients are not here" in said
    assert "Split by patient: 1 to train, 1 to validate, 1 to test." in said


def test_damage_is_named_and_the_rest_stays_usable(kvasir_folder, copy_of, capsys):
    root = copy_of(kvasir_folder)
    victim = sorted((root / "images").iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:700])
    assert cli.main(["data", "check", str(root), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "kvasir-seg"
    assert facts["samples"] == 3
    [case] = [case for case in facts["cases"] if case["problems"]]
    assert case["name"] == victim.stem
    assert "damaged" in case["problems"][0]
    assert sum(part["samples"] for part in facts["split"].values()) == 3
    assert cli.main(["data", "check", str(root), "--strict"]) == 2
    assert "something missing or wrong with 1 of 4 pictures" in capsys.readouterr().err
    assert cli.main(["data", "check", str(root), "--quick", "--strict"]) == 0


def test_a_folder_that_cannot_be_used_ends_with_2_and_one_sentence(cvc_folder, copy_of, tmp_path, capsys):
    root = copy_of(cvc_folder)
    for path in (root / "Ground Truth").iterdir():
        path.unlink()
    assert cli.main(["data", "check", str(root)]) == 2
    streams = capsys.readouterr()
    assert "frame-023: The image 23.tif has no mask." in streams.out
    assert streams.err.startswith("adaptsam: CVC-ClinicDB cannot be used as cvc-clinicdb: sequence-01:")
    (tmp_path / "nothing").mkdir()
    assert cli.main(["data", "check", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err == ("adaptsam: nothing is empty; check the path, or download the data set again.\n")


def test_four_d_lung_tells_whom_it_leaves_out(four_d_lung_folder, capsys):
    assert cli.main(["data", "check", str(four_d_lung_folder), "--kind", "4d-lung"]) == 0
    said = capsys.readouterr().out
    assert "118_HM10395: Left out: its contours are wrong" in said
    assert cli.main(["data", "check", str(four_d_lung_folder), "--gate", "5", "--structure", "heart"]) == 0
    assert cli.main(["data", "check", str(four_d_lung_folder), "--gate", "4"]) == 2
    assert "has no gate 4: it has 0, 5" in capsys.readouterr().err
    assert cli.main(["data", "check", str(four_d_lung_folder), "--label", "2"]) == 2
    assert "has no choice of a label (its choices: gate, structure" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["data"])
