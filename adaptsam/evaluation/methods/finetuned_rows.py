"""Methods that train SAM: on the patient's own prior, or on the protocol's training images; asked without a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from adaptsam.errors import InputError, TrainingError
from adaptsam.evaluation.methods.evaluated_method import (
    Found,
    NotApplicable,
    Outlined,
    Pair,
    PriorKey,
    VolumePair,
    Workbench,
    fingerprint,
)
from adaptsam.evaluation.methods.p2sam_rows import unprompted
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod, SliceWork
from adaptsam.finetune.adapter_file import load_adapter, save_adapter
from adaptsam.finetune.interactive_training import Interaction, TrainableSam, interactive_rounds, trainable
from adaptsam.finetune.padding import padded
from adaptsam.finetune.tuning import Tuning, merged
from adaptsam.sam import EmbeddingStore, SamModel


@dataclass(frozen=True)
class Schedule:
    """Schedule of a fine-tuning.

    Attributes:
        method: a key of :data:`adaptsam.finetune.tuning.METHODS`.
        epochs: passes over the images.
        batch: images in a step.
        learning_rate: of AdamW, constant.
        weight_decay: of AdamW.
        loss: Dice and cross-entropy, as SAMed and Medical SAM Adapter have it. P²SAM does not say what the prior alone
            is learned with; SAM's own, 20 · focal, can leave a mask empty where the model does not know it yet.
    """

    method: str = "full"
    epochs: int = 10
    batch: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    loss: str = "cross-entropy"


class FineTunedOnPrior(PictureMethod):
    """ "Fine-tune" of P²SAM's tables: the model is trained on the patient's prior alone, and then given no prompt.

    The papers do not say for how long; ten epochs are ours. Rounds are those of direct transfer: one, without a prompt.
    """

    name, title = "fine-tune", "fine-tune on the prior"

    def __init__(self, schedule: Schedule | None = None) -> None:
        self.schedule = schedule or Schedule()
        self._last: tuple[tuple[PriorKey, ...], Workbench] | None = None

    @property
    def settings(self) -> object:
        return asdict(self.schedule)

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        """Masks, bool (H, W) each, of one training a prior: an outline may be the answer to another picture."""
        by_prior: dict[int, list[int]] = {}
        for number, pair in enumerate(pairs):
            by_prior.setdefault(id(pair.prior), []).append(number)
        masks: dict[int, np.ndarray] = {}
        for numbers in by_prior.values():
            asked = [pairs[number] for number in numbers]
            masks |= zip(numbers, self._asked(bench, [asked[0].prior], asked), strict=True)
        return [masks[number] for number in range(len(pairs))]

    def volume(self, bench: Workbench, pair: VolumePair) -> dict[str, Found]:
        """One training a structure, on all slices of the prior that show it."""
        found = {}
        for structure in pair.structures.structures:
            work = SliceWork(bench, pair, structure)
            slices = work.paired()
            asked = [work.pair(k, prior_k) for k, prior_k in slices]
            answers = self._asked(bench, work.priors, asked) if asked else []
            mask = np.zeros(pair.target.geometry.shape, bool)
            turned = pair.target_slices.orientation.apply(mask)
            for (k, _), answer in zip(slices, answers, strict=True):
                turned[k] = work.restored(answer)
            found[structure.name] = Found(mask)
        return found

    def _asked(self, bench: Workbench, priors: Sequence[Outlined], pairs: Sequence[Pair]) -> list[np.ndarray]:
        """Trained anew unless it was just trained on the same priors, as where all pictures are shown one."""
        keys = tuple(bench.key(prior) for prior in priors)
        if self._last is None or self._last[0] != keys:
            self._last = None  # its memory goes before the next one takes it
            self._last = keys, Workbench(EmbeddingStore(trained_on(bench.model, priors, self.schedule)))
        return unprompted(self._last[1], pairs)


class TrainedModel(PictureMethod):
    """SAMed or Medical SAM Adapter: trained once on the protocol's training images, and then given no prompt.

    The trained tensors are kept in the evaluation's folder, so that they are not trained again.

    Args:
        name: of the row.
        title: in tables.
        schedule: of the training.
    """

    trained = True

    def __init__(self, name: str, title: str, schedule: Schedule) -> None:
        self.name, self.title, self.schedule = name, title, schedule
        self._bench: Workbench | None = None

    @property
    def settings(self) -> object:
        return asdict(self.schedule)

    def prepare(self, bench: Workbench) -> None:
        if not bench.training:
            raise NotApplicable(f"{self.title} needs training images, which this protocol has none of.")
        path = None if bench.folder is None else bench.folder / f"{self.name}-{fingerprint(self)}.safetensors"
        if path is not None and path.exists():
            model = load_adapter(path, bench.model)
        else:
            images = (Outlined(*sample.read()) for sample in bench.training)
            tuned = _trained(bench.model, images, self.schedule)
            if path is not None:
                save_adapter(path, tuned.sam, Tuning(self.schedule.method), bench.model.sha256, asdict(self.schedule))
            model = _plain(tuned, bench.model)
        self._bench = Workbench(EmbeddingStore(model))

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        if self._bench is None:
            raise InputError(f"{self.title} was not prepared.")
        return unprompted(self._bench, pairs)


def trained_on(base: SamModel, images: Iterable[Outlined], schedule: Schedule) -> SamModel:
    """Train a copy of a model on outlined images.

    Raises:
        InputError: there is no image, or the model cannot be trained so.
        TrainingError: the loss is not finite.
    """
    return _plain(_trained(base, images, schedule), base)


def _plain(tuned: TrainableSam, base: SamModel) -> SamModel:
    merged(tuned.sam)
    tuned.sam.requires_grad_(False)
    return SamModel.from_sam(tuned.sam, base.config, kind=base.kind, device=base.device)


def _trained(base: SamModel, images: Iterable[Outlined], schedule: Schedule) -> TrainableSam:
    items = [_framed(base, one) for one in images]
    if not items:
        raise InputError("There is no image to train on.")
    tuned = trainable(base, Tuning(schedule.method), base.device)
    parameters = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    tuned.train()
    how = Interaction(rounds=1, first="none", loss=schedule.loss)
    for epoch in range(schedule.epochs):
        order = np.random.default_rng([epoch, len(items)]).permutation(len(items))
        for start in range(0, len(order), schedule.batch):
            chosen = [int(n) for n in order[start : start + schedule.batch]]
            pixels = torch.stack([items[n][0] for n in chosen]).float().to(base.device)
            truth = torch.stack([items[n][1] for n in chosen]).to(base.device)
            seeds = [(0, epoch, n) for n in chosen]
            for one in interactive_rounds(tuned, pixels, truth, seeds, how):
                _step(optimiser, one.loss.mean())
    return tuned.eval()


def _step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    if not torch.isfinite(loss):
        raise TrainingError("The loss is not finite; train with a lower learning rate.")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _framed(model: SamModel, one: Outlined) -> tuple[torch.Tensor, torch.Tensor]:
    """Image uint8 (3, S, S) and mask bool (S, S) in the model's frame."""
    from segment_anything.utils.transforms import ResizeLongestSide

    resize = ResizeLongestSide(model.image_size)
    image = torch.from_numpy(np.ascontiguousarray(resize.apply_image(one.image).transpose(2, 0, 1)))
    mask = torch.from_numpy(resize.apply_image(one.mask.astype(np.uint8) * np.uint8(255)) > 127)[None]
    square, inside = padded(model.config, image, mask)
    return square, inside[0]
