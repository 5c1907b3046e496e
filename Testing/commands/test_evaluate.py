"""``adaptsam evaluate`` from the command line, on the smallest data there is."""

from __future__ import annotations

import json
import subprocess
import sys
from html import unescape

import pytest
from benchmark_folders import write_binary_task, write_perseg

from adaptsam.cli import main


@pytest.fixture
def perseg(tmp_path):
    return write_perseg(tmp_path / "PerSeg", ("cat", "can"))[0]


def test_a_protocol_gives_a_report_and_goes_on_when_asked_again(perseg, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["evaluate", "perseg", "--data", str(perseg), "--output", str(out), "--quiet"]
    assert main([*given, "--methods", "panet", "--limit", "1"]) == 0
    assert "PANet" in capsys.readouterr().out
    assert main([*given, "--methods", "panet,direct-transfer,registration", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["evaluated"] == 2
    assert [row["Method"] for row in told["results"]] == ["PANet", "direct-transfer", "deformable registration"]
    page = (out / "report.html").read_text()
    assert "For research use only" in page
    assert str(tmp_path) not in page
    for name in ("tables.md", "results.csv", "results.tex", "cases.csv", "published-p2sam-3.csv", "summary.json"):
        assert (out / name).is_file()


def test_the_list_names_protocols_methods_and_groups(capsys):
    assert main(["evaluate", "--list"]) == 0
    told = capsys.readouterr().out
    for name in ("4d-lung", "alignsam-t-15", "p2sam-t5-hungarian", "table4", "elastix"):
        assert name in told


def test_shadows_take_alignsam_s_explicit_branch_and_so_ask_for_a_clip(tmp_path, capsys):
    root = write_binary_task(tmp_path / "SBU", "sbu", train=2, test=1)
    given = ["evaluate", "sbu", "--data", str(root), "--output", str(tmp_path / "out"), "--quiet"]
    assert main([*given, "--methods", "panet,alignsam,alignsam-no-rl"]) == 0
    assert "AlignSAM looks at a text prompt: give its CLIP with --clip" in capsys.readouterr().out
    [record] = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cases").iterdir()]
    for name in ("alignsam", "alignsam-no-rl"):
        assert not record["methods"][name]["items"]


def test_a_clip_may_be_given_later_and_changes_only_the_rows_that_look_at_a_text(tmp_path, capsys, monkeypatch):
    root = write_binary_task(tmp_path / "SBU", "sbu", train=2, test=1)
    given = ["evaluate", "sbu", "--data", str(root), "--output", str(tmp_path / "out"), "--quiet"]
    assert main([*given, "--methods", "panet,alignsam"]) == 0
    asked = []
    monkeypatch.setattr(
        "adaptsam.evaluation.evaluation_run.run_here", lambda model, setting, jobs: asked.extend(jobs) or ()
    )
    assert main([*given, "--methods", "panet,alignsam", "--clip", "small", "--text", "a shadow"]) == 0
    assert [names for _, names in asked] == [["alignsam"]]


def test_the_report_tells_the_command_that_gives_it_again(perseg, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.chdir(perseg)
    choices = ["--methods", "panet", "--limit", "1", "--seed", "2", "--epochs", "3", "--training", "7", "--text"]
    assert main(["evaluate", "perseg", "--data", ".", "--output", str(out), "--quiet", *choices, "a cat"]) == 0
    page = unescape((out / "report.html").read_text())
    command = "adaptsam evaluate perseg --methods panet --data PerSeg --seed 2 --training 7 --limit 1 --epochs 3"
    assert f"{command} --text 'a cat'" in page
    assert json.loads((out / "study.json").read_text())["options"]["data"] == "PerSeg"


def test_a_run_without_a_single_case_ends_with_2_and_leaves_its_report(tmp_path, capsys):
    listed = tmp_path / "cases.json"
    names = ("prior_image", "prior_mask", "target_image", "target_mask")
    listed.write_text(json.dumps([{name: f"{name}.nrrd" for name in names}]))
    given = ["evaluate", "own", "--data", str(listed), "--output", str(tmp_path / "out"), "--methods", "copied"]
    assert main([*given, "--quiet"]) == 2
    assert "No case could be evaluated" in capsys.readouterr().err
    assert "Skipped case-1: " in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow  # a process that imports everything
def test_methods_that_train_nothing_need_no_training_library_and_say_nothing_on_stderr(perseg, tmp_path):
    given = ["evaluate", "perseg", "--data", str(perseg), "--methods", "panet", "--output", str(tmp_path / "out")]
    absent = ("ignite", "peft", "tensordict", "torchrl", "torchao", "transformers")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\nfrom adaptsam.cli import main\n"
    run = [sys.executable, "-c", f"{code}sys.exit(main({[*given, '--quiet', '--limit', '1']!r}))"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give a protocol and --output"),
        (["perseg", "--output", "out"], "needs its data"),
        (["persek", "--output", "out"], "Did you mean 'perseg'"),
        (["phantom", "--output", "out", "--methods", "persan"], "Did you mean 'persam'"),
        (["phantom", "--output", "out", "--patients", "0"], "patients must be at least 1"),
        (["phantom", "--output", "out", "--size", "huge"], "size can be plain, quick"),
        (["phantom", "--output", "out", "--methods", "fine-tune", "--epochs", "0"], "at least one epoch, not 0"),
        (["phantom", "--output", "out", "--methods", "alignsam", "--episodes", "0"], "'episodes' is 0"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_one_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_results_of_other_choices_in_the_folder_are_refused(perseg, tmp_path, capsys):
    given = ["evaluate", "perseg", "--data", str(perseg), "--output", str(tmp_path / "out"), "--methods", "panet"]
    assert main([*given, "--quiet"]) == 0
    assert main([*given, "--seed", "1", "--quiet"]) == 2
    assert "other data or choices" in capsys.readouterr().err
