"""MLflow's record of a training: one run for an output folder and its settings, however often it is taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MLFlowHandler

from adaptsam.errors import InputError, NotInstalledError
from adaptsam.finetune.training_state import TrainingFiles

EXPERIMENT = "adaptsam"


class TrackedRun(MLFlowHandler):
    """MONAI's handler for MLflow, with the settings, the Dice of each validation and an end.

    MONAI's own leaves the run RUNNING for ever, goes on with any such run of the same place, and sees no validation.
    Attach it after the files, and before a StatsHandler, which is told of an error and raises it.

    Args:
        address: of MLflow's tracking, with its scheme.
        files: of the training: its folder, settings and evaluator.
    """

    def __init__(self, address: str, files: TrainingFiles) -> None:
        super().__init__(
            address,
            experiment_name=EXPERIMENT,
            run_name=run_name(files.folder, files.settings),
            experiment_param=flat(files.settings),
            output_transform=lambda output: {"loss": output["loss"]},
            epoch_log=False,
            close_on_complete=True,
        )
        self.evaluator = files.evaluator

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)
        self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._validated)

    def start(self, engine: Engine) -> None:
        if engine.should_terminate:  # the training had ended before
            return
        super().start(engine)
        if engine.state.iteration == 0:
            self._validated(self.evaluator)

    def _validated(self, evaluator: SupervisedEvaluator) -> None:
        if self.cur_run and evaluator.state.metrics:
            self._log_metrics(evaluator.state.metrics, step=evaluator.state.epoch)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        if self.cur_run:
            self.client.set_terminated(self.cur_run.info.run_id, "FAILED")


def mlflow_handlers(tracking: str | None, files: TrainingFiles) -> list[TrackedRun]:
    """The handler for MLflow, where a tracking folder or address is given.

    A folder gets a database, ``mlflow.db``: MLflow keeps no runs in files since its version 3.

    Raises:
        NotInstalledError: mlflow is missing.
        InputError: MLflow does not know what is at the address.
    """
    if tracking is None:
        return []
    try:
        import mlflow
    except ImportError:
        raise NotInstalledError("Tracking by MLflow needs mlflow; run: pip install mlflow.") from None
    if "://" not in tracking:
        folder = Path(tracking).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        tracking = f"sqlite:///{folder.as_posix()}/mlflow.db"
    try:
        return [TrackedRun(tracking, files)]
    except (ValueError, mlflow.exceptions.MlflowException) as error:
        raise InputError(f"MLflow cannot track at {tracking}; give a folder, or the address of a server.") from error


def run_name(folder: Path, settings: Mapping[str, Any]) -> str:
    """The folder's name, and six digits of its path and the settings: what is stopped and taken up again is one run."""
    told = json.dumps([str(folder.absolute()), settings], sort_keys=True)
    return f"{folder.absolute().name}-{hashlib.sha256(told.encode()).hexdigest()[:6]}"


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in one level, with dots between the names, as MLflow's parameters are."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[key] = value
    return found
