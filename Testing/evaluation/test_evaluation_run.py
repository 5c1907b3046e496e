"""A run goes on where it was, never mixes results, and leaves out nothing in silence."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_sam import tiny_model

from adaptsam import alignsam
from adaptsam.errors import Cancelled, InputError, OutputError
from adaptsam.evaluation.case_results import WORST, Results, file_name, identity_of
from adaptsam.evaluation.case_worker import CaseResult, Setting
from adaptsam.evaluation.evaluation_report import write_evaluation
from adaptsam.evaluation.evaluation_run import run_here, run_study
from adaptsam.evaluation.methods import make_methods
from adaptsam.evaluation.methods.panet import PaNet

METHODS = ("p2sam", "panet")


def evaluated(study, model, folder: Path, methods=METHODS, **options):
    results = Results(folder, identity_of("drawn", {"seed": 0}, model))
    setting = Setting(tuple(methods))
    progressed = run_study(study, model, setting, results, **options)
    return results, progressed


def titles(methods=METHODS):
    return {method.name: method.title for method in make_methods(methods)}


def test_an_evaluation_leaves_tables_cases_and_a_report(make_study, tiny, tmp_path):
    study = make_study(3, broken=1)
    results, progressed = evaluated(study, tiny, tmp_path, (*METHODS, "registration", "seem"))
    assert (progressed.known, progressed.computed) == (0, 4)
    names = titles((*METHODS, "registration", "seem"))
    written = write_evaluation(study, results, names, tiny, "adaptsam evaluate drawn")
    assert written.found.evaluated == 3
    page = written.page.read_text()
    assert "3 of 5 cases were evaluated; 2 were skipped." in page
    assert "Skipped broken-0: frame-3.png is damaged; copy it again." in page
    assert "Skipped case-0 (again): There are two cases called case-0" in page
    assert "SEEM&#39;s weights" in page
    assert "deformable registration needs volumes." in page
    assert "http" not in page.replace("http-equiv", "")
    rows = list(csv.DictReader((tmp_path / "cases.csv").open()))
    assert len(rows) == 2 * 3 * 2
    assert {row["method"] for row in rows} == set(METHODS)
    table = (tmp_path / "results.csv").read_text()
    assert table.splitlines()[0].startswith("Method,Dice,mIoU,mIoU,Cases")
    assert r"\toprule" in (tmp_path / "results.tex").read_text()
    assert "Ours, Dice" in (tmp_path / "tables.md").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    value = summary["results"]["panet"]["dice"]["value"]
    per_case = [
        np.mean([float(r["dice"]) for r in rows if r["method"] == "panet" and r["case"] == f"case-{n}"])
        for n in range(3)
    ]
    assert value == pytest.approx(np.mean(per_case))


def test_a_run_that_was_stopped_goes_on_with_the_next_case(make_study, tiny, tmp_path):
    def stop(stage, done, total):
        if done == 1:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        evaluated(make_study(3), tiny, tmp_path, progress=stop)
    results, progressed = evaluated(make_study(3), tiny, tmp_path)
    assert (progressed.known, progressed.computed) == (1, 2)
    whole, _ = evaluated(make_study(3), tiny, tmp_path / "whole")
    for n in range(3):
        assert _figures(results.read(f"case-{n}")) == _figures(whole.read(f"case-{n}"))


def _figures(record):
    return {name: row["items"] for name, row in record["methods"].items()}


def test_only_what_is_missing_is_computed_when_methods_or_cases_are_added(make_study, tiny, tmp_path):
    evaluated(make_study(2), tiny, tmp_path, ["panet"])
    asked = []

    def watched(model, setting, jobs):
        asked.extend((case.name, names) for case, names in jobs)
        return run_here(model, setting, jobs)

    results, _ = evaluated(make_study(3), tiny, tmp_path, METHODS, backend=watched)
    assert asked == [("case-0", ["p2sam"]), ("case-1", ["p2sam"]), ("case-2", ["p2sam", "panet"])]
    assert set(results.read("case-0")["methods"]) == set(METHODS)


def test_results_of_another_checkpoint_or_of_other_choices_are_refused(make_study, tiny, tmp_path):
    evaluated(make_study(1), tiny, tmp_path)
    with pytest.raises(OutputError, match="another checkpoint"):
        Results(tmp_path, identity_of("drawn", {"seed": 0}, tiny_model(seed=5)))
    with pytest.raises(OutputError, match="other data or choices"):
        Results(tmp_path, identity_of("drawn", {"seed": 1}, tiny))
    with pytest.raises(OutputError, match="another protocol"):
        Results(tmp_path, identity_of("phantom", {"seed": 0}, tiny))


def test_a_folder_of_unknown_results_is_refused(tiny, tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "case-0.json").write_text("{}")
    with pytest.raises(OutputError, match="unknown evaluation"):
        Results(tmp_path, identity_of("drawn", {}, tiny))


def test_a_damaged_record_is_computed_again_and_a_broken_case_is_tried_again(make_study, tiny, tmp_path):
    results, _ = evaluated(make_study(2, broken=1), tiny, tmp_path)
    (tmp_path / "cases" / "case-1.json").write_text('{"case": "ca')
    _, progressed = evaluated(make_study(2, broken=1), tiny, tmp_path)
    assert (progressed.known, progressed.computed) == (1, 2)
    assert results.read("case-1")["methods"]["panet"]["items"]


def test_a_method_that_fails_on_a_case_is_said_and_the_others_go_on(make_study, tiny, tmp_path, monkeypatch):
    def fails(self, bench, pairs):
        if pairs[0].name.startswith("case-1"):
            raise InputError("the features are not finite.")
        return [pair.prior.mask for pair in pairs]

    monkeypatch.setattr(PaNet, "pictures", fails)
    study = make_study(3)
    results, _ = evaluated(study, tiny, tmp_path)
    written = write_evaluation(study, results, titles(), tiny)
    assert written.found.failed["panet"] == {"case-1": "the features are not finite."}
    figure = written.found.figure("panet", study.measures[0])
    assert figure.cases == 2
    assert "PANet failed on 1 cases" in written.tables["results"].note
    assert written.found.figure("p2sam", study.measures[0]).cases == 3


def test_the_worst_pictures_are_kept_and_no_others(make_study, tiny, tmp_path):
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    for number in range(WORST + 3):
        record = {"case": f"case-{number}", "problems": [], "methods": {}}
        results.add(CaseResult(record, {"panet": (number / 10, f"item-{number}", b"jpeg")}))
    kept = results.worst("panet")
    assert [one["case"] for one in kept] == [f"case-{n}" for n in range(WORST)]
    assert len(list((tmp_path / "worst").glob("*.jpg"))) == WORST


def test_a_run_that_is_killed_between_a_case_s_pictures_and_its_record_draws_them_again(make_study, tiny, tmp_path):
    class Killed(BaseException):
        pass

    def killed(self, *given):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "_keep", killed)
        with pytest.raises(Killed):
            evaluated(make_study(1), tiny, tmp_path, ["panet"])
    results, _ = evaluated(make_study(1), tiny, tmp_path, ["panet"])
    assert [one["case"] for one in results.worst("panet")] == ["case-0"]


def test_the_report_of_fewer_cases_shows_no_picture_of_the_others(make_study, tiny, tmp_path):
    results, _ = evaluated(make_study(3), tiny, tmp_path, ["panet"])
    page = write_evaluation(make_study(1), results, titles(["panet"]), tiny).page.read_text()
    assert "case-0/" in page
    assert "case-1/" not in page


def test_whatever_a_case_is_called_its_line_stays_a_line_of_words(make_study, tiny, tmp_path):
    name = "a_b *c* <b>d</b> `e` \\ | f\ng"
    study = make_study(0, broken=1)
    study = replace(study, cases=(replace(study.cases[0], name=name),), skipped={})
    results, _ = evaluated(study, tiny, tmp_path, ["panet"])
    write_evaluation(study, results, titles(["panet"]), tiny)
    line = "- Skipped a\\_b \\*c\\* \\<b>d\\</b> \\`e\\` \\\\ \\| f g: frame-3.png is damaged; copy it again."
    assert line in (tmp_path / "tables.md").read_text().splitlines()
    assert "<b>" not in (tmp_path / "report.html").read_text()


def test_a_method_that_failed_on_all_cases_is_not_said_to_be_scored(make_study, tiny, tmp_path, monkeypatch):
    def fails(self, bench, pairs):
        raise InputError("no.")

    monkeypatch.setattr(PaNet, "pictures", fails)
    results, _ = evaluated(make_study(2), tiny, tmp_path)
    note = write_evaluation(make_study(2), results, titles(), tiny).tables["results"].note
    assert "PANet failed on 2 cases." in note


@pytest.mark.parametrize("taken", ["report.html", "cases.csv", "results.tex", "worst/panet@case-0.jpg"])
def test_a_file_that_cannot_be_written_ends_in_one_sentence(make_study, tiny, tmp_path, taken):
    (tmp_path / taken).mkdir(parents=True)
    with pytest.raises(OutputError, match=f"{Path(taken).name} cannot be written"):
        write_evaluation(make_study(1), evaluated(make_study(1), tiny, tmp_path, ["panet"])[0], titles(["panet"]), tiny)


def test_names_that_make_no_file_names_get_distinct_ones():
    assert file_name("100_HM10395") == "100_HM10395"
    assert file_name("a/b") != file_name("a:b")
    assert "/" not in file_name("a/b")


def test_records_hold_no_nan_and_no_path(make_study, tiny, tmp_path):
    evaluated(make_study(1), tiny, tmp_path)
    text = (tmp_path / "cases" / "case-0.json").read_text()
    assert "NaN" not in text
    assert str(tmp_path) not in text


def test_methods_that_learn_do_so_once_from_the_training_images_and_keep_what_they_learned(make_study, tiny, tmp_path):
    from adaptsam.evaluation.methods import Extras

    pytest.importorskip("peft")
    setting = Setting(("samed", "medical-sam-adapter"), Extras(epochs=1))
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    run_study(make_study(1), tiny, setting, results)
    files = {path.name.rsplit("-", 1)[0]: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()}
    assert set(files) == {"samed", "medical-sam-adapter"}
    run_study(make_study(2), tiny, setting, results)
    assert {path.name.rsplit("-", 1)[0]: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()} == files
    assert all(row["items"] for row in results.read("case-1")["methods"].values())


def test_alignsam_learns_and_is_used_and_its_ablations_too(make_study, tiny, tmp_path):
    pytest.importorskip("torchrl")
    from adaptsam.evaluation.methods import Extras

    settings = alignsam.AlignSamSettings()
    settings = replace(settings, training=replace(settings.training, episodes=1, epochs=1))
    names = ("alignsam", "alignsam-no-rl", "alignsam-explicit-branch")
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    run_study(make_study(1), tiny, Setting(names, Extras(alignsam=settings)), results)
    rows = results.read("case-0")["methods"]
    assert rows["alignsam"]["items"]
    assert rows["alignsam-no-rl"]["items"]
    assert "--clip" in rows["alignsam-explicit-branch"]["not_applicable"]


def test_alignsam_s_explicit_branch_looks_at_the_text_through_the_given_clip(make_study, tiny, tmp_path):
    pytest.importorskip("torchrl")
    pytest.importorskip("open_clip")
    from adaptsam.alignsam.clip.clip_files import BUNDLED_NAME
    from adaptsam.evaluation.methods import Extras

    settings = alignsam.AlignSamSettings()
    settings = replace(settings, training=replace(settings.training, episodes=1, epochs=1, recalibration_updates=1))
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    setting = Setting(("alignsam-explicit-branch",), Extras(alignsam=settings, text="heart", clip=BUNDLED_NAME))
    run_study(make_study(1), tiny, setting, results)
    assert results.read("case-0")["methods"]["alignsam-explicit-branch"]["items"]


@pytest.mark.parametrize(
    ("domain", "modality", "sentences"),
    [("medical", "ES", "endoscopy"), ("medical", "", "medical"), ("natural", "", "natural")],
)
def test_a_text_is_put_into_sentences_on_such_images(
    make_study, tiny, tmp_path, monkeypatch, domain, modality, sentences
):
    from adaptsam.alignsam.clip.clip_files import BUNDLED_NAME
    from adaptsam.autoprompting.text_maps import ensemble
    from adaptsam.evaluation.methods import Extras

    pytest.importorskip("open_clip")
    asked = []
    monkeypatch.setattr("adaptsam.evaluation.case_worker.attention_of", lambda clip, shown, text: asked.append(shown))
    study = replace(make_study(1), domain=domain, modality=modality)
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    run_study(study, tiny, Setting(("panet",), Extras(text="heart", clip=BUNDLED_NAME)), results)
    assert [ensemble(shown) for shown in asked] == [sentences]


def test_a_method_that_lacks_a_library_leaves_its_row_empty_and_is_asked_again_when_it_is_there(
    make_study, tiny, tmp_path, monkeypatch
):
    from adaptsam.evaluation.methods import Extras

    pytest.importorskip("peft")
    names, extras = ("panet", "samed", "alignsam"), Extras(epochs=1)
    results = Results(tmp_path, identity_of("drawn", {}, tiny))
    study, setting = make_study(1), Setting(names, extras)
    with monkeypatch.context() as patch:
        for module in ("adaptsam.alignsam.policy_training", "adaptsam.alignsam.ppo"):
            patch.delitem(sys.modules, module, raising=False)
        for name in ("train", "TrainingImage"):
            patch.delattr(alignsam, name, raising=False)
        for module in ("peft", "torchrl", "tensordict"):
            patch.setitem(sys.modules, module, None)
        run_study(study, tiny, setting, results)
    rows = results.read("case-0")["methods"]
    assert rows["panet"]["items"]
    assert "adaptsam[train]" in rows["samed"]["not_installed"]
    assert "adaptsam[align]" in rows["alignsam"]["not_installed"]
    written = write_evaluation(study, results, titles(names), tiny)
    assert "pip install" in written.tables["results"].note
    asked = []

    def watched(model, setting, jobs):
        asked.extend((setting.methods, names) for _, names in jobs)
        return run_here(model, setting, jobs)

    run_study(study, tiny, replace(setting, methods=("panet", "samed")), results, backend=watched)
    assert asked == [(("samed",), ["samed"])]
    assert results.read("case-0")["methods"]["samed"]["items"]


def test_what_a_case_gave_outlives_a_run_that_cannot_read_it(make_study, tiny, tmp_path):
    results, _ = evaluated(make_study(1), tiny, tmp_path, ["panet"])
    before = results.read("case-0")["methods"]["panet"]
    broken = make_study(1, broken=1)
    unreadable = replace(broken, cases=(replace(broken.cases[1], name="case-0"),))
    results, _ = evaluated(unreadable, tiny, tmp_path, METHODS)
    found = write_evaluation(unreadable, results, titles(), tiny).found
    assert results.read("case-0")["methods"]["panet"] == before
    assert found.failed["p2sam"] == {"case-0": "frame-3.png is damaged; copy it again."}
    results, _ = evaluated(make_study(1), tiny, tmp_path, METHODS)
    assert results.read("case-0")["methods"]["p2sam"]["items"]
