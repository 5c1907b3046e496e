"""The command line: what it writes, what it says, and how it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from scipy import ndimage
from tiny_sam import TINY

from adaptsam import cli
from adaptsam.commands import bench
from adaptsam.commands.image_sources import find_sources, target_sources
from adaptsam.errors import Cancelled, InputError
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume, same_patient
from adaptsam.io import read_structures, read_volume, write_dicom_series, write_structures, write_volume
from adaptsam.nested_settings import change, parse
from adaptsam.propagation.volume_propagation import PropagationSettings
from adaptsam.sam import build_sam, save_checkpoint
from adaptsam.synthetic.thorax_phantom import PhantomVisit

SHAPE = (10, 40, 44)
NAME, NUMBER = "Muster^Erika", "4711-0815"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A model with random weights: it draws nonsense, quickly."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, build_sam(TINY), TINY)
    return path


@pytest.fixture(scope="module")
def patient(tmp_path_factory) -> Path:
    """Two visits of one patient, and one of another, as DICOM with an RTSTRUCT, and the first as NRRD."""
    folder = tmp_path_factory.mktemp("patient")
    for visit, shift, number in (("visit-1", 0, NUMBER), ("visit-2", 2, NUMBER), ("stranger", 1, "9999")):
        image, structures = synthetic(shift, number)
        image = write_dicom_series(folder / visit / "ct", image)
        write_structures(folder / visit / "rtstruct.dcm", structures, image)
    write_volume(folder / "visit.nrrd", image)
    write_structures(folder / "visit.seg.nrrd", structures, image)
    return folder


def synthetic(shift: int, number: str) -> tuple[Volume, StructureSet]:
    geometry = Geometry(SHAPE, (4.0, 4.0, 5.0), (-80.0, -75.0, 10.0))
    k, j, i = np.indices(SHAPE)
    body = ((j - 20) / 18) ** 2 + ((i - 22) / 20) ** 2 < 1
    tumour = ((k - 5) / 3.5) ** 2 + ((j - 20) / 7) ** 2 + ((i - 16 - shift) / 7) ** 2 < 1
    heart = ((k - 5) / 4) ** 2 + ((j - 20) / 8) ** 2 + ((i - 30) / 6) ** 2 < 1
    array = np.where(body, -20, -1000) + 150 * tumour + 250 * heart
    array = (array + np.random.default_rng(shift).normal(0, 12, SHAPE)).astype(np.int16)
    source = DicomSource(patient_id=number, header={"PatientName": NAME, "PatientBirthDate": "19500401"})
    structures = (Structure("GTV-1", tumour, (230, 60, 60)), Structure("Heart", heart, (240, 170, 60)))
    return Volume(array, geometry, "CT", source), StructureSet(structures, geometry)


@pytest.fixture
def arguments(patient, checkpoint, tmp_path) -> list[str]:
    """A propagation that works; tests add to it or change it."""
    return [
        "propagate",
        f"--prior-image={patient / 'visit-1' / 'ct'}",
        f"--prior-mask={patient / 'visit-1' / 'rtstruct.dcm'}",
        f"--target={patient / 'visit-2' / 'ct'}",
        f"--checkpoint={checkpoint}",
        "--device=cpu",
        "--set=acceptance=off",
        f"--output={tmp_path / 'result'}",
    ]


def sentence_of(capsys) -> str:
    """What was said on stderr: one line, one sentence, no traceback."""
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("\n") == 1
    return said.err


def test_a_propagation_writes_contours_report_and_summary(arguments, patient, tmp_path, capsys):
    assert cli.main(arguments) == 0
    result = tmp_path / "result"
    names = sorted(path.name for path in result.iterdir())
    assert names == ["pictures", "report.html", "summary.json", "target-1.rtstruct.dcm", "target-1.seg.nrrd"]
    target = read_volume(patient / "visit-2" / "ct")
    for name in ("target-1.rtstruct.dcm", "target-1.seg.nrrd"):
        assert read_structures(result / name, target).names == ("GTV-1", "Heart")
    assert "GTV-1" in capsys.readouterr().out


def test_a_second_run_on_the_same_scans_encodes_nothing_and_gives_the_same(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    told, contours = [], []
    for number in range(3):
        output = [f"--output={tmp_path / f'result-{number}'}", "--json"]
        assert cli.main([*arguments, *output, *(["--no-cache"] if number == 2 else [])]) == 0
        told.append(json.loads(capsys.readouterr().out)["targets"][0]["encoded_images"])
        contours.append((tmp_path / f"result-{number}" / "target-1.seg.nrrd").read_bytes())
    assert told[0] == told[2] > 0
    assert told[1] == 0
    assert contours[0] == contours[1] == contours[2]
    assert cli.main(["cache", "info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == told[0] + 1  # and how the scans lie to each other
    assert cli.main(["cache", "clear"]) == 0
    assert f"{told[0] + 1} files removed" in capsys.readouterr().out
    assert list((tmp_path / "cache").iterdir()) == []


def test_nothing_in_the_cache_names_the_patient(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    assert cli.main(arguments) == 0
    for path in (tmp_path / "cache").iterdir():
        content = path.read_bytes()
        assert not any(word.encode() in content for word in (*NAME.split("^"), NUMBER, "19500401"))
        assert re.fullmatch(r"[0-9a-f]{64}\.safetensors", path.name)


def test_the_contours_name_the_model_and_are_unapproved(arguments, checkpoint, tmp_path):
    cli.main(arguments)
    dataset = pydicom.dcmread(tmp_path / "result" / "target-1.rtstruct.dcm")
    assert dataset.ApprovalStatus == "UNAPPROVED"
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["model"]["sha256"] in str(dataset)


def test_json_on_stdout_is_one_object_with_files_and_figures(arguments, capsys):
    assert cli.main([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    [target] = summary["targets"]
    assert target["files"] == {"rtstruct": "target-1.rtstruct.dcm", "seg.nrrd": "target-1.seg.nrrd"}
    assert [structure["name"] for structure in target["structures"]] == ["GTV-1", "Heart"]
    assert (Path(summary["output"]) / summary["report"]).is_file()
    assert target["structures"][0]["prior_volume_cm3"] > 0


def test_neither_report_nor_summary_tells_who_the_patient_is_or_where_the_files_were(arguments, patient, tmp_path):
    cli.main(arguments)
    for name in ("report.html", "summary.json"):
        text = (tmp_path / "result" / name).read_text()
        for secret in ("Muster", "Erika", NUMBER, "19500401", str(patient), "visit-2"):
            assert secret not in text


def test_only_the_structures_asked_for_are_carried_to_every_target(arguments, patient, tmp_path, capsys):
    more = [f"--target={patient / 'visit-1' / 'ct'}", "--structure=Heart", "--format=nifti,nrrd", "--json"]
    assert cli.main([*arguments, *more]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [[s["name"] for s in target["structures"]] for target in summary["targets"]] == [["Heart"], ["Heart"]]
    assert (tmp_path / "result" / "target-2.nii.gz").is_file()
    assert (tmp_path / "result" / "target-1.nrrd").is_file()


def test_results_are_measured_against_a_reference_beside_registration_alone(arguments, patient, capsys):
    reference = f"--reference={patient / 'visit-2' / 'rtstruct.dcm'}"
    assert cli.main([*arguments, reference, "--json"]) == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert set(target["agreement"]) == set(target["agreement_of_registration_alone"]) == {"GTV-1", "Heart"}
    assert target["agreement_of_registration_alone"]["GTV-1"]["dice"] > 0.5
    assert cli.main([*arguments, reference, reference]) == 2
    assert "1 targets and 2 references" in sentence_of(capsys)


def test_a_structure_that_the_reference_lacks_is_told(arguments, patient, tmp_path, capsys):
    image = read_volume(patient / "visit-2" / "ct")
    structures = synthetic(2, NUMBER)[1].structures
    write_structures(
        tmp_path / "one.seg.nrrd", StructureSet((replace(structures[0], name="gtv"),), image.geometry), image
    )
    assert cli.main([*arguments, f"--reference={tmp_path / 'one.seg.nrrd'}", "--set=register=off"]) == 0
    said = "The reference has no 'GTV-1' and no 'Heart', so nothing was measured there; it has: gtv."
    assert said in capsys.readouterr().out
    assert "so nothing was measured there" in (tmp_path / "result" / "report.html").read_text(encoding="utf-8")


def test_settings_reach_the_propagation_and_the_summary(arguments, capsys):
    options = ["--parts=2", "--retrieval=off", "--no-location-prior", "--view=full", "--set=margin_mm=8", "--json"]
    assert cli.main([*arguments, *options]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["margin_mm"], settings["view"], settings["location_prior"]) == (8.0, "full", False)
    assert (settings["p2sam"]["positives"], settings["p2sam"]["retrieval"]) == ([1, 2], False)


@pytest.mark.parametrize(
    ("change_to", "complaint"),
    [
        (["--structure=GTV1"], "'GTV-1'"),
        (["--prior-mask=nowhere.dcm"], "nowhere.dcm does not exist"),
        (["--target=nowhere"], "nowhere does not exist"),
        (["--checkpoint=nowhere.pth"], "nowhere.pth"),
        (["--format=docx"], "rtstruct, dicom-seg, seg.nrrd, nrrd, nifti"),
        (["--view=fulll"], "'full'"),
        (["--retrieval=cosine"], "wasserstein"),
        (["--set=margin=8"], "'margin_mm'"),
        (["--window=5"], "a name or two numbers, as -160,240, and not 5"),
        (["--window", "-160,-240"], "a lower limit below its upper one, not -160 to -240"),
        (["--set=deformable.iterations=5,3"], "as many iterations as resolutions, not (5, 3)"),
        (["--set=target_slices=5"], "numbers of slices, as [4, 5]"),
        (["--set=target_slices={'GTV': [5]}"], "target_slices has none for 'GTV-1', only for 'GTV'"),
        (["--device=abacus"], "abacus"),
        (["--prior-series=77"], "77"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_used_gives_one_sentence_and_leaves_nothing(arguments, change_to, complaint, tmp_path, capsys):
    assert cli.main([*arguments, *change_to]) == 2
    assert complaint in sentence_of(capsys)
    assert not (tmp_path / "result").exists()


def test_an_unknown_structure_is_answered_with_those_that_are_there(arguments, capsys):
    assert cli.main([*arguments, "--structure=Hart"]) == 2
    assert re.search(r"did you mean 'Heart'\?.*GTV-1, Heart", sentence_of(capsys))


def test_another_patient_is_refused_and_goes_with_the_flag(arguments, patient, tmp_path, capsys):
    arguments[3] = f"--target={patient / 'stranger' / 'ct'}"
    assert cli.main(arguments) == 2
    said = sentence_of(capsys)
    assert "different patients" in said
    assert "9999" not in said
    assert not (tmp_path / "result").exists()
    assert cli.main([*arguments, "--allow-different-patients"]) == 0


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_dicom_for_an_image_without_dicom_is_refused_before_the_work(kind, arguments, patient, tmp_path, capsys):
    arguments[3] = f"--target={patient / 'visit.nrrd'}"
    assert cli.main([*arguments, f"--format={kind}"]) == 2
    assert "--format seg.nrrd" in sentence_of(capsys)
    assert cli.main(arguments) == 0
    assert not (tmp_path / "result" / "target-1.rtstruct.dcm").exists()


def test_a_labelmap_gives_what_overlaps_to_the_smaller_structure_and_says_so(arguments, patient, tmp_path, capsys):
    tumour = synthetic(0, NUMBER)[1].structures[0]
    margin = replace(tumour, name="PTV", mask=ndimage.binary_dilation(tumour.mask))
    image = read_volume(patient / "visit-1" / "ct")
    both = StructureSet((margin, tumour), image.geometry)
    write_structures(tmp_path / "both.seg.nrrd", both, image)
    more = [f"--prior-mask={tmp_path / 'both.seg.nrrd'}", "--format=seg.nrrd,nifti", "--register=off"]
    assert cli.main([*arguments, *more]) == 0
    assert "in target-1.nii.gz, what PTV shares with a smaller structure belongs to that one" in capsys.readouterr().out
    assert "what PTV shares" in (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    target = read_volume(patient / "visit-2" / "ct")
    whole, parted = (
        [one.mask for one in read_structures(tmp_path / "result" / name, target).structures]
        for name in ("target-1.seg.nrrd", "target-1.nii.gz")
    )
    assert (whole[0] & whole[1]).any()
    assert np.array_equal(parted[1], whole[1])
    assert np.array_equal(parted[0], whole[0] & ~whole[1])


def test_contours_come_as_dicom_seg_and_go_in_as_such(arguments, patient, tmp_path):
    target = read_volume(patient / "visit-2" / "ct")
    assert cli.main([*arguments, "--format=seg,rtstruct"]) == 0
    result = tmp_path / "result"
    seg, rtstruct = (read_structures(result / f"target-1.{kind}.dcm", target) for kind in ("seg", "rtstruct"))
    assert seg.names == rtstruct.names == ("GTV-1", "Heart")
    assert all((a.mask == b.mask).all() for a, b in zip(seg.structures, rtstruct.structures, strict=True))
    prior = read_volume(patient / "visit-1" / "ct")
    write_structures(tmp_path / "prior.seg.dcm", read_structures(patient / "visit-1" / "rtstruct.dcm", prior), prior)
    arguments[2] = f"--prior-mask={tmp_path / 'prior.seg.dcm'}"
    assert cli.main([*arguments, "--format=seg", "--overwrite"]) == 0
    again = read_structures(result / "target-1.seg.dcm", target)
    assert all((a.mask == b.mask).all() for a, b in zip(seg.structures, again.structures, strict=True))


def test_results_that_are_there_are_kept_unless_overwriting_is_asked_for(arguments, tmp_path, capsys):
    result = tmp_path / "result"
    result.mkdir()
    (result / "report.html").write_text("mine")
    (result / "notes.txt").write_text("mine")
    assert cli.main(arguments) == 2
    assert "report.html exists already" in sentence_of(capsys)
    assert (result / "report.html").read_text() == "mine"
    for name in ("target-1.nii.gz", "target-2.seg.nrrd"):
        (result / name).write_text("of three visits, in another format")
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert "! target-1.nii.gz, target-2.seg.nrrd in" in capsys.readouterr().out
    assert (result / "report.html").read_text() != "mine"
    assert (result / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["target-1.rtstruct.dcm", "target-1.seg.nrrd"])
def test_contours_that_are_there_are_told_before_the_work(name, arguments, tmp_path, monkeypatch, capsys):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / name).write_text("mine")
    monkeypatch.setattr("adaptsam.io.ImageSource.read", None)
    assert cli.main(arguments) == 2
    assert f"{name} exists already" in sentence_of(capsys)


def test_an_output_that_is_a_file_is_refused(arguments, tmp_path, capsys):
    (tmp_path / "result").write_text("mine")
    assert cli.main(arguments) == 2
    assert "is a file" in sentence_of(capsys)
    assert (tmp_path / "result").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be written by this user")
def test_a_read_only_output_is_refused(arguments, tmp_path, capsys):
    tmp_path.chmod(0o500)
    try:
        assert cli.main(arguments) == 2
    finally:
        tmp_path.chmod(0o700)
    assert "cannot be written" in sentence_of(capsys)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody can write")
def test_an_output_where_nobody_can_write_is_refused(arguments, capsys):
    assert cli.main([*arguments, "--output=/proc/self/result"]) == 2
    assert "cannot be written" in sentence_of(capsys)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("stopped")], ids=["Ctrl-C", "cancelled"])
def test_stopping_half_way_gives_130_and_leaves_nothing(arguments, error, monkeypatch, tmp_path, capsys):
    def stop(folder: object, prior: object, structures: object, visits: Iterable[object], **options: object) -> None:
        list(visits)
        raise error

    monkeypatch.setattr("adaptsam.commands.result_files.write_report", stop)  # the contours are written by then
    assert cli.main(arguments) == 130
    assert "stopped" in sentence_of(capsys)
    assert not (tmp_path / "result").exists()


SIGNALLED_HALF_WAY = """
import os, signal, sys, time
from adaptsam import cli
from adaptsam.propagation import volume_propagation

