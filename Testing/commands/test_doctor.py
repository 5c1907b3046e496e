"""``adaptsam doctor`` tells what is true of this machine, and what to do where something is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adaptsam import cli
from adaptsam.commands import doctor
from adaptsam.errors import CheckpointError
from adaptsam.sam import load_sam


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ADAPTSAM_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


def told(capsys) -> dict[str, dict]:
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}


def test_device_precision_and_versions_are_those_that_a_run_has(folders, capsys):
    assert cli.main(["doctor", "--json"]) == 0
    found = told(capsys)
    model = load_sam()
    assert found["device"]["value"] == str(model.device)
    assert found["precision"]["value"] == str(model.precision).removeprefix("torch.")
    assert found["torch"]["value"] == torch.__version__ or torch.__version__.startswith(found["torch"]["value"])


def test_fetched_weights_are_named_and_their_absence_gets_advice(folders, capsys):
    cli.main(["doctor", "--json"])
    assert "adaptsam weights fetch" in told(capsys)["weights"]["advice"]
    (folders / "weights").mkdir()
    (folders / "weights" / "mobile_sam.pt").write_bytes(b"x")
    cli.main(["doctor", "--json"])
    found = told(capsys)["weights"]
    assert found["value"] == "vit_t"
    assert not found["advice"]


def test_a_broken_installation_ends_with_2_and_says_what_to_do(folders, monkeypatch, capsys):
    def missing(*_: object, **__: object) -> None:
        raise CheckpointError("The bundled model is not installed; install AdaptSAM again.")

    monkeypatch.setattr("adaptsam.sam.load_sam", missing)
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr()
    assert "install AdaptSAM again" in said.err
    assert "All is well" not in said.out


def test_little_room_is_told(folders, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: doctor.shutil._ntuple_diskusage(10, 9, 1))
    assert all("little room" in one.advice for one in doctor.rooms())


def test_the_model_is_really_tried(folders, monkeypatch):
    tried = []
    model = load_sam()
    embed = type(model).embed
    monkeypatch.setattr(
        type(model), "embed", lambda self, images: tried.append(np.shape(images)) or embed(self, images)
    )
    assert any(one.name == "bundled model" and "works" in one.value for one in doctor.computing())
    assert tried == [(1, 256, 256, 3)]
