"""What the worker can do, and what it remembers between requests: models, embeddings, the last runs."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adaptsam import __version__
from adaptsam.commands.settings import change
from adaptsam.correction import CorrectedSlice, correct_slice, follow_slice
from adaptsam.data.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.errors import InputError
from adaptsam.propagate import Propagation, PropagationSettings, Propagator
from adaptsam.sam import EmbeddingStore, load_sam
from adaptsam.sam.catalogue import catalogue
from adaptsam.sam.checkpoint import bundled_checkpoint
from adaptsam.volumes.report import StructureReport
from adaptsam.volumes.target import TargetVisit
from adaptsam.worker import memory, wire
from adaptsam.worker.clock import Clock
from adaptsam.worker.samples import sample

#: Seconds between two views of a growing result.
PARTIAL_EVERY = 0.5

#: Runs that can still be corrected, and bytes of embeddings that are kept on disk between runs.
KEPT_RUNS, KEPT_BYTES = 3, 6 * 10**9


class Emit(Protocol):
    def __call__(self, event: str, **content: Any) -> None: ...


@dataclass(eq=False)
class Run:
    """A prior, and the targets it was carried to, by the keys that the client gave them."""

    visits: dict[str, TargetVisit] = field(default_factory=dict)


class Session:
    """Answers requests, one at a time.

    Args:
        folder: where images are exchanged and embeddings kept; the client owns it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[tuple[str | None, str], EmbeddingStore] = {}
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._jobs: dict[str, Callable[[wire.Message, Emit, Callable[[], None]], None]] = {
            "hello": self._hello,
            "propagate": self._propagate,
            "correct": self._correct,
            "follow": self._follow,
            "sample": self._sample,
        }

    def answer(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Do what is asked; ``check`` raises Cancelled where it was cancelled."""
        job = self._jobs.get(request["do"])
        if job is None:
            raise InputError(f"This worker (AdaptSAM {__version__}) does not know {request['do']!r}; update AdaptSAM.")
        job(request, emit, check)

    def _hello(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Who is here, on what, with which models."""
        if request.get("protocol", wire.PROTOCOL) != wire.PROTOCOL:
            raise InputError("The window and its worker are of different versions; install AdaptSAM anew.")
        emit("hello", version=__version__, pid=os.getpid(), devices=memory.devices(), models=list(_models()))

    def _propagate(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Carry structures; tells "progress", "partial" and, for each target, "result"."""
        settings = settings_of(request.get("settings", {}))
        prior = self._volume(request["prior"])
        structures = StructureSet(
            tuple(Structure(one["name"], wire.unpack_mask(one["mask"])) for one in request["structures"]),
            prior.geometry,
        )
        targets = request["targets"]
        steps = _Steps(emit, check, len(targets))
        store = self._store(request.get("checkpoint"), request.get("device", "auto"), prior.array.nbytes)
        emit("model", kind=store.model.kind, device=str(store.model.device), sha256=store.model.sha256)
        propagator = Propagator(prior, structures, store=store, settings=settings, progress=steps)
        run = self._runs[request["run"]] = Run()
        while len(self._runs) > KEPT_RUNS:
            self._runs.popitem(last=False)
        for number, target in enumerate(targets):
            steps.begin(number)
            volume = self._volume(target)
            propagation, visit = propagator.carry(volume, watch=steps.watch)
            run.visits[target["key"]] = visit
            emit("result", target=target["key"], **result_of(propagation))
        self._prune()

    def _correct(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """One slice from other prompts."""
        visit = self._visit(request)
        points = np.array(request["points"], float).reshape(-1, 2)
        labels = np.array(request["labels"], int)
        clicked = np.array(request["clicked"], bool) if "clicked" in request else None
        made = correct_slice(visit, request["structure"], int(request["index"]), points, labels, clicked)
        emit("slice", **_slice_of(made))

    def _follow(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Other slices from one that was drawn."""
        visit = self._visit(request)
        mask, index = wire.unpack_mask(request["mask"]), int(request["index"])
        for wanted in request["indices"]:
            check()
            for made in follow_slice(visit, request["structure"], index, mask, [int(wanted)]):
                emit("slice", **_slice_of(made))

    def _sample(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Synthetic images, each as an event with the name of its file."""
        for one in sample(request["name"]):
            check()
            grid = one.volume.geometry
            structures = [
                {"name": s.name, "color": s.color, "mask": wire.pack_mask(s.mask)}
                for s in (one.structures.structures if one.structures else ())
            ]
            emit(
                "image",
                title=one.title,
                label=one.label,
                array=wire.write_array(self._folder, one.volume.array),
                origin=grid.origin,
                spacing=grid.spacing,
                direction=grid.direction,
                modality=one.volume.modality,
                structures=structures,
            )

    def _visit(self, request: wire.Message) -> TargetVisit:
        run = self._runs.get(request["run"])
        if run is None or request["target"] not in run.visits:
            raise InputError("The worker does not remember this run any more; press Apply again, then correct.")
        return run.visits[request["target"]]

    def _volume(self, described: wire.Message) -> Volume:
        array = wire.read_array(self._folder, described["array"])
        grid = described["geometry"]
        geometry = Geometry(
            (int(grid["shape"][0]), int(grid["shape"][1]), int(grid["shape"][2])),
            tuple(map(float, grid["spacing"])),  # type: ignore[arg-type]
            tuple(map(float, grid["origin"])),  # type: ignore[arg-type]
            tuple(map(float, grid["direction"])),
        )
        return Volume(array, geometry, described.get("modality", ""))

    def _store(self, checkpoint: str | None, device: str, images_bytes: int) -> EmbeddingStore:
        """The store of a model, which is loaded where it is not here; one model at a time is kept."""
        key = (checkpoint, device)
        if key not in self._stores:
            self._stores.clear()
            memory.check_memory(device, memory.needed_bytes(_file(checkpoint), 4 * images_bytes))
            self._stores[key] = EmbeddingStore(load_sam(checkpoint, device), folder=self._folder / "embeddings")
        return self._stores[key]

    def _prune(self) -> None:
        """Forget the oldest embeddings on disk where there are too many."""
        with os.scandir(self._folder / "embeddings") as entries:
            files = sorted(((one.stat().st_mtime, one.stat().st_size, one.path) for one in entries), reverse=True)
        held = 0
        for _, size, path in files:
            held += size
            if held > KEPT_BYTES:
                os.unlink(path)


class _Steps:
    """Progress and partial results as events, at most one of a kind per moment."""

    def __init__(self, emit: Emit, check: Callable[[], None], targets: int) -> None:
        self._emit, self._check = emit, check
        self._clock = Clock(targets)
        self._target = 0
        self._partial: dict[tuple[str, int], wire.Message] = {}
        self._told = 0.0
        self._last: tuple[object, ...] = ()

    def begin(self, target: int) -> None:
        self._flush()
        self._target = target

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._check()
        if time.monotonic() - self._told > PARTIAL_EVERY:
            self._flush()
        if (stage, self._target, done, total) == self._last:
            return
        self._last = (stage, self._target, done, total)
        share = self._clock.share(stage, self._target, done, total)
        self._emit(
            "progress",
            stage=stage,
            target=self._target,
            done=done,
            total=total,
            share=share,
            remaining=self._clock.remaining(share),
        )

    def watch(self, structure: str, axis: int, index: int, mask: np.ndarray) -> None:
        self._partial[structure, index] = {
            "structure": structure,
            "axis": axis,
            "index": index,
            "mask": wire.pack_mask(mask),
        }

    def _flush(self) -> None:
        self._told = time.monotonic()
        if self._partial:
            self._emit("partial", target=self._target, slices=list(self._partial.values()))
            self._partial.clear()


def settings_of(changes: Mapping[str, Any]) -> PropagationSettings:
    """The default with some settings changed, by dotted names; lists stand for tuples, as JSON has none."""
    settings = PropagationSettings()
    for name, value in changes.items():
        settings = change(settings, name, tuple(value) if isinstance(value, list) else value)
    return settings


def result_of(propagation: Propagation) -> wire.Message:
    """One target's structures and reports as a message."""
    masks = [wire.pack_mask(one.mask) for one in propagation.structures.structures]
    return {
        "structures": [
            {"name": report.name, "mask": mask, "report": _report_of(report)}
            for mask, report in zip(masks, propagation.reports, strict=True)
        ],
        "warnings": list(propagation.warnings),
        "encoded": propagation.encoded,
    }


def _report_of(report: StructureReport) -> wire.Message:
    return {
        "status": report.status,
        "volume_cm3": report.volume_cm3,
        "prior_volume_cm3": report.prior_volume_cm3,
        "centroid_shift_mm": report.centroid_shift_mm,
        "slice_axis": report.slice_axis,
        "slices": [
            {
                "index": one.index,
                "accepted": one.accepted,
                "interpolated": one.interpolated,
                "touches_limit": one.touches_limit,
                "confidence": float(one.confidence),
                "points": np.asarray(one.points, float).round(3).tolist(),
                "labels": np.asarray(one.labels, int).tolist(),
            }
            for one in report.slices
        ],
    }


def _slice_of(made: CorrectedSlice) -> wire.Message:
    return {
        "axis": made.axis,
        "index": made.index,
        "mask": wire.pack_mask(made.mask),
        "points": np.asarray(made.points, float).round(3).tolist(),
        "labels": np.asarray(made.labels, int).tolist(),
        "confidence": float(made.confidence),
    }


def _models() -> Iterable[dict[str, object]]:
    """What can be chosen: the bundled model, and those of the catalogue, here or not."""
    file = bundled_checkpoint()
    yield {
        "name": None,
        "label": "Small model that comes with AdaptSAM",
        "here": True,
        "needed": memory.needed_bytes(file),
        "card": "A demonstration: 256 pixels, trained on synthetic CT of the thorax alone. It has seen no real image.",
        "licence": "Apache-2.0",
    }
    for known in catalogue().values():
        here = known.path.is_file()
        yield {
            "name": known.name,
            "label": known.original,
            "here": here,
            "needed": memory.needed_bytes(known.path) if here else None,
            "card": f"{known.purpose}. {known.page}",
            "licence": known.licence,
        }


def _file(checkpoint: str | None) -> Path:
    if checkpoint is None:
        return bundled_checkpoint()
    known = catalogue().get(checkpoint)
    path = known.path if known is not None and not Path(checkpoint).exists() else Path(checkpoint)
    if not path.is_file():
        load_sam(checkpoint, "cpu")  # says in its own words what is missing
    return path