number = int(sys.argv.pop())

def stop(*args, **options):
    os.kill(os.getpid(), number)
    time.sleep(60)

volume_propagation.propagate_each = stop
# A shell's background jobs ignore Ctrl-C, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.run()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_half_way_leaves_nothing_behind(arguments, number, code, tmp_path):
    """A real signal in a real process, between reading and writing."""
    command = [sys.executable, "-c", SIGNALLED_HALF_WAY, *arguments]
    done = subprocess.run([*command, str(int(number))], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "result").exists()


def test_an_error_reaches_a_shell_as_exit_code_2_and_one_line(patient):
    done = subprocess.run(
        [sys.executable, "-m", "adaptsam.cli", "info", str(patient / "nothing")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("adaptsam: ")
    assert done.stderr.count("\n") == 1


def test_a_console_that_knows_few_letters_still_gets_its_table(patient):
    command = [sys.executable, "-m", "adaptsam.cli", "info", str(patient / "visit-1" / "ct")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert b"Series" in done.stdout


@pytest.mark.parametrize("command", ["demo", "propagate", "info", "phantom", "followup", "bench"])
def test_the_help_of_every_command_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main([command, "--help"])
    assert done.value.code == 0
    assert f"  adaptsam {command} " in capsys.readouterr().out.split("usage:")[0]


def test_info_shows_grid_and_structures_but_not_the_patient(patient, capsys):
    structures = f"--structures={patient / 'visit-1' / 'rtstruct.dcm'}"
    assert cli.main(["info", str(patient / "visit-1" / "ct"), structures]) == 0
    said = capsys.readouterr().out
    assert "10, 40, 44" in said
    assert "GTV-1" in said
    assert "Muster" not in said
    assert NUMBER not in said


def test_info_lists_the_series_of_a_folder_that_holds_several(patient, capsys):
    assert cli.main(["info", str(patient), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [series["slices"] for series in facts["series"]] == [10, 10, 10]
    assert "image" not in facts


def test_contours_tell_on_which_series_of_a_folder_they_were_drawn(patient, arguments, capsys):
    mask = patient / "visit-2" / "rtstruct.dcm"
    drawn = read_volume(patient / "visit-2" / "ct").dicom.series_uid
    given = ["propagate", f"--prior-image={patient}", f"--prior-mask={mask}", "--target=x", "--output=y"]
    args = cli.build_parser().parse_args(given)
    args.target = [patient / "visit-1" / "ct"]
    assert find_sources(args).prior.dicom.series_uid == drawn
    assert cli.main(["info", str(patient), f"--structures={mask}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["series"]) == 3
    assert [one["structure"] for one in facts["structures"]] == ["GTV-1", "Heart"]
    assert cli.main(["info", str(patient), f"--structures={patient / 'visit.seg.nrrd'}"]) == 2
    assert "holds 3 series; choose one" in sentence_of(capsys)


def test_several_series_of_one_folder_are_several_targets():
    folder, other = Path("4dct"), Path("other")
    assert target_sources([folder], None) == [(folder, None)]
    assert target_sources([folder], ["1", "2"]) == [(folder, "1"), (folder, "2")]
    assert target_sources([folder, other], ["1"]) == [(folder, "1"), (other, "1")]
    assert target_sources([folder, other], ["1", "2"]) == [(folder, "1"), (other, "2")]
    with pytest.raises(InputError, match="2 targets and 3 target series"):
        target_sources([folder, other], ["1", "2", "3"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1.5", 1.5),
        ("1,4", (1, 4)),
        ("None", None),
        ("True", True),
        ("off", "off"),
        ("soft tissue", "soft tissue"),
    ],
)
def test_values_are_read_as_a_person_means_them(text, value):
    assert parse(text) == value


def test_a_setting_is_changed_wherever_it_is_nested():
    settings = change(PropagationSettings(), "calibration.factor", 3)
    assert settings.calibration.factor == 3.0
    assert change(settings, "p2sam.weighted", "yes").p2sam.weighted
    assert change(settings, "acceptance", "off").acceptance == "off"


def test_a_group_of_settings_that_may_be_left_out_is_left_out_by_none():
    assert change(PropagationSettings(), "fusing.misfit", parse("None")).fusing.misfit is None
    with pytest.raises(InputError, match="calibration is a group of settings"):
        change(PropagationSettings(), "calibration", None)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("p2sam", 1, "p2sam.retrieval"),
        ("margin_mm.x", 1, "has no 'x'"),
        ("margin_mm", "much", "margin_mm is a number"),
        ("cleanup", 3, "cleanup is yes or no"),
        ("batch_slices", 1.5, "whole number"),
        ("margin_growth", -1, "must not be negative"),
        ("body_margin", 0, "must be above 0"),
        ("window", (1, 2, 3), "two numbers"),
        ("window", "brainn", "Did you mean 'brain'?"),
        ("window", {"GTV-1": "lungs"}, "Did you mean 'lung'?"),
        ("deformable.iterations", 5, "as many iterations"),
        ("deformable.shrink", (4, 2, 0), "whole numbers from 1"),
        ("deformable.pitch_mm", 0, "above 0 mm"),
        ("registration.search_pitch_mm", 0, "above 0 mm"),
        ("target_slices", "middle", "numbers of slices"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(name, value, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        change(PropagationSettings(), name, value)


@pytest.fixture
def small_phantom(monkeypatch):
    """The synthetic patient of this file in place of the phantom, which takes longer to draw."""

    def phantom_visits(seed: int, visits: int = 2, **_: object) -> list[PhantomVisit]:
        if visits < 1:
            raise InputError("A patient has at least one visit.")
        drawn = [synthetic(visit, f"PHANTOM-{seed}") for visit in range(visits)]
        return [PhantomVisit(image, structures, "a visit") for image, structures in drawn]

    monkeypatch.setattr("adaptsam.synthetic.thorax_phantom.phantom_visits", phantom_visits)


def test_the_demo_leaves_patient_contours_report_and_figures(small_phantom, checkpoint, tmp_path, capsys):
    folder = tmp_path / "demo"
    command = ["demo", f"--output={folder}", f"--checkpoint={checkpoint}", "--device=cpu"]
    assert cli.main(command) == 0
    assert "Dice, rigid" in capsys.readouterr().out
    for name in ("report.html", "summary.json", "target-1.rtstruct.dcm", "target-1.seg.nrrd"):
        assert (folder / name).is_file()
    assert read_volume(folder / "patient" / "visit-2" / "ct").geometry.shape == SHAPE
    assert "synthetic patient" in (folder / "report.html").read_text()
    assert cli.main(command) == 2
    assert "exists already" in sentence_of(capsys)
    assert cli.main([*command, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 0


def test_a_phantom_is_one_patient_with_as_many_visits_as_asked_for(small_phantom, tmp_path, capsys):
    assert cli.main(["phantom", f"--output={tmp_path / 'p'}", "--visits=3", "--seed=5", "--json"]) == 0
    assert [visit["visit"] for visit in json.loads(capsys.readouterr().out)["visits"]] == [
        "visit-1",
        "visit-2",
        "visit-3",
    ]
    first, last = (read_volume(tmp_path / "p" / name / "ct") for name in ("visit-1", "visit-3"))
    assert same_patient(first, last)
    assert read_structures(tmp_path / "p" / "visit-3" / "rtstruct.dcm", last).names == ("GTV-1", "Heart")
    assert cli.main(["phantom", f"--output={tmp_path / 'q'}", "--visits=0"]) == 2
    assert "at least one visit" in sentence_of(capsys)


def test_an_endoscopy_phantom_is_a_video_with_a_mask_for_each_frame(tmp_path, capsys):
    command = ["phantom", "endoscopy", f"--output={tmp_path}", "--frames=3", "--size=32,48", "--json"]
    assert cli.main(command) == 0
    assert len(json.loads(capsys.readouterr().out)["polyp_pixels"]) == 3
    assert (tmp_path / "video.mp4").is_file()
    assert len(list((tmp_path / "masks").iterdir())) == 3
    assert cli.main([*command, "--phases=10", "--overwrite"]) == 2
    assert "--phases means nothing to the endoscopy phantom" in sentence_of(capsys)


def test_bench_prints_every_figure_of_a_benchmark(tmp_path, monkeypatch, capsys):
    path = tmp_path / "adding.py"
    path.write_text(
        '"""How fast this adds.\n\nMore."""\n\ndef run(repeats=5):\n    return {"ratio": 2.5, "repeats": repeats}\n'
    )
    monkeypatch.setattr(bench, "find_benchmarks", lambda: {"adding": path})
    assert cli.main(["bench", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"adding": {"title": "How fast this adds.", "figures": {"ratio": 2.5, "repeats": 1}}}
    assert cli.main(["bench", "--only=subtracting"]) == 2
    assert "there are: adding" in sentence_of(capsys)


def test_bench_replaces_its_tables_in_a_page_and_keeps_what_was_written_by_hand(tmp_path, monkeypatch, capsys):
    path, page = tmp_path / "adding.py", tmp_path / "page.md"
    monkeypatch.setattr(bench, "find_benchmarks", lambda: {"adding": path})
    for ratio in (2.5, 3.5):
        told = {"ratio": {"value": ratio, "floor": 4.0}}
        path.write_text(f'"""How fast this adds."""\n\ndef run(repeats=5):\n    return {told}\n')
        assert cli.main(["bench", "--quick", f"--output={page}"]) == 0
        assert "floor" in capsys.readouterr().out
        page.write_text(f"{page.read_text()}\nBy hand, {ratio}.\n")
    text = page.read_text()
    assert "| ratio | 3.5 | 4 |" in text
    assert text.count("## How fast this adds.") == 1
    assert "2.5 |" not in text
    assert "By hand, 2.5." in text
    assert "By hand, 3.5." in text


def test_bench_writes_over_nothing_but_a_page_of_benchmarks(tmp_path, capsys):
    thesis = tmp_path / "thesis.md"
    thesis.write_text("My thesis")
    assert cli.main(["bench", "--quick", f"--output={thesis}"]) == 2
    assert "is no page of benchmarks; choose another name" in sentence_of(capsys)
    assert thesis.read_text() == "My thesis"


def test_bench_keeps_the_tables_of_benchmarks_that_were_done_before_one_failed(tmp_path, monkeypatch, capsys):
    done, broken, page = (tmp_path / name for name in ("done.py", "broken.py", "page.md"))
    done.write_text('"""Done."""\n\ndef run(repeats=5):\n    return {"ratio": 2.5}\n')
    raising = 'from adaptsam.errors import InputError\n\ndef run(repeats=5):\n    raise InputError("No weights.")\n'
    broken.write_text(f'"""Broken."""\n{raising}')
    monkeypatch.setattr(bench, "find_benchmarks", lambda: {"done": done, "broken": broken})
    assert cli.main(["bench", "--quick", f"--output={page}"]) == 2
    assert "No weights." in capsys.readouterr().err
    assert "| ratio | 2.5 |" in page.read_text()


def test_every_benchmark_of_this_repository_can_be_loaded():
    found = bench.find_benchmarks()
    assert {"encoder", "propagation"} <= set(found)
    for name, path in found.items():
        assert callable(bench.load(name, path).run)


def test_importing_the_package_does_not_wait_for_torch():
    code = "import sys, adaptsam, adaptsam.cli; assert 'torch' not in sys.modules; assert adaptsam.__version__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_that_the_package_promises_is_there():
    import adaptsam

    assert all(getattr(adaptsam, name) is not None for name in adaptsam.__all__)
    assert not hasattr(adaptsam, "segment_everything")


def test_ctrl_c_before_the_words_are_read_is_a_sentence(monkeypatch, capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert cli.main(["info"]) == 130
    assert "stopped" in capsys.readouterr().err
