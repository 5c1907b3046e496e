"""AutoPromptSAM's public function: trained agents find their targets in an image, without clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adaptsam.alignsam import Package, Prompted
from adaptsam.autoprompting.agent_batches import (
    TextMaps,
    check_agents,
    given_agents,
    passing_store,
    prompted,
    within_batch,
)
from adaptsam.autoprompting.agent_volume import AgentTrack
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.autoprompting.prompt_steps import Watch
from adaptsam.autoprompting.video_autoprompting import autoprompt_frames
from adaptsam.errors import InputError
from adaptsam.image.intensity import unit_remarks
from adaptsam.image.remarks import Remark, warnings_of
from adaptsam.image.volume import StructureSet
from adaptsam.io.inputs import ImageLike, as_settings, as_volume
from adaptsam.progress import Progress, silent
from adaptsam.sam import EmbeddingStore, SamModel
from adaptsam.slicewise.batch_loop import batches
from adaptsam.slicewise.slice_images import check_image
from adaptsam.slicewise.slice_report import StructureReport

__all__ = ["AutoPrompt", "AutoPromptSettings", "TextMaps", "autoprompt", "autoprompt_frames"]


@dataclass(frozen=True, eq=False)
class AutoPrompt:
    """Result of agents on one image.

    ``structures`` lie on the image's own grid, in the order of the agents; what was not found is empty. They can be the
    prior of :func:`adaptsam.propagate`. In ``reports``, a slice's distance is 1 - its evidence, and there is no prior:
    volumes and shifts against one are NaN. ``warnings`` are sentences for the user. ``encoded`` is how many images the
    encoder was run on. ``remarks`` is what the image's reader left out or had to choose; ``warnings`` say it too.
    """

    structures: StructureSet
    reports: tuple[StructureReport, ...]
    warnings: tuple[str, ...]
    encoded: int
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)


def autoprompt(
    agents: Package | str | Path | Sequence[Package | str | Path],
    target: ImageLike,
    *,
    model: SamModel | str | Path | None = None,
    settings: AutoPromptSettings | None = None,
    text_maps: TextMaps | None = None,
    within: np.ndarray | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
) -> AutoPrompt:
    """Find the targets of agents in a volume, or in a stack of colour pictures, slice by slice.

    Args:
        agents: one or more packages of :func:`adaptsam.alignsam.load_agent`, or their paths or names, of different
            targets and for one SAM.
        target: the image, on its own grid, or its path.
        model: the SAM that the agents were trained with, or its path; the bundled one by default.
        settings: see :class:`AutoPromptSettings`.
        text_maps: makes the attention maps of agents of the explicit branch.
        within: bool on the image's grid, where the targets may be; slices beyond it are not looked at, and how thick
            a target is is not judged then. See :func:`adaptsam.image.region_of_interest.region`.
        watch: told of each slice that was played, with the mask after each step.
        progress: receives "prompt" with slices done and in all; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used). By default none outlives its slices.

    Raises:
        CheckpointError: an agent is for another SAM.
        InputError: no agent, two for one name, an image without content or not of the agent's kind, an agent of the
            explicit branch and no ``text_maps``.
        Cancelled: the progress callback requested it.

    Example:
        >>> model = load_sam()
        >>> result = autoprompt([load_agent("heart.agent.safetensors", model)], read_volume("ct"), model=model)
        >>> result.reports[0].status, result.reports[0].worst_slices[0].index
    """
    options = as_settings(settings, AutoPromptSettings)
    target = as_volume(target, "The target image")
    agents = given_agents(agents)
    check_image(target, "The target image")
    store = store or passing_store(model, options.batch_slices, len(agents))
    check_agents(agents, store.model, text_maps)
    for package in agents:
        if package.shown.color != (target.array.ndim == 4):
            kind = "colour pictures" if package.shown.color else "gray values"
            raise InputError(f"The agent for {package.target.name} was trained on {kind}, and this image has others.")
    if within is not None and within.shape != target.geometry.shape:
        raise InputError(f"The region has {within.shape} voxels, but the image {target.geometry.shape}; give its grid.")
    before = store.encoded
    tracks = [AgentTrack(one, target, number, store.model, options, within) for number, one in enumerate(agents)]
    about = (*target.remarks, *unit_remarks(target))
    remarks = {"target image": about} if about else {}
    warnings = [*warnings_of(remarks), *(text for track in tracks for text in track.doubts(target))]
    _play(tracks, store, options, text_maps, watch, progress)
    finished = [track.finish() for track in tracks]
    structures = tuple(track.structure for track in tracks)
    warnings += [text for _, texts in finished for text in texts]
    return AutoPrompt(
        StructureSet(structures, target.geometry, target.dicom),
        tuple(report for report, _ in finished),
        tuple(warnings),
        store.encoded - before,
        remarks,
    )


def _play(
    tracks: Sequence[AgentTrack],
    store: EmbeddingStore,
    options: AutoPromptSettings,
    text_maps: TextMaps | None,
    watch: Watch | None,
    progress: Progress,
) -> None:
    """All agents on a few slices, then on the next: what they see alike is encoded once."""
    planes = sorted({track.package.shown.plane for track in tracks})
    groups = [[track for track in tracks if track.package.shown.plane == plane] for plane in planes]
    total, before = sum(len(group[0].wanted) for group in groups), 0
    progress("prompt", 0, total)
    for group in groups:
        wanted = group[0].wanted
        for done, batch in batches(wanted, options.batch_slices, progress, "prompt", total, before):
            for track in group:
                images = {k: track.slices.image(k) for k in batch}
                # Padding and air show nothing, and need no encoder to tell.
                seen = [k for k in batch if images[k].min() < images[k].max()]
                shown = [images[k] for k in seen]
                embeddings = store.get(shown, within_batch(progress, done, total)) if seen else []
                results: list[Prompted] = []
                if seen:
                    keep = watch is not None
                    results = prompted(store.model, track.package, shown, embeddings, options, text_maps, keep)
                for k, result in zip(seen, results, strict=True):
                    track.take(k, result, watch)
        before += len(wanted)
