"""MLflow's record of a training: a real one where mlflow is installed; its folder and the run's name anywhere."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ignite.engine import Events

from adaptsam.errors import InputError, NotInstalledError, OutputError
from adaptsam.finetune import mlflow_tracking
from adaptsam.finetune.mlflow_tracking import flat, mlflow_handlers, run_name
from adaptsam.finetune.recipes import read_recipe, run_recipe
from adaptsam.finetune.training_state import TrainingFiles

QUICK = {"epochs": 2, "rounds": 2, "batch": 4, "rate": 1e-3, "device": "cpu"}


def train(inputs: dict[str, Any], output: Path, **changes: Any) -> TrainingFiles:
    given = {**inputs, **QUICK, "output_dir": str(output), "mlflow": str(output.parent / "tracking"), **changes}
    return run_recipe(read_recipe("kvasir_lora", given))


def runs_in(folder: Path) -> tuple[Any, list[Any]]:
    """MLflow's client and the runs of the experiment, the oldest first."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{(folder / 'tracking').as_posix()}/mlflow.db")
    experiment = client.get_experiment_by_name(mlflow_tracking.EXPERIMENT)
    return client, sorted(client.search_runs(experiment.experiment_id), key=lambda run: run.info.start_time)


def logged(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def test_a_training_leaves_one_finished_run_with_settings_losses_rates_and_the_dice_of_every_validation(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: no training is tracked here")
    files = train(inputs, tmp_path / "trained")
    train(inputs, tmp_path / "trained")  # nothing is left to do, and nothing is recorded
    client, [run] = runs_in(tmp_path)
    assert run.info.status == "FINISHED"
    assert run.data.params["rate"] == "0.001"
    assert run.data.params["published.best_by"] == "mean"
    assert logged(client, run, "loss") == list(enumerate(files.losses, 1))
    assert [step for step, _ in logged(client, run, "lr_group_0")] == list(range(1, 7))
    for name in ("dice", "none", "point", "box"):
        expected = [(row["epoch"], row[name]) for row in files.scores]
        assert logged(client, run, name) == expected, name


def test_a_training_that_was_broken_off_goes_on_in_its_run_and_another_gets_its_own(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: no training is tracked here")
    attach = TrainingFiles.attach

    def attach_and_break(self: TrainingFiles, trainer: Any) -> None:
        attach(self, trainer)

        @trainer.on(Events.ITERATION_COMPLETED(once=4))
        def stop() -> None:
            raise OutputError("The plug was pulled.")

    with monkeypatch.context() as patched:
        patched.setattr(TrainingFiles, "attach", attach_and_break)
        with pytest.raises(OutputError, match="plug"):
            train(inputs, tmp_path / "trained")
    client, [run] = runs_in(tmp_path)
    assert run.info.status == "FAILED"
    train(inputs, tmp_path / "other", rate=2e-3)
    train(inputs, tmp_path / "trained")
    client, (first, second) = runs_in(tmp_path)
    assert (first.info.run_id, first.info.status) == (run.info.run_id, "FINISHED")
    assert (first.data.params["rate"], second.data.params["rate"]) == ("0.001", "0.002")
    assert {step for step, _ in logged(client, first, "loss")} == set(range(1, 7))


def test_what_mlflow_does_not_know_is_told_in_a_sentence(inputs: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: no training is tracked here")
    with pytest.raises(InputError, match="MLflow cannot track at ftp://nowhere; give a folder"):
        train(inputs, tmp_path / "trained", mlflow="ftp://nowhere")


def test_without_mlflow_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    files: Any = SimpleNamespace()
    assert mlflow_handlers(None, files) == []
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(NotInstalledError, match="pip install mlflow"):
        mlflow_handlers("runs", files)


def test_a_folder_gets_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow 3 refuses a folder of files: "MLflow no longer supports the filesystem tracking backend"."""
    library: Any = types.ModuleType("mlflow")
    library.exceptions = SimpleNamespace(MlflowException=OSError)
    monkeypatch.setitem(sys.modules, "mlflow", library)
    monkeypatch.setattr(mlflow_tracking, "TrackedRun", lambda address, files: address)
    files: Any = SimpleNamespace()
    database = f"sqlite:///{(tmp_path / 'runs').as_posix()}/mlflow.db"
    assert mlflow_handlers(str(tmp_path / "runs"), files) == [database]
    assert mlflow_handlers("http://somewhere:5000", files) == ["http://somewhere:5000"]
    assert (tmp_path / "runs").is_dir()


def test_a_run_has_the_name_of_its_folder_and_settings(tmp_path: Path) -> None:
    name = run_name(tmp_path / "trained", {"rate": 1})
    assert name.startswith("trained-")
    assert name == run_name(tmp_path / "trained", {"rate": 1})
    others = (run_name(tmp_path / "trained", {"rate": 2}), run_name(tmp_path / "x" / "trained", {"rate": 1}))
    assert name not in others
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}
