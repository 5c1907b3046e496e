"""Training of an agent from a data set, as `adaptsam train alignsam` and the MONAI bundle training/alignsam run it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adaptsam.alignsam import (
    Agent,
    AlignSamSettings,
    Novelty,
    Package,
    Shown,
    Target,
    Trained,
    TrainingImage,
    prompt,
    save_agent,
    score,
    train,
)
from adaptsam.alignsam.agent_folders import UNFINISHED_SUFFIX
from adaptsam.alignsam.attention_maps import Attention
from adaptsam.autoprompting.agent_thumbnail import agent_picture
from adaptsam.autoprompting.calibration import separating
from adaptsam.autoprompting.comparators import STEPS, compare
from adaptsam.autoprompting.prompt_drawing import as_pixels, draw_prompts
from adaptsam.datasets import DataSet, Sample, open_dataset
from adaptsam.errors import InputError, OutputError
from adaptsam.image.intensity import Window
from adaptsam.progress import Progress, silent
from adaptsam.sam import EmbeddingStore, SamModel, load_sam

#: Where no image without the target is known, the least evidence is this part of what a tenth of those with it lack.
USUAL_QUANTILE, USUAL_SHARE = 0.1, 0.8
HELD_BACK = 0.2
#: What the scores of a package were taken on.
HELD_BACK_IMAGES, TRAINING_IMAGES = "images of patients that were held back", "its training images"
#: With fewer training images an agent mostly repeats what it was shown; the paper has 50.
FEW_IMAGES = 10

_log = logging.getLogger(__name__)


class Teaching(Protocol):
    """Training images of an agent: the largest number to draw, and the seed."""

    @property
    def images(self) -> int: ...

    @property
    def seed(self) -> int: ...

    def open(self, progress: Progress = silent) -> DataSet:
        """The data set; InputError where it cannot be trained with."""

    def shown(self, modality: str, color: bool) -> Shown:
        """The presentation of its images, which those in use must share."""


@dataclass(frozen=True)
class TrainingData:
    """Interface of an agent's training data.

    Args:
        path: a folder of images and masks, DICOM with RTSTRUCT or SEG, or a published collection.
        kind: one of :data:`adaptsam.datasets.KINDS`; None to tell it from the folder.
        structure, label, part: which structure (DICOM, PASCAL VOC), value of the masks, published part; None for the
            data set's own.
        window: two intensities; of pictures, those that they were made with.
        images: how many images to train with at most, drawn at random; 50 in the paper, 0 for all.
        seed: of that draw and of the images that are held back.
    """

    path: str | Path
    kind: str | None = None
    structure: str | None = None
    label: int | None = None
    part: str | None = None
    window: tuple[float, float] | None = None
    images: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < 0:
            raise InputError(f"An agent is trained with so many images, or all with 0, not with {self.images}.")
        if self.label is not None and type(self.label) is not int:
            raise InputError(f"A label is one of the masks' values, a whole number, not {self.label!r}.")
        if self.window is not None:
            Shown(window=(self.window[0], self.window[1]))

    def open(self, progress: Progress = silent) -> DataSet:
        """The data set; InputError where it cannot be trained with."""
        asked = {"structure": self.structure, "label": self.label, "part": self.part}
        choices: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
        dataset = open_dataset(self.path, self.kind, progress, **choices)
        if self.window is not None and dataset.unit != "picture":
            choices["window"] = Window(*self.window)
            dataset = open_dataset(self.path, dataset.kind, progress, **choices)
        dataset.check_usable()
        return dataset

    def shown(self, modality: str, color: bool) -> Shown:
        """Whole slices in the window that was given."""
        window = "auto" if color or self.window is None else (self.window[0], self.window[1])
        return Shown(window=window, modality=modality, color=color)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images read from a data set: those that show the target, and those that do not."""

    shown: list[TrainingImage]
    without: list[NDArray[np.uint8]] = field(default_factory=list)


