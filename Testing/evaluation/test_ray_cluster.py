"""On a cluster the results are those of one machine, and a worker that is killed costs no more than its case's time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from drawn_study import DyingTasks, drawn_study
from tiny_sam import tiny_model

from adaptsam.errors import InputError
from adaptsam.evaluation.case_results import Results, identity_of
from adaptsam.evaluation.case_worker import ModelSource, Setting
from adaptsam.evaluation.evaluation_cases import StudyCase
from adaptsam.evaluation.evaluation_report import write_evaluation
from adaptsam.evaluation.evaluation_run import run_study
from adaptsam.evaluation.methods import make_methods
from adaptsam.sam import load_sam, save_checkpoint

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

METHODS = ("p2sam", "matcher")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    model = tiny_model(spread=2.0)
    save_checkpoint(path, model.sam, model.config, kind="tiny")
    return path


def tables(study, checkpoint, folder, workers=None):
    from adaptsam.evaluation.evaluation_run import run_here
    from adaptsam.evaluation.ray_cluster import on_cluster

    source = ModelSource(str(checkpoint), "cpu")
    model = load_sam(checkpoint, "cpu")
    results = Results(folder, identity_of("drawn", {}, model))
    backend = run_here if workers is None else on_cluster(source, workers)
    run_study(study, model, Setting(METHODS), results, backend=backend)
    names = {method.name: method.title for method in make_methods(METHODS)}
    write_evaluation(study, results, names, model)
    return (folder / "cases.csv").read_text(), results


@pytest.mark.slow
def test_two_workers_give_the_same_table_as_one_machine_even_when_one_is_killed(checkpoint, tmp_path):
    study = replace(drawn_study(4), training=())
    alone, _ = tables(study, checkpoint, tmp_path / "alone")
    dying = StudyCase("case-1", DyingTasks(1, str(tmp_path / "died-once")))
    cases = tuple(dying if case.name == "case-1" else case for case in study.cases)
    together, results = tables(replace(study, cases=cases), checkpoint, tmp_path / "together", workers=2)
    assert (tmp_path / "died-once").exists()
    assert together == alone
    assert "error" not in results.read("case-1")


@pytest.mark.slow
def test_a_case_that_always_kills_its_worker_is_named_and_the_others_are_there(checkpoint, tmp_path):
    always = StudyCase("deadly", DyingTasks(1, ""))
    study = replace(drawn_study(2), training=())
    study = replace(study, cases=(always, *study.cases))
    _, results = tables(study, checkpoint, tmp_path, workers=2)
    assert results.read("deadly")["error"] == "Its worker was lost 3 times."
    assert all(results.read(name)["methods"]["matcher"]["items"] for name in ("case-0", "case-1"))


def test_fewer_than_one_worker_is_refused():
    from adaptsam.evaluation.ray_cluster import on_cluster

    with pytest.raises(InputError, match="at least one worker"):
        on_cluster(ModelSource(), 0)
