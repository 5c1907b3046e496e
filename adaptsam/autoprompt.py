"""AutoPromptSAM's public function: trained agents find their targets in an image, with nobody clicking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from adaptsam.agent_slices import AgentSlices
from adaptsam.agent_steps import Watch, played
from adaptsam.alignsam import Case, Package, Prompted, Target, UseSettings, prompt_cases
from adaptsam.data.frames import check_frame
from adaptsam.data.terminology import CODE_KEYS
from adaptsam.data.volume import Structure, StructureSet, Volume
from adaptsam.errors import InputError
from adaptsam.progress import Progress, silent
from adaptsam.propagate_video import FrameResult, frame_report
from adaptsam.sam import Embedding, EmbeddingStore, SamModel, load_sam
from adaptsam.volumes import report as status
from adaptsam.volumes.acceptance import Threshold
from adaptsam.volumes.cleanup import Shape, bounding_box, bridge, clean
from adaptsam.volumes.confidence import (
    Continuity,
    accepted_confidence,
    continuity,
    rejected_confidence,
    usual_continuity,
)
from adaptsam.volumes.report import SliceReport, StructureReport
from adaptsam.volumes.settings import CleanupSettings, ConfidenceSettings
from adaptsam.volumes.slices import check_image
from adaptsam.volumes.windows import WindowChoice

#: Where in each image uint8 (H, W, 3) is what a text names: maps (H', W'), 0 to 1, for the explicit branch.
TextMaps = Callable[[str, Sequence[np.ndarray]], Sequence[np.ndarray]]

#: Colours of structures, RGB, in the order of the agents.
COLORS = ((220, 60, 50), (60, 140, 230), (70, 180, 90), (240, 170, 40), (160, 90, 200), (40, 190, 190))


@dataclass(frozen=True)
class AutoPromptSettings:
    """Everything that can be chosen when agents are used.

    Args:
        use: how an agent acts on one image.
        acceptance: "agent", or "off" to keep the mask of every slice.
        least_evidence: a slice with less is empty; None for what each agent's package says.
        least_mm: what a target must measure along the slices to count as found. Single images, pictures and chosen
            ``slices`` are not held to it.
        window: of intensities; None for the one that each agent was trained with.
        slices: the stored slices (k, as a rule) to look at; None for all.
        cleanup: whether slices are made into one object in three dimensions.
        cleaning: how.
        confidence: how it is put together; see :mod:`adaptsam.volumes.confidence`.
        body_margin: side of the body view as a multiple of the body.
        batch_slices: slices that are prompted together and in memory at a time.
    """

    use: UseSettings = field(default_factory=UseSettings)
    acceptance: str = "agent"
    least_evidence: float | None = None
    least_mm: float = 4.0
    window: WindowChoice | None = None
    slices: Sequence[int] | None = None
    cleanup: bool = True
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    body_margin: float = 1.04
    batch_slices: int = 8

    def __post_init__(self) -> None:
        if self.acceptance not in ("agent", "off"):
            raise InputError(f"acceptance can be 'agent' or 'off', not {self.acceptance!r}.")
        if self.batch_slices < 1 or not self.least_mm >= 0:
            raise InputError("batch_slices must be at least 1, and least_mm must not be negative.")
        if self.least_evidence is not None and not 0 <= self.least_evidence <= 1:
            raise InputError(f"least_evidence lies between 0 and 1, not at {self.least_evidence:g}.")

    def threshold(self, package: Package) -> Threshold:
        """What is accepted, as a distance: 1 - evidence."""
        if self.acceptance == "off":
            return Threshold()
        least = package.least_evidence if self.least_evidence is None else self.least_evidence
        return Threshold(1.0 - least)


@dataclass(frozen=True, eq=False)
class AutoPrompt:
    """What agents found in one image.

    ``structures`` lie on the image's own grid, in the order of the agents; what was not found is empty. They can be the
    prior of :func:`adaptsam.propagate`. In ``reports``, a slice's distance is 1 - its evidence, and there is no prior:
    volumes and shifts against one are NaN. ``warnings`` are sentences for the user. ``encoded`` is how many images the
    encoder was run on.
    """

    structures: StructureSet
    reports: tuple[StructureReport, ...]
    warnings: tuple[str, ...]
    encoded: int


def autoprompt(
    agents: Sequence[Package],
    target: Volume,
    *,
    model: SamModel | None = None,
    settings: AutoPromptSettings | None = None,
    text_maps: TextMaps | None = None,
    within: np.ndarray | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
    store: EmbeddingStore | None = None,
) -> AutoPrompt:
    """Find the targets of agents in a volume, or in a stack of colour pictures, slice by slice.

    Args:
        agents: packages of :func:`adaptsam.alignsam.load_agent`, of different targets and for one SAM.
        target: the image, on its own grid.
        model: the SAM that the agents were trained with; the bundled one by default.
        settings: see :class:`AutoPromptSettings`.
        text_maps: makes the attention maps of agents of the explicit branch.
        within: bool on the image's grid, where the targets may be; slices beyond it are not looked at, and how thick
            a target is is not judged then. See :func:`adaptsam.volumes.region.region`.
        watch: told of each slice that was played, with the mask after each step.
        progress: told "prompt" with slices done and in all; cancels by raising Cancelled.
        store: embeddings to reuse and add to (its model is used). By default none outlives its slices.

    Raises:
        CheckpointError: an agent is for another SAM.
        InputError: no agent, two for one name, an image without content or not of the agent's kind, an agent of the
            explicit branch and no ``text_maps``.
        Cancelled: the progress callback asked for it.

    Example:
        >>> model = load_sam()
        >>> result = autoprompt([load_agent("heart.agent.safetensors", model)], read_volume("ct"), model=model)
        >>> result.reports[0].status, result.reports[0].worst_slices[0].index
    """
    options = settings or AutoPromptSettings()
    check_image(target, "The target image")
    store = store or _passing_store(model, options.batch_slices, len(agents))
    _check_agents(agents, store.model, text_maps)
    for package in agents:
        if package.shown.color != (target.array.ndim == 4):
            kind = "colour pictures" if package.shown.color else "gray values"
            raise InputError(f"The agent for {package.target.name} was trained on {kind}, and this image has others.")
    before = store.encoded
    tracks = [_Track(package, target, number, store.model, options, within) for number, package in enumerate(agents)]
    warnings = [text for track in tracks for text in track.doubts(target)]
    _play(tracks, store, options, text_maps, watch, progress)
    finished = [track.finish() for track in tracks]
    structures = tuple(track.structure for track in tracks)
    warnings += [text for _, texts in finished for text in texts]
    return AutoPrompt(
        StructureSet(structures, target.geometry, target.dicom),
        tuple(report for report, _ in finished),
        tuple(warnings),
        store.encoded - before,
    )


def autoprompt_frames(
    agents: Sequence[Package],
    frames: Iterable[np.ndarray],
    *,
    total: int | None = None,
    model: SamModel | None = None,
    settings: AutoPromptSettings | None = None,
    text_maps: TextMaps | None = None,
    progress: Progress = silent,
) -> Iterator[FrameResult]:
    """Find the targets of agents on pictures or the frames of a video, a few in memory at a time.

    Args:
        agents: as in :func:`autoprompt`; their windows and views do not matter, pictures are taken as they are.
        frames: uint8 (H, W, 3) in RGB order or (H, W) gray, of one size.
        total: how many there are, for the progress, where ``frames`` does not tell.
        model, settings, text_maps, progress: as in :func:`autoprompt`.

    Returns:
        One result a frame, in order, by the targets' names; where an agent's evidence is too weak the mask is empty.

    Raises:
        CheckpointError, InputError: as in :func:`autoprompt`, at once; frames of another size, while iterating.
    """
    options = settings or AutoPromptSettings()
    store = _passing_store(model, options.batch_slices, 1)
    _check_agents(agents, store.model, text_maps)
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
    source, done = iter(frames), 0
    size: tuple[int, int] | None = None
    before: dict[str, np.ndarray] = {}
    progress("prompt", 0, total)
    while batch := list(islice(source, options.batch_slices)):
        images = []
        for number, frame in enumerate(batch, start=done):
            images.append(check_frame(frame, size, number))
            size = size or (images[-1].shape[0], images[-1].shape[1])
        embeddings = store.get(images, _tick(progress, done, total))
        found = [_prompted(store.model, package, images, embeddings, options, text_maps) for package in agents]
        for number, image in enumerate(images):
            masks, reports = {}, {}
            for package, results in zip(agents, found, strict=True):
                name, one, limit = package.target.name, results[number], options.threshold(package)
                distance = 1.0 - one.evidence.total
                accepted = limit.accepts(distance) and bool(one.mask.any())
                mask = one.mask if accepted else np.zeros_like(one.mask)
                earlier = before.get(name)
                alike = continuity(mask, [earlier]) if accepted and earlier is not None and earlier.any() else None
                trust = slice_confidence(one, mask, limit, alike, Continuity(), options.confidence)
                masks[name], before[name] = mask, mask
                reports[name] = frame_report(mask, accepted, distance, limit.limit, trust, one.points, one.labels)
            yield FrameResult(done + number, image, masks, reports)
        done += len(batch)
        progress("prompt", done, max(done, total))


class _Track:
    """One agent on its way through a volume."""

    def __init__(
        self,
        package: Package,
        target: Volume,
        number: int,
        model: SamModel,
        options: AutoPromptSettings,
        within: np.ndarray | None,
    ) -> None:
        self.package, self._options = package, options
        self.slices = AgentSlices(target, package.shown, model.image_size, options.window, options.body_margin)
        self.limit = options.threshold(package)
        mask = np.zeros(target.geometry.shape, bool)
        self.structure = structure_of(package.target, mask, number)
        self._mask = self.slices.images.orientation.apply(mask)
        self._within = None if within is None else self.slices.images.orientation.apply(within)
        self._results: dict[int, _Outcome] = {}

    def doubts(self, target: Volume) -> list[str]:
        """What speaks against using this agent here."""
        trained, here = self.package.shown.modality, target.modality
        if not trained or not here or trained.upper() == here.upper():
            return []
        return [f"The agent for {self.package.target.name} was trained on {trained}, and this image is {here}."]

    @property
    def wanted(self) -> list[int]:
        """The canonical slices to look at, ascending."""
        images, given = self.slices.images, self._options.slices
        depth = images.geometry.shape[0]
        for k in given or ():
            if not 0 <= int(k) < depth:
                raise InputError(f"Slice {k} was asked for, but slices are numbered 0 to {depth - 1}.")
        chosen = range(depth) if given is None else given
        canonical = {images.orientation.stored_slice(int(k), images.stored.shape) for k in chosen}
        return sorted(k for k in canonical if self._within is None or self._within[k].any())

    def take(self, k: int, result: Prompted, watch: Watch | None) -> None:
        """Judge what the agent made of slice ``k``."""
        mask = self.slices.restore(result.logits) > 0
        allowed = None if self._within is None else self._within[k]
        if allowed is not None:
            mask &= allowed
        distance = 1.0 - result.evidence.total
        accepted = self.limit.accepts(distance) and bool(mask.any())
        if accepted:
            self._mask[k] = mask
        points = self.slices.view.to_slice(result.points)
        self._results[k] = _Outcome(accepted, distance, result.evidence.predicted_iou, points, result.labels)
        if watch is not None:
            shown = mask if accepted else np.zeros_like(mask)
            trust = slice_confidence(result, shown, self.limit, None, Continuity(), self._options.confidence)
            watch(played(self.package.target.name, self.slices, k, result, allowed, accepted, trust))

    def finish(self) -> tuple[StructureReport, list[str]]:
        """Make the slices one object, and report."""
        bridged = self._clean() if self._options.cleanup and not self.slices.images.is_flat else []
        geometry = self.slices.images.geometry
        held = [k for k in range(len(self._mask)) if self._mask[k].any()]
        if self._is_judged and len(held) * geometry.spacing[2] < self._options.least_mm:
            self._mask[:] = False
            held, bridged = [], []
        box = bounding_box(self._mask)
        usual = usual_continuity(self._mask[box[0]]) if box is not None else Continuity()
        reports = [self._report(k, usual, k in bridged) for k in sorted(self._results)]
        name = self.package.target.name
        report = StructureReport(
            name=name,
            status=status.FOUND if held else status.NOT_FOUND,
            volume_cm3=int(np.count_nonzero(self._mask)) * geometry.voxel_volume / 1000,
            prior_volume_cm3=float("nan"),
            centroid_shift_mm=float("nan"),
            slices=tuple(sorted(reports, key=lambda one: one.index)),
            view=self.package.shown.view,
            slice_axis=self.slices.images.orientation.order[0],
        )
        warnings = [] if held else [f"{name} was not found in this image; its contour is empty."]
        if bridged:
            warnings.append(f"{name} was interpolated on {len(bridged)} slices between accepted ones; check them.")
        return report, warnings

    @property
    def _is_judged(self) -> bool:
        """Whether the target as a whole is: where all slices were looked at, and there is more than one."""
        options = self._options
        whole = options.slices is None and self._within is None
        return options.acceptance != "off" and whole and not self.slices.images.is_flat

    def _clean(self) -> list[int]:
        rules, target = self._options.cleaning, self.package.target
        bridged: list[int] = []
        if rules.bridge:
            rejected = [k for k, outcome in self._results.items() if not outcome.accepted]
            bridged = bridge(self._mask, sorted(rejected), self.slices.images.geometry.spacing[1::-1])
        clean(self._mask, Shape(target.components, rules.minimum_share, float(target.holes)), rules)
        if self._within is not None:
            self._mask &= self._within
        return bridged

    def _report(self, k: int, usual: Continuity, bridged: bool) -> SliceReport:
        outcome, mask, rules = self._results[k], self._mask, self._options.confidence
        there = bool(mask[k].any())
        neighbours = [mask[n] for n in (k - 1, k + 1) if 0 <= n < len(mask) and mask[n].any()]
        alike = continuity(mask[k], neighbours) if neighbours else None
        trust = slice_confidence(outcome, mask[k], self.limit, alike, usual, rules)
        orientation, shape = self.slices.images.orientation, self.slices.images.stored.shape
        return SliceReport(
            index=orientation.stored_slice(k, shape),
            prior_index=-1,
            accepted=outcome.accepted and there,
            distance=outcome.distance,
            threshold=self.limit.limit,
            confidence=min(trust, rules.bridged_limit) if bridged and there else trust,
            points=orientation.stored_points(outcome.points, shape),
            labels=outcome.labels,
            predicted_iou=outcome.predicted_iou,
            interpolated=bridged and there,
        )


def structure_of(target: Target, mask: np.ndarray, number: int = 0) -> Structure:
    """An agent's target as a structure with its name, code and, as the agent of that number, its colour."""
    tags = dict(zip(CODE_KEYS, target.code, strict=True)) if target.code else {}
    return Structure(target.name, mask, COLORS[number % len(COLORS)], tags=tags)


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What came of one slice; ``points`` (n, 2) are x, y in canonical slice pixels."""

    accepted: bool
    distance: float
    predicted_iou: float
    points: np.ndarray
    labels: np.ndarray


def slice_confidence(
    found: _Outcome | Prompted,
    mask: np.ndarray,
    limit: Threshold,
    alike: Continuity | None,
    usual: Continuity,
    rules: ConfidenceSettings,
) -> float:
    """How far a slice can be trusted, 0 to 1; an empty one by how clearly it was rejected."""
    if isinstance(found, Prompted):
        distance, predicted = 1.0 - found.evidence.total, found.evidence.predicted_iou
    else:
        distance, predicted = found.distance, found.predicted_iou
    if not mask.any():
        return rejected_confidence(distance, limit.limit, rules)
    return accepted_confidence(distance, limit.limit, predicted, alike, usual, rules)


def _play(
    tracks: Sequence[_Track],
    store: EmbeddingStore,
    options: AutoPromptSettings,
    text_maps: TextMaps | None,
    watch: Watch | None,
    progress: Progress,
) -> None:
    """All agents on a few slices, then on the next: what they see alike is encoded once."""
    planes = sorted({track.package.shown.plane for track in tracks})
    groups = [[track for track in tracks if track.package.shown.plane == plane] for plane in planes]
    total, done = sum(len(group[0].wanted) for group in groups), 0
    progress("prompt", 0, total)
    for group in groups:
        wanted = group[0].wanted
        for start in range(0, len(wanted), options.batch_slices):
            batch = wanted[start : start + options.batch_slices]
            for track in group:
                images = {k: track.slices.image(k) for k in batch}
                # Padding and air show nothing, and need no encoder to tell.
                seen = [k for k in batch if images[k].min() < images[k].max()]
                shown = [images[k] for k in seen]
                embeddings = store.get(shown, _tick(progress, done, total)) if seen else []
                results: list[Prompted] = []
                if seen:
                    keep = watch is not None
                    results = _prompted(store.model, track.package, shown, embeddings, options, text_maps, keep)
                for k, result in zip(seen, results, strict=True):
                    track.take(k, result, watch)
            done += len(batch)
            progress("prompt", done, total)


def _prompted(
    model: SamModel,
    package: Package,
    images: Sequence[np.ndarray],
    embeddings: Sequence[Embedding],
    options: AutoPromptSettings,
    text_maps: TextMaps | None,
    keep_steps: bool = False,
) -> list[Prompted]:
    maps: Sequence[np.ndarray | None] = [None] * len(images)
    if package.text and text_maps is not None:
        maps = [np.asarray(one) for one in text_maps(package.text, images)]
    cases = [Case(embedding, attention=one) for embedding, one in zip(embeddings, maps, strict=True)]
    return prompt_cases(model, package.agent, cases, options.use, keep_steps=keep_steps)


def _tick(progress: Progress, done: int, total: int) -> Progress:
    """Repeats how far the whole work is while images are encoded, so that it can be stopped there too."""
    return lambda stage, encoded, wanted: progress("prompt", done, total)


def _passing_store(model: SamModel | None, batch: int, agents: int) -> EmbeddingStore:
    """A store that remembers no more than the slices at hand, as each agent may be shown them."""
    model = model or load_sam()
    return EmbeddingStore(model, memory_bytes=4 * model.embed_dim * model.grid_size**2 * batch * max(1, agents))


def _check_agents(agents: Sequence[Package], model: SamModel, text_maps: TextMaps | None) -> None:
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