@dataclass(frozen=True)
class AgentTraining:
    """One training: its data, the target, the schedule, the SAM and what comes out.

    Args:
        data: the images to learn from: a folder, or volumes in memory
            (:mod:`adaptsam.autoprompting.training_volumes`).
        target: what the masks show.
        settings: branch and schedule.
        output: the agent's file.
        modality: of the images, as "CT"; "" for any.
        text: the words given to CLIP, in the explicit branch.
        clip: the CLIP; see :func:`adaptsam.alignsam.clip.load_clip`.
        checkpoint: the SAM; None for the bundled one.
        device: auto, cpu, cuda.
        log: folder of curves and pictures for TensorBoard.
        picture_every: episodes between two pictures.
        overwrite: whether an agent of that name may be replaced.
    """

    data: Teaching
    target: Target
    settings: AlignSamSettings
    output: str | Path
    modality: str = ""
    text: str = ""
    clip: str | None = None
    checkpoint: str | None = None
    device: str = "auto"
    log: str | Path | None = None
    picture_every: int = 5
    overwrite: bool = False

    def __post_init__(self) -> None:
        explicit = self.settings.branch == "explicit"
        if explicit != bool(self.text):
            raise InputError("The explicit branch needs a text, and the implicit branch takes none.")
        if explicit and self.clip is None:
            from adaptsam.alignsam.clip.clip_files import HOW_TO_GET

            raise InputError(
                f"The explicit branch needs a CLIP; give one, or choose the implicit branch. {HOW_TO_GET}."
            )
        if self.picture_every < 1:
            raise InputError("Pictures are drawn every so many episodes, 1 or more.")

    @property
    def unfinished(self) -> Path:
        """The folder of the training's state until it is done."""
        output = Path(self.output)
        return output.with_name(f"{output.name}{UNFINISHED_SUFFIX}")

    def run(
        self,
        progress: Progress = silent,
        load: Callable[[], SamModel | EmbeddingStore] | None = None,
        told: Callable[[Trained], None] | None = None,
    ) -> Package:
        """Train, score on images that were held back, and write the package. Goes on where it was stopped.

        Args:
            progress: receives "train" with finished episodes; may cancel.
            load: gives the SAM, or a store of its embeddings, in another way than from ``checkpoint``.
            told: called after every episode with the agent and the history so far.

        Raises:
            InputError: the data, the SAM or the settings cannot be used, or they are not those of the state that is
                there.
            OutputError: there is an agent of that name, or the file cannot be written.
            TrainingError: something became infinite or NaN.
        """
        output = self._free_output()
        with ExitStack() as stack:
            writer = stack.enter_context(_writer(Path(self.log))) if self.log else None
            dataset = self.data.open(progress)
            learnt, held = self._pictures(dataset)
            store = self._store(load)
            stack.enter_context(store.model.threads())
            shown = self._shown(learnt.shown)
            attention, clip = self._attention(shown)

            def after(number: int, trained: Trained) -> None:
                if told is not None:
                    told(trained)
                if writer is not None and (number % self.picture_every == 0 or number == 1):
                    drawn = prompt_picture(store, trained.agent, held.shown[:4], attention)
                    writer.add_image("prompts", drawn, number, dataformats="HWC")

            trained = train(
                store,
                learnt.shown,
                self.settings,
                attention=attention,
                without=learnt.without,
                checkpoint=self.unfinished,
                progress=progress,
                scalars=writer,
                after_episode=after,
            )
            scores, least = self._judged(store, trained, learnt, held, attention)
        package = Package(
            trained.agent,
            self.target,
            store.model.kind,
            store.model.sha256,
            shown,
            self.text,
            clip,
            least,
            _record(dataset.kind, learnt, held, trained),
            scores,
            agent_picture([one.image for one in learnt.shown], [one.mask for one in learnt.shown]),
            novelty_of(store, learnt.shown, held.shown),
        )
        return self._saved(output, package)

    def _saved(self, output: Path, package: Package) -> Package:
        save_agent(output, package)
        self.unfinished.unlink(missing_ok=True)
        return package

    def _free_output(self) -> Path:
        output = Path(self.output)
        if output.exists() and not self.overwrite:
            raise OutputError(f"{output.name} is there already; add --overwrite, or give another name.")
        return output

    def _store(self, load: Callable[[], SamModel | EmbeddingStore] | None) -> EmbeddingStore:
        loaded = load() if load is not None else load_sam(self.checkpoint, self.device)
        return loaded if isinstance(loaded, EmbeddingStore) else EmbeddingStore(loaded)

    def _pictures(self, dataset: DataSet) -> tuple[Pictures, Pictures]:
        """Images to learn from and images to score on, which are the same where none can be held back."""
        learnt, held = read_parts(dataset, self.data.images, self.data.seed, self.settings.training.learn_absence)
        for doubt in doubts(len(learnt.shown), len(held.shown)):
            _log.warning("%s", doubt)
        return learnt, held if held.shown else Pictures(learnt.shown, held.without)

    def _judged(
        self, store: EmbeddingStore, trained: Trained, learnt: Pictures, held: Pictures, attention: Attention | None
    ) -> tuple[dict[str, Any], float]:
        """Scores on what was held back, beside simpler methods', and the least evidence of an accepted slice."""
        scores, least = judge(store, trained.agent, held.shown, held.without, attention)
        plan = self.settings.training
        steps = min(STEPS, plan.episodes * plan.epochs)
        scores["comparators"] = compare(store, trained.agent, learnt.shown, held.shown, attention, steps=steps)
        scores["scored_on"] = HELD_BACK_IMAGES if held.shown is not learnt.shown else TRAINING_IMAGES
        return scores, least

    def _shown(self, images: Sequence[TrainingImage]) -> Shown:
        color = any(bool((one.image[..., :1] != one.image).any()) for one in images)
        return self.data.shown(self.modality.upper(), color)

    def _attention(self, shown: Shown) -> tuple[Attention | None, str]:
        if self.clip is None or not self.text:
            return None, ""
        from adaptsam.alignsam.clip import load_clip
        from adaptsam.autoprompting.text_maps import attention_of, clip_record

        clip = load_clip(self.clip, device=self.device)
        return attention_of(clip, shown, self.text), clip_record(clip)


