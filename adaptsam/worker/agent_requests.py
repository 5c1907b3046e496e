"""Requests about agents: lists them, runs them, and goes on from changed prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from adaptsam.alignsam import Package, load_agent
from adaptsam.alignsam.agent_folders import find_agent, unfinished_agents
from adaptsam.alignsam.agent_listing import list_agents
from adaptsam.autoprompting.agent_batches import TextMaps
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.prompt_replay import replay_from
from adaptsam.autoprompting.prompt_steps import PlayedSlice
from adaptsam.autoprompting.text_maps import text_maps
from adaptsam.autoprompting.volume_autoprompting import autoprompt
from adaptsam.errors import InputError
from adaptsam.image.region_of_interest import region
from adaptsam.image.volume import Volume
from adaptsam.sam import EmbeddingStore
from adaptsam.worker import result_messages as messages
from adaptsam.worker import wire_format as wire
from adaptsam.worker.recent_runs import LastRuns, asked_settings, tell_model
from adaptsam.worker.result_messages import Emit
from adaptsam.worker.run_events import Steps


class Home(Protocol):
    """The session's images that arrived, and its models with their embeddings."""

    def volume(self, described: wire.Message) -> Volume: ...

    def store(self, checkpoint: str | None, device: str, images_bytes: int) -> EmbeddingStore: ...


@dataclass(eq=False)
class _Image:
    """An image of a run, and how each agent was shown it (made when it is first needed)."""

    volume: Volume
    within: np.ndarray | None
    shown: dict[str, AgentSlices] = field(default_factory=dict)


@dataclass(eq=False)
class _Run:
    packages: dict[str, Package]
    settings: AutoPromptSettings
    maps: TextMaps | None
    store: EmbeddingStore
    images: dict[str, _Image] = field(default_factory=dict)


class AgentRequests:
    """The worker's answers about agents; the last runs are remembered."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._runs: LastRuns[_Run] = LastRuns()

    def agents(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """List the agents on this machine, and in ``files``: "agents" with names, files and descriptions, and the
        names of trainings that have not ended."""
        emit("agents", agents=list_agents(request.get("files", [])), unfinished=unfinished_agents())

    def autoprompt(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Find the agents' targets: tells "progress", "partial" with what they did, and "result" for each image."""
        settings = asked_settings(request, AutoPromptSettings())
        targets = request["targets"]
        steps = Steps(emit, check, len(targets))
        volumes = [self._home.volume(one) for one in targets]
        packages = [_reworded(load_agent(find_agent(one)), request.get("texts", {})) for one in request["agents"]]
        withins = [_within(one, volume) for one, volume in zip(targets, volumes, strict=True)]
        most = max(one.array.nbytes for one in volumes)
        store = self._home.store(request.get("checkpoint"), request.get("device", "auto"), most)
        tell_model(emit, store)
        for package in packages:
            package.check_model(store.model)
            package.agent.to(store.model.device)
        maps = text_maps(request.get("clip"), packages, str(store.model.device))
        run = _Run({one.target.name: one for one in packages}, settings, maps, store)
        for number, (target, volume, within) in enumerate(zip(targets, volumes, withins, strict=True)):
            steps.begin(number)
            run.images[target["key"]] = _Image(volume, within)
            found = autoprompt(
                packages,
                volume,
                settings=settings,
                text_maps=maps,
                within=within,
                watch=lambda one: steps.add(one.name, one.index, played_message(one)),
                progress=steps,
                store=store,
            )
            steps.flush()
            emit("result", target=target["key"], **messages.result_of(found))
        self._runs[request["run"]] = run

    def go_on(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """One slice from changed prompts: tells "slice", as in "partial". With ``play`` off, only decodes."""
        run = self._runs.get(request["run"])
        if run is None or request["target"] not in run.images or request["structure"] not in run.packages:
            raise InputError("The worker does not remember this run any more; press Apply again, then change prompts.")
        image, package = run.images[request["target"]], run.packages[request["structure"]]
        name = package.target.name
        if name not in image.shown:
            size, options = run.store.model.image_size, run.settings
            image.shown[name] = AgentSlices(image.volume, package.shown, size, options.window, options.body_margin)
        points, labels, _clicked = messages.asked_prompts(request)
        made = replay_from(
            package,
            image.shown[name],
            int(request["index"]),
            points,
            labels,
            store=run.store,
            settings=run.settings,
            text_maps=run.maps,
            within=image.within,
            play=bool(request.get("play", True)),
        )
        emit("slice", **played_message(made))


def played_message(one: PlayedSlice) -> wire.Message:
    """A slice with the mask after each step."""
    return {
        "structure": one.name,
        "axis": one.axis,
        "index": one.index,
        "mask": wire.pack_mask(one.mask),
        **messages.prompts_of(one),
        "first": one.first,
        "steps": [wire.pack_mask(mask) for mask in one.masks],
        "accepted": one.accepted,
        "confidence": float(one.confidence),
    }


def _within(target: wire.Message, volume: Volume) -> np.ndarray | None:
    box, slices = target.get("box"), target.get("slices")
    matrix = None if box is None else np.array(box, float).reshape(4, 4)
    return region(volume.geometry.shape, matrix, None if slices is None else (int(slices[0]), int(slices[1])))


def _reworded(package: Package, texts: Mapping[str, str]) -> Package:
    """An agent of the explicit branch with another text than it was trained with."""
    text = texts.get(package.target.name, "").strip()
    if not text:
        return package
    if not package.text:
        raise InputError(f"The agent for {package.target.name} was trained without a text; leave the text empty.")
    return replace(package, text=text)
