"""One case, all methods: what a single machine does one after the other, and each worker of a cluster for itself."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.alignsam import Shown
from adaptsam.autoprompting.text_maps import attention_of, clip_record
from adaptsam.errors import AdaptSAMError, Cancelled, NotInstalledError
from adaptsam.evaluation.evaluation_cases import PictureTask, StudyCase, VolumeTask
from adaptsam.evaluation.methods import (
    Domain,
    Extras,
    Found,
    Method,
    NotApplicable,
    Workbench,
    fingerprint,
    make_methods,
)
from adaptsam.evaluation.worst_cases import draw_picture, draw_volume
from adaptsam.image.remarks import warnings_of
from adaptsam.metrics.image_metrics import Counts
from adaptsam.metrics.volume_metrics import compare, slice_dice
from adaptsam.metrics.volume_metrics import dice as dice_of
from adaptsam.sam import EmbeddingStore, Precision, SamModel, load_sam
from adaptsam.storage.disk_cache import KeptFolder

_log = logging.getLogger(__name__)

Record = dict[str, Any]


@dataclass(frozen=True)
class ModelSource:
    """Source of a worker's model; the fields are :func:`adaptsam.sam.load_sam`'s."""

    path: str | None = None
    device: str = "auto"
    kind: str | None = None
    reapply_lora: bool = False
    precision: Precision = "auto"

    def load(self) -> SamModel:
        return load_sam(
            self.path, self.device, kind=self.kind, reapply_lora=self.reapply_lora, precision=self.precision
        )


@dataclass(frozen=True)
class Setting:
    """Setting of a worker besides model and cases: the methods, and their training images."""

    methods: tuple[str, ...]
    extras: Extras = field(default_factory=Extras)
    domain: Domain = "medical"
    modality: str = ""
    training: tuple[Any, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True, eq=False)
class CaseResult:
    """Result of one case.

    Attributes:
        record: JSON, as it is kept: "case", "error" for a case that cannot be read, "problems", and by method "items"
            and "seconds", or why there are none ("not_applicable", "not_installed", "failed").
        pictures: by method, how good the worst item is, what it is called, and the picture of it as JPEG.
    """

    record: Record
    pictures: dict[str, tuple[float, str, bytes]]


class Worker:
    """Prepares the methods once, then evaluates cases.

    Args:
        model: for all methods.
        setting: which methods, and what they learn from.
    """

    def __init__(self, model: SamModel, setting: Setting) -> None:
        self.model, self._setting = model, setting
        self._attention, self._clip_name = _attention(setting, model)
        self.methods: dict[str, Method] = {one.name: one for one in make_methods(setting.methods, setting.extras)}
        self.unable: dict[str, NotApplicable | NotInstalledError] = {}
        self._bench = self._make_bench()  # one, so that a picture which all cases are shown is encoded once
        with self._images_on_disk():
            for method in self.methods.values():
                try:
                    method.prepare(self._bench)
                except (NotApplicable, NotInstalledError) as reason:
                    self.unable[method.name] = reason

    def run(self, case: StudyCase, names: Sequence[str]) -> CaseResult:
        """Evaluate some of the methods on a case; nothing but a cancellation is raised."""
        record: Record = {"case": case.name, "problems": list(case.problems), "methods": {}}
        try:
            # What no method can be asked need not be read.
            tasks = case.tasks() if set(names) - set(self.unable) else ()
            with self._images_on_disk():
                return self._run(record, tasks, names, case.version)
        except Cancelled:
            raise
        except AdaptSAMError as error:
            return lost_case(case, names, str(error))
        except Exception as error:
            _log.exception("The case %s failed.", case.name)
            return lost_case(case, names, f"It failed ({type(error).__name__}).")

    def _run(self, record: Record, tasks: Any, names: Sequence[str], version: str) -> CaseResult:
        rows = {name: _Row(self.methods[name], self.unable.get(name), version) for name in names}
        pictures: list[PictureTask] = []
        for task in tasks:
            if isinstance(task, PictureTask):
                pictures.append(task)
                continue
            said = (*record["problems"], *unscored(task), *said_by_readers(task))
            record["problems"] = list(dict.fromkeys(said))  # tasks of a case share files
            for row in rows.values():
                row.volume(self._bench, task)
            del task
        if pictures:
            for row in rows.values():
                row.pictures(self._bench, pictures)
        record["methods"] = {name: row.record for name, row in rows.items()}
        worst = {name: row.worst for name, row in rows.items() if row.worst is not None}
        drawn = {name: (score, label, draw()) for name, (score, label, draw) in worst.items()}
        return CaseResult(record, drawn)

    @contextmanager
    def _images_on_disk(self) -> Iterator[None]:
        """While a case lasts, its images are kept on disk as well: none is encoded twice, however many there are."""
        store = self._bench.store
        with tempfile.TemporaryDirectory(prefix="adaptsam-", ignore_cleanup_errors=True) as folder:
            store.folder = KeptFolder(folder, None)
            try:
                yield
            finally:
                store.folder = None

    def _make_bench(self) -> Workbench:
        given = self._setting
        return Workbench(
            EmbeddingStore(self.model),
            domain=given.domain,
            training=given.training,
            folder=given.folder,
            text=given.extras.text,
            attention=self._attention,
            clip_name=self._clip_name,
        )


class _Row:
    """One method on one case."""

    def __init__(self, method: Method, unable: AdaptSAMError | None, version: str) -> None:
        self.method = method
        self.record: Record = {"settings": fingerprint(method), "version": version, "items": [], "seconds": 0.0}
        if unable is not None:
            self._leave_empty(unable)
        self.worst: tuple[float, str, Callable[[], bytes]] | None = None

    def pictures(self, bench: Workbench, tasks: Sequence[PictureTask]) -> None:
        masks = self._asked(lambda: self.method.pictures(bench, [task.pair for task in tasks]))
        for task, mask in zip(tasks, masks or (), strict=False):
            counts = Counts.of(mask, task.truth, task.counted)
            self._add(picture_item(task, counts), counts.dice, partial(draw_picture, task, mask))

    def volume(self, bench: Workbench, task: VolumeTask) -> None:
        found = self._asked(lambda: self.method.volume(bench, task.pair))
        for name, one in (found or {}).items():
            item = volume_item(task, name, one)
            if item is not None:
                score = 1.0 if item["dice"] is None else item["dice"]
                self._add(item, score, partial(draw_volume, task, name, one.mask))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        if any(why in self.record for why in ("not_applicable", "not_installed", "failed")):
            return None
        started = time.perf_counter()
        try:
            return ask()
        except Cancelled:
            raise
        except (NotApplicable, NotInstalledError) as reason:
            self._leave_empty(reason)
        except AdaptSAMError as error:
            self._fail(str(error))
        except Exception as error:
            _log.exception("%s failed.", self.method.title)
            self._fail(f"It failed ({type(error).__name__}).")
        finally:
            self.record["seconds"] = round(self.record["seconds"] + time.perf_counter() - started, 3)
        return None

    def _fail(self, why: str) -> None:
        """Drop the results of a failed case: a case counts whole or not at all."""
        self.record |= {"failed": why, "items": []}
        self.worst = None

    def _leave_empty(self, reason: AdaptSAMError) -> None:
        self.record["not_installed" if isinstance(reason, NotInstalledError) else "not_applicable"] = str(reason)

    def _add(self, item: Record, score: float, draw: Callable[[], bytes]) -> None:
        self.record["items"].append(item)
        if self.worst is None or score < self.worst[0]:
            label = " ".join(str(item[key]) for key in ("name", "structure") if key in item)
            self.worst = (float(score), label, draw)


def lost_case(case: StudyCase, names: Sequence[str], why: str) -> CaseResult:
    """The record of a case that failed, so that its methods run again."""
    rows = {name: {"settings": "", "items": [], "seconds": 0.0, "failed": why} for name in names}
    return CaseResult({"case": case.name, "problems": list(case.problems), "methods": rows, "error": why}, {})


def picture_item(task: PictureTask, counts: Counts) -> Record:
    """The record of one picture."""
    return {
        "name": task.pair.name,
        "group": task.group,
        "counts": [counts.both, counts.ours, counts.theirs, counts.neither],
        "dice": counts.dice,
        "iou": counts.iou,
        "f_beta": counts.f_beta,
        "e_measure": counts.e_measure,
        "mae": counts.mean_absolute_error,
        "ber": counts.balance_error_rate,
    }


def volume_item(task: VolumeTask, name: str, found: Found) -> Record | None:
    """The record of one structure in one target; None where its truth is not known."""
    truth = next((one.mask for one in task.truth.structures if one.name == name), None)
    if truth is None:
        return None
    record: Record = {"name": task.pair.name, "group": task.pair.name, "structure": name}
    if task.scored_by_slice:
        axis = _axis(task)
        value = slice_dice(np.moveaxis(found.mask, axis, 0), np.moveaxis(truth, axis, 0))
        return {**record, "dice": value if math.isfinite(value) else None}
    agreement = compare(found.mask, truth, task.truth.geometry)
    record |= {key: value if math.isfinite(value) else None for key, value in asdict(agreement).items()}
    record["absolute_volume_error"] = abs(agreement.volume_error)
    if found.confidence:
        axis = _axis(task)
        ours, theirs = np.moveaxis(found.mask, axis, 0), np.moveaxis(truth, axis, 0)
        record["confidence"] = [
            [round(float(sure), 4), round(dice_of(ours[k], theirs[k]), 4)]
            for k, sure in sorted(found.confidence.items())
            if ours[k].any()
        ]
    return record


def unscored(task: VolumeTask) -> list[str]:
    """Sentences on the structures whose truth is not known in this target."""
    lacking = (name for name in task.pair.structures.names if name not in task.truth.names)
    return [f"The truth of {task.pair.name} lacks {name}, which is not scored there." for name in lacking]


def said_by_readers(task: VolumeTask) -> list[str]:
    """Sentences on what was left out of the files of a case, or is in doubt."""
    pair = task.pair
    about = {"prior image": pair.prior.remarks, "prior contours": pair.structures.remarks}
    about |= {"target image": pair.target.remarks, "truth": task.truth.remarks}
    return list(warnings_of(about))


def _axis(task: VolumeTask) -> int:
    return task.pair.target_slices.orientation.order[0]


def _attention(setting: Setting, model: SamModel) -> tuple[Any, str]:
    """M_c of images by the given CLIP and the protocol's text, and how an agent's package names that CLIP."""
    given = setting.extras
    if given.clip is None or not given.text:
        return None, ""
    from adaptsam.alignsam.clip import load_clip

    clip = load_clip(given.clip, device=model.device)
    shown = Shown(modality=setting.modality, color=setting.domain == "natural")
    return attention_of(clip, shown, given.text), clip_record(clip)