def doubts(learnt: int, held: int) -> list[str]:
    """Warnings about an agent with so few training images, or with scores on none that were held back."""
    said = []
    if 0 < learnt < FEW_IMAGES:
        said.append(
            f"There are {learnt} training images, where the paper has 50: expect an agent that finds the target on "
            "images very like these, and check every result; give more patients for more."
        )
    if learnt and not held:
        said.append(
            "No image could be held back, since all are of one patient: the scores are on the training images, and "
            "say nothing of new ones."
        )
    return said


def _record(kind: str, learnt: Pictures, held: Pictures, trained: Trained) -> dict[str, Any]:
    """Record of an agent's training; nothing that names a patient."""
    return {
        "data": kind,
        "images": len(learnt.shown),
        "held_back": len(held.shown) if held.shown is not learnt.shown else 0,
        "history": [asdict(episode) for episode in trained.history],
    }


def read_parts(dataset: DataSet, images: int, seed: int, absence: bool = False) -> tuple[Pictures, Pictures]:
    """Training images, and those of other patients (or pictures) held back: a fifth, at most as many images.

    Images without the target are held back; with ``absence`` there are others to train with, too.
    """
    split = dataset.split(seed, (1 - HELD_BACK, HELD_BACK, 0.0))
    learnt = drawn(split["train"], images, seed)
    held = drawn(split["validation"], images, seed)
    without = drawn(dataset.without(split["validation"] or split["train"]), images, seed)
    taught = drawn(dataset.without(split["train"]), images, seed) if absence else ()
    return _read(learnt, taught), _read(held, without)


def drawn(samples: Sequence[Sample], most: int, seed: int) -> list[Sample]:
    """At most so many of the samples at random, by their names alone; all of them with 0."""
    if most == 0 or len(samples) <= most:
        return list(samples)
    order = np.random.default_rng([seed, 50]).permutation(len(samples))
    by_name = sorted(samples, key=lambda sample: sample.name)
    return [by_name[row] for row in sorted(order[:most])]


def _read(samples: Sequence[Sample], without: Sequence[Sample]) -> Pictures:
    """Pictures whose mask turns out empty do not show the target."""
    read = [sample.read(may_be_empty=True) for sample in (*samples, *without)]
    shown = [TrainingImage(image, mask) for image, mask in read if mask.any()]
    return Pictures(shown, [image for image, mask in read if not mask.any()])


def judge(
    store: EmbeddingStore,
    agent: Agent,
    images: Sequence[TrainingImage],
    without: Sequence[NDArray[np.uint8]] = (),
    attention: Attention | None = None,
) -> tuple[dict[str, Any], float]:
    """The agent's scores on images whose truth it does not know, and the least evidence that it shall accept.

    Args:
        store: of the agent's SAM.
        agent: trained.
        images: with the target.
        without: images that do not show it; the least evidence tells them from the others as well as can be.
        attention: a function, for the explicit branch.

    Returns:
        Scores by name, and the least evidence.
    """
    results = prompt(store, agent, [one.image for one in images], attention=attention)
    scores = score(results, [one.mask for one in images])
    there = np.array([result.evidence.total for result in results])
    told: dict[str, Any] = {
        "iou": scores.iou[-1],
        "mean_return": scores.mean_return,
        "label_accuracy": scores.label_accuracy,
        "iou_after_each_step": list(scores.iou),
    }
    if not without:
        return told, USUAL_SHARE * float(np.quantile(there, USUAL_QUANTILE))
    empty = prompt(store, agent, list(without), attention=attention, keep_steps=False)
    absent = np.array([result.evidence.total for result in empty])
    least = separating(there, absent)
    told |= {
        "images_without": len(absent),
        "accepted_where_shown": float((there >= least).mean()),
        "accepted_where_not": float((absent >= least).mean()),
    }
    return told, least


def novelty_of(store: EmbeddingStore, learnt: Sequence[TrainingImage], held: Sequence[TrainingImage]) -> Novelty | None:
    """The kind of images that an agent knows after its training; see :meth:`adaptsam.alignsam.Novelty.of`."""
    others = [] if held is learnt else held
    parts = [store.get([one.image for one in images]) for images in (learnt, others)]
    return Novelty.of(parts[0], parts[1], store.model.image_size)


def prompt_picture(
    store: EmbeddingStore, agent: Agent, images: Sequence[TrainingImage], attention: Attention | None = None
) -> NDArray[np.uint8]:
    """Draw the agent's current prompts on images, uint8 (H, W, 3)."""
    results = prompt(store, agent, [one.image for one in images], attention=attention)
    return as_pixels(draw_prompts([one.image for one in images], [one.mask for one in images], results))


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError('--log needs TensorBoard; install it with pip install "adaptsam[align]".') from None
    return SummaryWriter(str(folder))
