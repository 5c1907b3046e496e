"""Trained agents on pictures and the frames of a video, a few in memory at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path

import numpy as np

from adaptsam.alignsam import Package
from adaptsam.autoprompting import agent_batches as prompting
from adaptsam.autoprompting.agent_batches import (
    TextMaps,
    check_agents,
    given_agents,
    outcome_of,
    passing_store,
    prompted,
    within_batch,
)
from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
from adaptsam.io.files import read_frames
from adaptsam.io.video.frames import checked_frames
from adaptsam.progress import Progress, silent
from adaptsam.sam import EmbeddingStore, SamModel
from adaptsam.slicewise.batch_loop import batches
from adaptsam.slicewise.finishing import finish_frame
from adaptsam.slicewise.frame_report import FrameResult

_log = logging.getLogger(__name__)


def autoprompt_frames(
    agents: Package | str | Path | Sequence[Package | str | Path],
    frames: Iterable[np.ndarray] | str | Path,
    *,
    total: int | None = None,
    model: SamModel | str | Path | None = None,
    settings: AutoPromptSettings | None = None,
    text_maps: TextMaps | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
) -> Iterator[FrameResult]:
    """Find the targets of agents on pictures or the frames of a video, a few in memory at a time.

    Args:
        agents: as in :func:`adaptsam.autoprompting.volume_autoprompting.autoprompt`; their windows and views do
            not matter, pictures are taken as they are.
        frames: uint8 (H, W, 3) in RGB order or (H, W) gray, of one size; or the path of a video or folder.
        total: how many there are, for the progress, where ``frames`` does not tell.
        model, settings, text_maps, progress, store: as in
            :func:`adaptsam.autoprompting.volume_autoprompting.autoprompt`.

    Returns:
        One result a frame, in order, by the targets' names; where an agent's evidence is too weak, or the frame is of a
        kind that it never saw, the mask is empty. A warning is logged at the end where nothing is left.

    Raises:
        CheckpointError, InputError: as in :func:`adaptsam.autoprompting.volume_autoprompting.autoprompt`, at once;
            frames of another size, while iterating.
    """
    options = settings or AutoPromptSettings()
    agents = given_agents(agents)
    frames = read_frames(frames) if isinstance(frames, str | Path) else frames
    store = store or passing_store(model, options.batch_slices, 1)
    check_agents(agents, store.model, text_maps)
    count = total if total is not None else len(frames) if isinstance(frames, Sized) else 0
    return _frames(agents, frames, count, store, options, text_maps, progress)


def _frames(
    agents: Sequence[Package],
    frames: Iterable[np.ndarray],
    total: int,
    store: EmbeddingStore,
    options: AutoPromptSettings,
    text_maps: TextMaps | None,
    progress: Progress,
) -> Iterator[FrameResult]:
    before: dict[str, np.ndarray] = {}
    seen, held, novel = 0, set(), Counter[str]()
    for done, images in batches(checked_frames(frames), options.batch_slices, progress, "prompt", total):
        embeddings = store.get(images, within_batch(progress, done, total))
        found = [prompted(store.model, package, images, embeddings, options, text_maps) for package in agents]
        for number, image in enumerate(images):
            masks, reports = {}, {}
            for package, results in zip(agents, found, strict=True):
                name, one, limit = package.target.name, results[number], options.threshold(package).limit
                accepted = prompting.accepted(package, options, one) and bool(one.mask.any())
                outcome = outcome_of(one, accepted)
                mask, reports[name] = finish_frame(one.mask, outcome, before.get(name), limit, options.confidence)
                masks[name], before[name] = mask, mask
                novel[name] += not prompting.is_known(package, one)
                held |= {name} if accepted else set()
            yield FrameResult(done + number, image, masks, reports)
        seen += len(images)
    for package in agents:
        name = package.target.name
        if novel[name] and name not in held and options.novelty:
            _log.warning("%s", prompting.unlike(package, novel[name], seen))
