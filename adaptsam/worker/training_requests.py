"""Requests about training an agent: from volumes or a folder, with live curves; a stopped one goes on later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from adaptsam.alignsam import AlignSamSettings, Shown, Target
from adaptsam.alignsam.agent_folders import own_agent
from adaptsam.alignsam.agent_listing import described
from adaptsam.errors import InputError
from adaptsam.image.terminology import own_code
from adaptsam.image.volume import Structure
from adaptsam.worker import wire_format as wire
from adaptsam.worker.agent_requests import Home
from adaptsam.worker.recent_runs import asked_settings, tell_model
from adaptsam.worker.remaining_time import Clock
from adaptsam.worker.result_messages import Emit

if TYPE_CHECKING:
    from adaptsam.autoprompting.agent_training import Teaching
    from adaptsam.autoprompting.training_volumes import TaughtVolume

#: What encoding takes of a training's time, about.
_ENCODING = 0.1


class TrainingRequests:
    """The worker's answers about training."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def train(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Train an agent: tells "progress", "curve" after every episode, and "trained" at the end, with the agent and
        "warnings" against what it was made from.

        The state after every episode lies beside the agent's file, so that the same request goes on after a stop;
        with ``anew`` it is removed first.
        """
        # needs torchrl, which using agents does not
        from adaptsam.autoprompting.agent_training import AgentTraining, doubts

        settings = asked_settings(request, AlignSamSettings(branch=request.get("branch", "implicit")))
        output = own_agent(request["name"])
        if output.exists() and not request.get("overwrite"):
            raise InputError(f"There is an agent {request['name']} already; choose another name, or say to replace it.")
        volumes = self._volumes(request)
        largest = max((one.volume.array.nbytes for one in volumes), default=0)
        store = self._home.store(request.get("checkpoint"), request.get("device", "auto"), largest)
        tell_model(emit, store)
        data, components = _data(request, volumes, store.model.image_size)
        training = AgentTraining(
            data,
            _target(request, components),
            settings,
            output,
            modality=request.get("modality", ""),
            text=request.get("text", "") if settings.branch == "explicit" else "",
            clip=request.get("clip") or None,
            device=str(store.model.device),
            overwrite=bool(request.get("overwrite", False)),
        )
        if request.get("anew"):
            training.unfinished.unlink(missing_ok=True)
        told = _Told(emit, check)
        package = training.run(
            told,
            lambda: store,
            lambda trained: emit(
                "curve", episodes=[asdict(one) for one in trained.history], total=settings.training.episodes
            ),
        )
        held = package.training["held_back"]
        warnings = doubts(package.training["images"], held)
        emit("trained", agent=described(request["name"], output), held_back=held, warnings=warnings)

    def _volumes(self, request: wire.Message) -> list[TaughtVolume]:
        from adaptsam.autoprompting.training_volumes import TaughtVolume

        found = []
        for number, one in enumerate(request.get("volumes", ())):
            patient = one.get("patient", f"patient {number + 1}")
            found.append(TaughtVolume(one["title"], self._home.volume(one), wire.unpack_mask(one["mask"]), patient))
        return found


def _data(request: wire.Message, volumes: Sequence[TaughtVolume], image_size: int) -> tuple[Teaching, int]:
    """Training data, and the number of parts that the target has there."""
    images, seed = int(request.get("images", 50)), int(request.get("seed", 0))
    if request.get("folder") is not None:
        from adaptsam.autoprompting.agent_training import TrainingData

        return TrainingData(**request["folder"], images=images, seed=seed), int(request.get("components") or 1)
    from adaptsam.autoprompting.training_volumes import VolumeData

    color = bool(volumes) and volumes[0].volume.array.ndim == 4
    window = request.get("window", "auto")
    like = Shown(
        window if isinstance(window, str) else (float(window[0]), float(window[1])),
        "full" if color else "body",
        modality=request.get("modality", "").upper(),
        color=color,
    )
    data = VolumeData(volumes, like, image_size, images, seed)
    return data, int(request.get("components") or data.components)


class _Told:
    """The progress of a training, each state once."""

    def __init__(self, emit: Emit, check: Callable[[], None]) -> None:
        self._emit, self._check = emit, check
        self._clock = Clock(1)
        self._last: tuple[object, ...] = ()

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._check()
        if (stage, done, total) == self._last:
            return
        self._last = (stage, done, total)
        part = done / total if total else 0.0
        share = {"train": _ENCODING + (1 - _ENCODING) * part, "encode": _ENCODING * part}.get(stage, 0.0)
        left = self._clock.remaining(share) if stage == "train" else None
        self._emit("progress", stage=stage, target=0, done=done, total=total, share=share, remaining=left)


def _target(request: wire.Message, components: int) -> Target:
    """Target of the agent, with the standard code of the segment or else of its name, where there is one."""
    name = str(request.get("target") or request["name"])
    plain = Structure(name, np.zeros((0, 0, 0), bool))
    termed = replace(plain, tags={"TerminologyEntry": request.get("terminology", "")})
    return Target(name, own_code(termed) or own_code(plain), components)
