"""A slice that an agent prompted, from prompts that a person has changed. Nothing is encoded that is in the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adaptsam.alignsam import AgentImage, Package, go_on
from adaptsam.autoprompting.agent_batches import TextMaps, outcome_of
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.prompt_steps import PlayedSlice, played
from adaptsam.errors import InputError
from adaptsam.sam import EmbeddingStore
from adaptsam.slicewise.confidence import Continuity
from adaptsam.slicewise.finishing import slice_confidence


def replay_from(
    package: Package,
    slices: AgentSlices,
    index: int,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    store: EmbeddingStore,
    settings: AutoPromptSettings | None = None,
    text_maps: TextMaps | None = None,
    within: np.ndarray | None = None,
    play: bool = True,
) -> PlayedSlice:
    """Let an agent go on from a person's prompts on one slice.

    Args:
        package: the agent.
        slices: the image as it was shown to it.
        index: the stored slice, along the axis on which the agent looks.
        points: (n, 2), in stored pixels, as :class:`adaptsam.autoprompting.prompt_steps.PlayedSlice` gives them.
        labels: (n,), 1 for foreground and 0 for background.
        store: of the run that came before.
        settings: those of that run.
        text_maps: for the explicit branch.
        within: bool (K, J, I), where the target may be.
        play: False only decodes the prompts that are given.

    Returns:
        The slice with all prompts, and the mask after each. A person looked at it, so that it is accepted.

    Raises:
        InputError: there is no such slice, or no prompt.
    """
    options = settings or AutoPromptSettings()
    images = slices.images
    axis, _ = images.stored_slice(0)
    depth = images.stored.shape[axis]
    if not 0 <= index < depth:
        raise InputError(f"There is no slice {index}; the slices are numbered 0 to {depth - 1}.")
    k = images.orientation.stored_slice(index, images.stored.shape)
    image = slices.image(k)
    [embedding] = store.get([image])
    attention = None
    if package.text and text_maps is not None:
        attention = np.asarray(text_maps(package.text, [image])[0])
    shown = (images.orientation.canonical_points(points, images.stored.shape) - slices.view.origin) / slices.view.step
    use = replace(options.use, stop_early=False)
    result = go_on(
        store.model, package.agent, AgentImage(embedding, attention=attention), shown, labels, use, play=play
    )
    allowed = None if within is None else images.orientation.apply(within)[k]
    mask = slices.restore(result.logits) > 0
    if allowed is not None:
        mask &= allowed
    limit = options.threshold(package).limit
    trust = slice_confidence(outcome_of(result, True), mask, [], limit, Continuity(), options.confidence)
    return played(package.target.name, slices, k, result, allowed, True, trust)
