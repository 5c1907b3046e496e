"""Session of the worker: its requests, and the models, embeddings and runs that it remembers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakSet

import torch

from adaptsam import __version__
from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.propagation.slice_correction import correct_slice, follow_slice
from adaptsam.propagation.volume_propagation import PropagationSettings, Propagator
from adaptsam.sam import EmbeddingStore, SamModel, lasting_store, load_sam
from adaptsam.sam.checkpoint import BUNDLED, bundled_checkpoint
from adaptsam.sam.weights_catalogue import catalogue
from adaptsam.slicewise.target_visit import TargetVisit
from adaptsam.worker import memory
from adaptsam.worker import result_messages as messages
from adaptsam.worker import wire_format as wire
from adaptsam.worker.agent_requests import AgentRequests
from adaptsam.worker.recent_runs import LastRuns, asked_settings, tell_model
from adaptsam.worker.result_messages import Emit
from adaptsam.worker.run_events import Steps
from adaptsam.worker.sample_data import sample
from adaptsam.worker.storage_requests import clear_weights, fetch_weights, kept
from adaptsam.worker.training_requests import TrainingRequests
from adaptsam.worker.video_requests import VideoRequests

#: Bytes of embeddings beside the images where none outlive the window.
KEPT_BYTES = 6 * 10**9


@dataclass(eq=False)
class Run:
    """A prior, and the targets it was carried to, by the keys that the client gave them."""

    visits: dict[str, TargetVisit] = field(default_factory=dict)


class Session:
    """Answers requests, one at a time.

    Args:
        folder: where images are exchanged; the client owns it. Embeddings lie there only where none are to be kept
            between runs, so that a worker that had to be ended has a successor that goes on from them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[tuple[str | None, str], EmbeddingStore] = {}
        self._loaded: WeakSet[SamModel] = WeakSet()
        self._resting = False
        self._runs: LastRuns[Run] = LastRuns()
        self._jobs: dict[str, Callable[[wire.Message, Emit, Callable[[], None]], None]] = {
            "hello": self._hello,
            "propagate": self._propagate,
            "correct": self._correct,
            "follow": self._follow,
            "sample": self._sample,
        }
        agents = AgentRequests(self)
        self._videos = VideoRequests(self)
        self._jobs |= {"agents": agents.agents, "autoprompt": agents.autoprompt, "go_on": agents.go_on}
        self._jobs |= {"fetch_weights": fetch_weights, "clear_weights": clear_weights, "kept": kept}
        self._jobs |= {"write_structures": _write_structures}
        self._jobs |= {"track": self._videos.track, "train": TrainingRequests(self).train}

    def answer(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Do the request; ``check`` raises Cancelled where it was cancelled."""
        job = self._jobs.get(request["do"])
        if job is None:
            raise InputError(f"This worker (AdaptSAM {__version__}) does not know {request['do']!r}; update AdaptSAM.")
        if self._resting:
            self._place(False)
        job(request, emit, check)

    def rest(self) -> None:
        """Rest between requests: models leave their GPU, and come back for the next request."""
        self._place(True)

    def _place(self, resting: bool) -> None:
        """Models in the machine's memory, or on their device; those of runs that are remembered, too."""
        self._resting = resting
        for model in self._loaded:
            model.sam.to("cpu" if resting else model.device)
        if resting and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _hello(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Greeting: version, device and models."""
        if request.get("protocol", wire.PROTOCOL) != wire.PROTOCOL:
            raise InputError("The window and its worker are of different versions; install AdaptSAM anew.")
        emit("hello", version=__version__, pid=os.getpid(), devices=memory.devices(), models=list(_models()))

    def _propagate(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Carry structures; tells "progress", "partial" and, for each target, "result"."""
        settings = asked_settings(request, PropagationSettings())
        prior = self.volume(request["prior"])
        structures = StructureSet(
            tuple(Structure(one["name"], wire.unpack_mask(one["mask"])) for one in request["structures"]),
            prior.geometry,
        )
        targets = request["targets"]
        steps = Steps(emit, check, len(targets))
        store = self.store(request.get("checkpoint"), request.get("device", "auto"), prior.array.nbytes)
        tell_model(emit, store)
        propagator = Propagator(
            prior, structures, store=store, settings=settings, progress=steps, registrations=store.folder
        )
        run = Run()
        for number, target in enumerate(targets):
            steps.begin(number)
            volume = self.volume(target)
            propagation, visit = propagator.carry(volume, watch=steps.watch)
            run.visits[target["key"]] = visit
            emit("result", target=target["key"], **messages.result_of(propagation))
        self._runs[request["run"]] = run  # not before: what was cancelled must not put out what can be corrected

    def _correct(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """One slice from other prompts."""
        if request["run"] in self._videos:
            self._videos.correct(request, emit, check)
            return
        visit = self._visit(request)
        points, labels, clicked = messages.asked_prompts(request)
        made = correct_slice(visit, request["structure"], int(request["index"]), points, labels, clicked)
        emit("slice", **messages.slice_of(made))

    def _follow(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Other slices from one that was drawn."""
        if request["run"] in self._videos:
            self._videos.follow(request, emit, check)
            return
        visit = self._visit(request)
        mask, index = wire.unpack_mask(request["mask"]), int(request["index"])
        for wanted in request["indices"]:
            check()
            for made in follow_slice(visit, request["structure"], index, mask, [int(wanted)]):
                emit("slice", **messages.slice_of(made))

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

    def volume(self, described: wire.Message) -> Volume:
        """An image that the client described; its file is taken, so an image can be requested once."""
        array = wire.take_array(self._folder, described["array"])
        grid = described["geometry"]
        geometry = Geometry(
            (int(grid["shape"][0]), int(grid["shape"][1]), int(grid["shape"][2])),
            tuple(map(float, grid["spacing"])),  # type: ignore[arg-type]
            tuple(map(float, grid["origin"])),  # type: ignore[arg-type]
            tuple(map(float, grid["direction"])),
        )
        return Volume(array, geometry, described.get("modality", ""))

    def store(self, checkpoint: str | None, device: str, images_bytes: int) -> EmbeddingStore:
        """The store of a model, which is loaded where it is not here; one model at a time is kept.

        ``device`` is a name of :func:`.memory.devices`, or "auto".
        """
        key = (checkpoint, device)
        if key not in self._stores:
            self._stores.clear()
            memory.check_memory(device, memory.needed_bytes(_file(checkpoint), 4 * images_bytes))
            place, precision = memory.device_and_precision(device)
            model = load_sam(checkpoint, place, precision=precision)
            self._loaded.add(model)
            beside = self._folder / "embeddings"
            self._stores[key] = lasting_store(model) or EmbeddingStore(model, folder=beside, disk_bytes=KEPT_BYTES)
        return self._stores[key]


def _write_structures(request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
    """Write an RTSTRUCT; what that needs is imported when it is requested, because runs do without."""
    try:
        importlib.import_module("pydicom.pixels")  # there since pydicom 3
        from adaptsam.worker.structure_sets import write_structures
    except ImportError as error:
        raise InputError(
            "Writing an RTSTRUCT here needs pydicom 3 and contourpy; export it with SlicerRT (right click in the Data "
            "module), or use Slicer 5.12."
        ) from error
    write_structures(request, emit, check)


def _models() -> Iterable[dict[str, object]]:
    """Models to choose from: the bundled one, and those of the catalogue, here or not."""
    file = bundled_checkpoint()
    yield {
        "name": None,
        "label": "Lite, the model that comes with AdaptSAM",
        "here": True,
        "needed": memory.needed_bytes(file),
        "card": "Small and quick: trained on open CT, MR and endoscopy, and on synthetic images. No clinical model.",
        "licence": "CC BY-SA 4.0",
        "precisions": memory.precisions("lite"),
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
            "bytes": known.fingerprint.size,
            "fetchable": known.url is not None,
            "precisions": memory.precisions(known.kind),
        }


def _file(checkpoint: str | None) -> Path:
    if checkpoint is None:
        return bundled_checkpoint()
    if checkpoint in BUNDLED and not Path(checkpoint).exists():
        return bundled_checkpoint(checkpoint)
    known = catalogue().get(checkpoint)
    path = known.path if known is not None and not Path(checkpoint).exists() else Path(checkpoint)
    if not path.is_file():
        load_sam(checkpoint, "cpu")  # says in its own words what is missing
    return path
