"""Agents asked about a few images: what they need for it, and what volumes and frames have in common there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptsam.alignsam import AgentImage, Package, Prompted, load_agent, prompt_cases
from adaptsam.alignsam.agent_folders import find_agent
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.errors import InputError
from adaptsam.progress import Progress
from adaptsam.sam import Embedding, EmbeddingStore, SamModel, load_sam
from adaptsam.slicewise.finishing import Outcome

#: Where in each image uint8 (H, W, 3) is what a text names: maps (H', W'), 0 to 1, for the explicit branch.
TextMaps = Callable[[str, Sequence[np.ndarray]], Sequence[np.ndarray]]


def prompted(
    model: SamModel,
    package: Package,
    images: Sequence[np.ndarray],
    embeddings: Sequence[Embedding],
    options: AutoPromptSettings,
    text_maps: TextMaps | None,
    keep_steps: bool = False,
) -> list[Prompted]:
    """Prompt images uint8 (H, W, 3), given with their embeddings; ``keep_steps`` keeps each step's mask."""
    maps: Sequence[np.ndarray | None] = [None] * len(images)
    if package.text and text_maps is not None:
        maps = [np.asarray(one) for one in text_maps(package.text, images)]
    cases = [AgentImage(embedding, attention=one) for embedding, one in zip(embeddings, maps, strict=True)]
    with model.threads():
        results = prompt_cases(model, package.agent, cases, options.use, keep_steps=keep_steps)
    kind = package.novelty
    if kind is None:
        return results
    pairs = zip(results, embeddings, strict=True)
    return [replace(result, novelty=kind.of_image(embedding, model.image_size)) for result, embedding in pairs]


def accepted(package: Package, options: AutoPromptSettings, result: Prompted) -> bool:
    """Whether the target is on the image: enough evidence, on an image of the kind that the agent knows."""
    judged = options.acceptance != "off" and options.novelty
    enough = options.threshold(package).accepts(1.0 - result.evidence.total)
    return enough and (is_known(package, result) or not judged)


def outcome_of(result: Prompted, accepted: bool) -> Outcome:
    """The outcome of a slice or frame as finishing takes it: what the evidence lacks to 1 is its distance."""
    evidence = result.evidence
    return Outcome(accepted, 1.0 - evidence.total, evidence.predicted_iou, result.points, result.labels)


def is_known(package: Package, result: Prompted) -> bool:
    """Whether an image is of the kind that the agent learnt from, as far as its file tells."""
    return result.novelty is None or package.novelty is None or package.novelty.knows(result.novelty)


def unlike(package: Package, novel: int, total: int) -> str:
    """The warning that so many slices or frames are of a kind that the agent never saw."""
    name = package.target.name
    return (
        f"{novel} of {total} images look unlike all that the agent for {name} learnt from: another part of the body, "
        "another modality or another window. If it is only another scanner, set its limits with adaptsam agents "
        "calibrate."
    )


def within_batch(progress: Progress, done: int, total: int) -> Progress:
    """Repeats how far the whole work is while images are encoded, so that it can be stopped there too."""
    return lambda stage, encoded, wanted: progress("prompt", done, total)


def given_agents(agents: Package | str | Path | Iterable[Package | str | Path]) -> list[Package]:
    """One or more agents, read where they are a path or the name of one.

    Raises:
        InputError: something else, or an agent that cannot be read.
    """
    several = [agents] if isinstance(agents, Package | str | Path) or not isinstance(agents, Iterable) else list(agents)
    read = [load_agent(find_agent(one)) if isinstance(one, str | Path) else one for one in several]
    for one in read:
        if not isinstance(one, Package):
            raise InputError(f"An agent is of type {type(one).__name__}; give one of load_agent, its path or its name.")
    return read


def passing_store(model: SamModel | str | Path | None, batch: int, agents: int) -> EmbeddingStore:
    """A store that remembers no more than the slices at hand, as each agent may be shown them."""
    model = model if isinstance(model, SamModel) else load_sam(model)
    return EmbeddingStore(model, memory_bytes=4 * model.embed_dim * model.grid_size**2 * batch * max(1, agents))


def check_agents(agents: Sequence[Package], model: SamModel, text_maps: TextMaps | None) -> None:
    """Raise where agents cannot be used together, or not with this model and without these maps."""
    if not agents:
        raise InputError("There is no agent; give at least one.")
    names = [package.target.name for package in agents]
    for package in agents:
        package.check_model(model)
        if names.count(package.target.name) > 1:
            raise InputError(f"Two agents find {package.target.name}; give one of them.")
        if package.text and text_maps is None:
            raise InputError(
                f"The agent for {package.target.name} needs CLIP to find {package.text!r} on images "
                f"({package.clip or 'which one is not told'}); give its weights."
            )
