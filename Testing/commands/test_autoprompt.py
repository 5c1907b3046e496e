"""``adaptsam autoprompt`` from image to files, with a tiny SAM and an agent of random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob_agent import GRID, make_agent, scene
from tiny_sam import TINY, tiny_model

from adaptsam.alignsam import save_agent
from adaptsam.cli import main
from adaptsam.image import DicomSource
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_volume
from adaptsam.sam import load_sam, save_checkpoint

NAME, NUMBER = "Muster^Erika", "4711-0815"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM, an agent that accepts every slice and one that accepts none, and an image as DICOM and as NRRD."""
    folder = tmp_path_factory.mktemp("autoprompt")
    save_checkpoint(folder / "sam.safetensors", tiny_model(spread=2.0).sam, TINY)
    model = load_sam(folder / "sam.safetensors", "cpu")
    agent = make_agent(model)
    save_agent(folder / "blob.agent.safetensors", agent)
    save_agent(folder / "shy.agent.safetensors", replace(agent, least_evidence=1.0))
    save_agent(folder / "text.agent.safetensors", make_agent(model, "texted", branch="explicit"))
    named = replace(scene(), dicom=DicomSource(patient_id=NUMBER, header={"PatientName": NAME}))
    write_dicom_series(folder / "ct", named)
    write_volume(folder / "ct.nrrd", scene())
    return folder


def arguments(folder: Path, output: Path, agent: str = "blob", target: str = "ct") -> list[str]:
    return [
        "autoprompt",
        f"--agent={folder / agent}.agent.safetensors",
        f"--target={folder / target}",
        f"--checkpoint={folder / 'sam.safetensors'}",
        "--device=cpu",
        "--quiet",
        f"--output={output}",
    ]


def test_contours_report_and_summary_appear_together(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result"
    assert main([*arguments(folder, output), "--format=rtstruct,seg.nrrd,dicom-seg", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in output.iterdir()) == [
        "pictures",
        "report.html",
        "summary.json",
        "target-1.rtstruct.dcm",
        "target-1.seg.dcm",
        "target-1.seg.nrrd",
    ]
    image = read_volume(folder / "ct")
    masks = {
        name: read_structures(output / name, image).structures[0].mask
        for name in ("target-1.seg.nrrd", "target-1.seg.dcm")
    }
    assert masks["target-1.seg.nrrd"].any()
    assert np.array_equal(masks["target-1.seg.nrrd"], masks["target-1.seg.dcm"])
    assert printed["agents"][0]["target"]["name"] == "blob"
    [structure] = printed["targets"][0]["structures"]
    assert structure["prior_volume_cm3"] is None
    assert len(structure["slices"]) == GRID.shape[0]
    assert {one["prior_index"] for one in structure["slices"]} == {None}


def test_a_second_run_on_the_same_image_encodes_nothing_and_gives_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    told, contours = [], []
    for number, words in enumerate(([], [], ["--no-cache"])):
        output = tmp_path / f"result-{number}"
        assert main([*arguments(folder, output), *words, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out)["targets"][0]["encoded_images"])
        contours.append((output / "target-1.seg.nrrd").read_bytes())
    assert told[0] == told[2] > 0
    assert told[1] == 0
    assert contours[0] == contours[1] == contours[2]
    for path in (tmp_path / "cache").iterdir():
        assert not any(word.encode() in path.read_bytes() for word in (*NAME.split("^"), NUMBER))


def test_the_report_tells_of_no_prior_and_of_no_patient(folder: Path, tmp_path: Path) -> None:
    assert main(arguments(folder, tmp_path / "result")) == 0
    page = (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    assert "Contours found by agents" in page
    for word in ("rior cm³", "Prior slice", "Left the prior", NAME, "Muster", NUMBER, str(folder)):
        assert word not in page


def test_a_target_that_is_not_there_comes_out_empty_with_a_warning(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, tmp_path / "result", "shy", "ct.nrrd")) == 0
    assert "blob was not found in this image" in capsys.readouterr().out
    image = read_volume(folder / "ct.nrrd")
    found = read_structures(tmp_path / "result" / "target-1.seg.nrrd", image)
    assert not any(one.mask.any() for one in found.structures)


def test_options_decide_what_is_accepted(folder: Path, tmp_path: Path) -> None:
    for number, option in enumerate(("--keep-all-slices", "--least-evidence=0")):
        output = tmp_path / str(number)
        assert main([*arguments(folder, output, "shy", "ct.nrrd"), option, "--no-cleanup"]) == 0
        found = read_structures(output / "target-1.seg.nrrd", read_volume(folder / "ct.nrrd"))
        assert found.structures[0].mask.any()


def test_a_reference_is_measured_against(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(arguments(folder, first, target="ct.nrrd")) == 0
    reference = f"--reference={first / 'target-1.seg.nrrd'}"
    assert main([*arguments(folder, second, target="ct.nrrd"), reference]) == 0
    summary = json.loads((second / "summary.json").read_text(encoding="utf-8"))
    assert summary["targets"][0]["agreement"]["blob"]["dice"] == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--agent=nobody"], "There is no agent 'nobody'"),
        (["--agent={folder}/sam.safetensors"], "not an agent file"),
        (["--agent={folder}/text.agent.safetensors"], "needs CLIP"),
        (["--agent={folder}/shy.agent.safetensors"], "Two agents find blob"),
        (["--reference=a", "--reference=b"], "2 references"),
        (["--least-evidence=0.5", "--keep-all-slices"], "contradict"),
        (["--least-evidence=2"], "between 0 and 1"),
        (["--target={folder}/missing"], "missing"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence_and_leaves_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], sentence: str
) -> None:
    output = tmp_path / "result"
    assert main([*arguments(folder, output), *(one.format(folder=folder) for one in change)]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not output.exists()


def test_another_sam_is_refused_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "other.safetensors", tiny_model(seed=4).sam, TINY)
    given = [*arguments(folder, tmp_path / "result"), f"--checkpoint={tmp_path / 'other.safetensors'}"]
    assert main(given) == 2
    assert "trained with another SAM" in capsys.readouterr().err
