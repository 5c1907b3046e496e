"""State and results of a training in its folder, written whole or not at all, from which it can go on.

MONAI's CheckpointSaver overwrites its files in place, so that a kill in that moment loses both versions; and it keeps
no more than weights need. Files: ``state.pt`` to go on from, ``curves.json``, ``best.adapter.safetensors`` and
``last.adapter.safetensors`` (every trained tensor), ``split.json`` (which case was in which part), ``card.md``, and
where the tuning can be merged into one, plain SAMs: ``best.safetensors`` from the first validation on, whole at any
moment, and ``last.safetensors`` at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import EarlyStopHandler
from torch import nn

from adaptsam.errors import InputError, OutputError
from adaptsam.finetune.adapter_file import load_adapter, save_adapter
from adaptsam.finetune.distributed import Processes
from adaptsam.finetune.epoch_order import EpochOrder
from adaptsam.finetune.lora import trained_tensors
from adaptsam.finetune.model_card import model_card
from adaptsam.finetune.monai_engine import not_finite
from adaptsam.finetune.tuning import Tuning
from adaptsam.sam import SamModel, save_checkpoint
from adaptsam.sam.safe_pickle import load_pickled
from adaptsam.storage.atomic_files import replacing

STATE, CURVES, SPLIT, CARD = "state.pt", "curves.json", "split.json", "card.md"
BEST, LAST = "best", "last"
_VERSION = 2


class TrainingFiles:
    """A handler for a SupervisedTrainer; attach it after the handler that validates.

    Args:
        folder: where the files lie; one that holds a state is gone on from.
        base: the model that the training starts from.
        tuning: how it is trained.
        network: the :class:`~.interactive.TrainableSam` that is trained, or it in a wrapper for several processes.
        optimizer: of the training.
        scheduler: of its learning rate.
        evaluator: whose key metric says which model is best.
        order: of the samples.
        settings: JSON; everything that decides what comes out. A state of other settings is refused.
        early_stop: its count is kept too.
        every: iterations after which the state is kept, beside each epoch's end; 0 for none.
        cases: by part, for ``split.json``, as ``split=FILE`` takes it.
        processes: that train together; the first one writes.
    """

    def __init__(
        self,
        folder: str,
        base: SamModel,
        tuning: Tuning,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        evaluator: SupervisedEvaluator,
        order: EpochOrder,
        settings: Mapping[str, Any],
        early_stop: EarlyStopHandler | None = None,
        every: int = 0,
        cases: Mapping[str, Sequence[str]] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.folder, self.base, self.tuning = Path(folder), base, tuning
        self.sam = getattr(network, "module", network).sam
        self.optimizer, self.scheduler, self.evaluator = optimizer, scheduler, evaluator
        self.order, self.early_stop, self.every = order, early_stop, every
        described = {**settings, "base": base.sha256, "tuning": tuning.to_dict()}
        self.settings: dict[str, Any] = json.loads(json.dumps(described, default=str))
        self.cases = {part: list(names) for part, names in (cases or {}).items()}
        self.writes = processes is None or processes.first
        self.losses: list[float] = []
        self.scores: list[dict[str, float]] = []
        self.finished = False
        self._curves: str | None = None

    def attach(self, trainer: SupervisedTrainer) -> None:
        trainer.add_event_handler(Events.STARTED, self._resume)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        trainer.add_event_handler(Events.COMPLETED, self._completed)

    def _resume(self, trainer: SupervisedTrainer) -> None:
        if self.writes:
            for left in self.folder.glob(".*.part"):  # of a process that was killed while it wrote
                left.unlink()
        self._curves = self._curves_there()
        path = self.folder / STATE
        if not path.is_file():
            self._measure_before(trainer)
            return
        try:
            state: Any = load_pickled(path)
        except Exception as error:  # whatever a damaged pickle raises
            raise InputError(f"{path} is damaged; delete it to begin again.") from error
        self._check(state, path)
        parameters = trained_tensors(self.sam)
        for name, tensor in state["network"].items():
            parameters[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        trainer.load_state_dict(state["trainer"])
        self.losses, self.scores, self.finished = state["losses"], state["scores"], state["finished"]
        self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = state["best"]
        stop = None if self.early_stop is None else self.early_stop._handler
        if stop is not None and state["early_stop"] is not None:
            stop.load_state_dict(state["early_stop"])
        self.order.skip = _inside_epoch(trainer) * (getattr(trainer.data_loader, "batch_size", None) or 1)
        if self.finished:
            trainer.terminate()

    def _measure_before(self, trainer: SupervisedTrainer) -> None:
        """The score of the model as it is, for epoch 0: the best so far, with an adapter that changes nothing."""
        evaluator = self.evaluator
        # MONAI validates twice where epoch 0 is to be validated: from -1 up to the least number of epochs, 1.
        evaluator.add_event_handler(Events.EPOCH_COMPLETED(once=1), evaluator.terminate)
        evaluator.run(0)
        self._score(trainer)

    def _check(self, state: Mapping[str, Any], path: Path) -> None:
        if not isinstance(state, Mapping) or state.get("version") != _VERSION:
            raise InputError(f"{path} was written by another version of AdaptSAM; give another output_dir.")
        before, now = state["settings"], self.settings
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if changed:
            told = ", ".join(f"{key} {before.get(key)} → {now.get(key)}" for key in changed)
            raise InputError(
                f"The training in {self.folder} was begun with other settings ({told}); give the same ones, or another "
                "output_dir."
            )

    def _iteration(self, trainer: SupervisedTrainer) -> None:
        output: Any = trainer.state.output
        self.losses.append(output["loss"])
        if self.every and _inside_epoch(trainer) and trainer.state.iteration % self.every == 0:
            self._check_alone()
            self._keep(trainer)

    def _epoch(self, trainer: SupervisedTrainer) -> None:
        self._check_alone()
        last = trainer.state.epoch == trainer.state.max_epochs
        if last and self.evaluator.state.epoch != trainer.state.epoch:  # no multiple of the interval
            self.evaluator.run(trainer.state.epoch)
        self._score(trainer)
        self.finished = last or bool(trainer.should_terminate)
        self._keep(trainer)

    def _score(self, trainer: SupervisedTrainer) -> None:
        measured = self.evaluator.state
        if measured.epoch == trainer.state.epoch:
            self.scores.append({"epoch": trainer.state.epoch, **{k: float(v) for k, v in measured.metrics.items()}})
            if measured.best_metric_epoch == trainer.state.epoch:
                self._save_adapter(BEST, trainer)
                self.save_models((BEST,))
                self._describe()

    def _keep(self, trainer: SupervisedTrainer) -> None:
        if not self.writes:
            return
        self._check_finite(trainer)
        stop = None if self.early_stop is None else self.early_stop._handler
        state = {
            "version": _VERSION,
            "settings": self.settings,
            "network": trained_tensors(self.sam),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "trainer": {key: getattr(trainer.state, key) for key in ("iteration", "epoch_length", "max_epochs")},
            "best": (float(self.evaluator.state.best_metric), int(self.evaluator.state.best_metric_epoch)),
            "early_stop": dict(stop.state_dict()) if stop is not None else None,
            "losses": self.losses,
            "scores": self.scores,
            "finished": self.finished,
        }
        curves = {"settings": self.settings, "losses": self.losses, "scores": self.scores}
        self._curves = json.dumps(curves, indent=1) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / STATE) as temporary:
                torch.save(state, temporary)
            with replacing(self.folder / CURVES) as temporary:
                temporary.write_text(self._curves, encoding="utf-8")
        except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError on a full disk
            raise OutputError(
                f"The state of the training cannot be written to {self.folder} ({_reason(error)}); what was kept "
                "before is whole: make room, and give the same command again."
            ) from error

    def _completed(self, trainer: SupervisedTrainer) -> None:
        if self.losses and self.writes:
            self._save_adapter(LAST, trainer)
            self.save_models()

    def save_models(self, names: Sequence[str] = (BEST, LAST)) -> None:
        """Write the plain SAMs of the adapters that are kept, if the tuning can be merged into one."""
        for name in names if self.writes else ():
            adapter = self.folder / f"{name}.adapter.safetensors"
            if not adapter.is_file():
                continue
            model = load_adapter(adapter, self.base)
            if not any(".adapter." in key for key, _ in model.sam.named_parameters()):
                file = self.folder / f"{name}.safetensors"
                about = {"trained": self.settings, "scores": self.scores}
                save_checkpoint(file, model.sam, model.config, kind=model.kind, dtype=torch.float32, metadata=about)

    def _describe(self) -> None:
        """The split, and a card that says what the best model is."""
        if not self.writes:
            return
        try:
            if self.cases:
                with replacing(self.folder / SPLIT) as temporary:
                    temporary.write_text(json.dumps(self.cases, indent=1) + "\n", encoding="utf-8")
            with replacing(self.folder / CARD) as temporary:
                temporary.write_text(model_card(self.settings, self.scores, self.cases), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"The card cannot be written to {self.folder} ({_reason(error)}).") from error

    def _curves_there(self) -> str | None:
        path = self.folder / CURVES
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def _check_alone(self) -> None:
        """Two trainings in one folder would take each other's files; who comes second stops."""
        if self.writes and self._curves_there() not in (None, self._curves):
            raise OutputError(
                f"Another training has written to {self.folder} meanwhile, and its files are left as they are; give "
                "this one another output_dir."
            )

    def _check_finite(self, trainer: SupervisedTrainer) -> None:
        """A finite loss can have gradients that are not; what they leave must not replace the last good state."""
        if not all(torch.isfinite(tensor).all() for tensor in trained_tensors(self.sam).values()):
            raise not_finite("Weights are", trainer)

    def _save_adapter(self, name: str, trainer: SupervisedTrainer) -> None:
        if self.writes:
            about = {"settings": self.settings, "epoch": trainer.state.epoch, "scores": self.scores[-1:]}
            path = self.folder / f"{name}.adapter.safetensors"
            save_adapter(path, self.sam, self.tuning, self.base.sha256, about)


def _reason(error: Exception) -> str:
    """Reason in words; PyTorch's writer only says at which byte it ended."""
    return (isinstance(error, OSError) and error.strerror) or "the disk is full or gone"


def _inside_epoch(trainer: SupervisedTrainer) -> int:
    """Iterations of the unfinished epoch that are done."""
    assert trainer.state.epoch_length is not None
    return int(trainer.state.iteration % trainer.state.epoch_length)
