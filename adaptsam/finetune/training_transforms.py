"""Samples of a data set as what the engines take: MONAI transforms for any of MONAI's data sets, cached ones too.

What is drawn to augment a sample depends on the seed, the epoch and the sample's name alone: not on the order, the
batch or the process. What can be cached (reading, resizing) comes before what is drawn.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose, RandomizableTransform, Transform
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pictures

from adaptsam.datasets import Sample
from adaptsam.errors import InputError
from adaptsam.finetune.padding import padded
from adaptsam.sam import SamConfig

_log = logging.getLogger(__name__)

ON_ERROR = ("stop", "skip")
#: Its own stream of random numbers beside those of the prompts (:mod:`adaptsam.finetune.interactive_training`).
_STREAM = 1000
#: How often a geometry is drawn anew that leaves nothing of the structure.
_TRIES = 8

Item = dict[str, Any]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the augmentation, drawn evenly for each sample.

    Attributes:
        flips: how often an image is mirrored, left to right and top to bottom.
        rotation: degrees, either way.
        scale: smallest and largest magnification.
        shear: degrees along the rows, either way.
        shift: of the image's sides, either way.
        brightness: smallest and largest factor of the intensities.
        contrast: of their distance from the mean.
        saturation: of their distance from gray.
        hue: share of the colour circle, either way.
    """

    flips: float = 0.5
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0
    brightness: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0


AUGMENTATIONS = {
    "nsclc-radiomics": Augmentation(rotation=10.0, scale=(0.8, 1.2), brightness=(0.8, 1.2), contrast=(0.8, 1.2)),
    "kvasir-seg": Augmentation(
        rotation=180.0,
        scale=(0.5, 1.5),
        shear=22.0,
        shift=0.125,
        brightness=(0.6, 1.6),
        contrast=(0.8, 1.2),
        saturation=(0.9, 1.1),
        hue=0.01,
    ),
}
"""The published ones by data set; contrast, saturation and hue of Kvasir-SEG are "slight" there."""


def sample_items(samples: Sequence[Sample]) -> list[Item]:
    """The ``data`` of one of MONAI's data sets; no pixel is read yet."""
    return [{"source": sample, "sample": sample.number, "name": sample.name} for sample in samples]


def sample_transforms(
    config: SamConfig,
    augmentation: Augmentation | str | None = None,
    *,
    seed: int = 0,
    on_error: str = "stop",
    stand_ins: Sequence[Sample] = (),
) -> Compose:
    """Transforms from :func:`sample_items` to the items of :mod:`adaptsam.finetune.monai_engine`.

    An item has "image" float (3, S, S), 0 to 255; "label" uint8 (1, S, S), 1 is the structure; "sample" and "name".

    Args:
        config: of the model: its input size S, and how the rest of the square is to be filled.
        augmentation: to train with; a name of :data:`AUGMENTATIONS`, or None to validate and test.
        seed: of what is drawn.
        on_error: "stop" raises for a sample that cannot be used; "skip" says its name in the log and takes another.
        stand_ins: the others, for "skip".

    Raises:
        InputError: an unknown augmentation or choice.

    Example:
        >>> transforms = sample_transforms(model.config, "nsclc-radiomics")  # doctest: +SKIP
        >>> train = monai.data.CacheDataset(sample_items(split["train"]), transforms)  # doctest: +SKIP
    """
    steps: list[Transform] = [LoadSampled(config.image_size, on_error, stand_ins)]
    if augmentation is not None:
        steps.append(AugmentSampled(augmentation, seed))
    return Compose([*steps, PadSampled(config)])


class LoadSampled(Transform):
    """Reads a sample and brings its longest side to the model's input size.

    Gives "image" uint8 (3, h, w) and "label" uint8 (1, h, w), where the larger of h and w is ``size``. A structure
    that is smaller than a pixel there keeps one.

    Args:
        size: S, in pixels.
        on_error: one of :data:`ON_ERROR`.
        stand_ins: samples that may take the place of one that cannot be used: the next readable one by number, so that
            it is the same in every process.
    """

    def __init__(self, size: int, on_error: str = "stop", stand_ins: Sequence[Sample] = ()) -> None:
        if on_error not in ON_ERROR:
            raise InputError(f"What to do about unreadable samples is {' or '.join(ON_ERROR)}, not {on_error!r}.")
        if on_error == "skip" and not stand_ins:
            raise InputError("To skip unreadable samples, say which may take their place (stand_ins).")
        self.resize, self.on_error = ResizeLongestSide(size), on_error
        self.stand_ins = sorted(stand_ins, key=lambda sample: sample.number) if on_error == "skip" else []
        self._told: set[str] = set()

    def __call__(self, item: Item) -> Item:
        sample: Sample = item["source"]
        try:
            return self._loaded(sample)
        except InputError as error:
            if self.on_error == "stop":
                raise
            return self._instead_of(sample, error)

    def _loaded(self, sample: Sample) -> Item:
        image, mask = sample.read()
        pixels = self.resize.apply_image(image)
        smooth = self.resize.apply_image(mask.astype(np.uint8) * np.uint8(255))
        label = smooth > 127 if (smooth > 127).any() else smooth == smooth.max()
        return {
            "image": torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
            "label": torch.from_numpy(label.astype(np.uint8))[None],
            "sample": sample.number,
            "name": sample.name,
        }

    def _instead_of(self, sample: Sample, error: InputError) -> Item:
        for other in self._after(sample):
            try:
                item = self._loaded(other)
            except InputError:
                continue
            if sample.name not in self._told:
                self._told.add(sample.name)
                _log.warning("%s It is skipped, and %s takes its place.", error, other.name)
            return item
        raise InputError("None of the samples can be read; `adaptsam data check` says why.") from error

    def _after(self, sample: Sample) -> Iterator[Sample]:
        start = bisect_right([other.number for other in self.stand_ins], sample.number)
        return (other for other in [*self.stand_ins[start:], *self.stand_ins[:start]] if other.name != sample.name)


class AugmentSampled(RandomizableTransform):
    """Draws an augmentation for each sample and epoch, and applies it to image and label.

    Attach it to the trainer, as a handler, so that it knows the epoch; worker processes that stay alive learn it too.
    A geometry that would leave nothing of the structure is drawn anew, at most eight times.

    Args:
        augmentation: the ranges, or a name of :data:`AUGMENTATIONS`.
        seed: of what is drawn.
    """

    def __init__(self, augmentation: Augmentation | str, seed: int = 0) -> None:
        super().__init__()
        ranges = augmentation if isinstance(augmentation, Augmentation) else AUGMENTATIONS.get(str(augmentation))
        if ranges is None:
            raise InputError(f"There is no augmentation {augmentation!r}; known are {', '.join(AUGMENTATIONS)}.")
        self.ranges, self.seed = ranges, seed
        # In shared memory, so that workers that outlive an epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def attach(self, engine: Engine) -> None:
        """Follow the epochs of a trainer; MONAI calls this for whatever stands in ``train_handlers``."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.set_epoch(engine.state.epoch))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the draws."""
        self._epoch.fill_(epoch)

    def __call__(self, item: Item) -> Item:
        rng = np.random.default_rng([self.seed, int(self._epoch), item["sample"], _STREAM])
        image, label = torch.as_tensor(item["image"]), torch.as_tensor(item["label"])
        for _ in range(_TRIES):
            geometry = Geometry.drawn(rng, self.ranges, image.shape[-2:])
            moved = geometry.apply(label, InterpolationMode.NEAREST)
            if moved.any():
                image, label = geometry.apply(image, InterpolationMode.BILINEAR), moved
                break
        return {**item, "image": recoloured(rng, self.ranges, image), "label": label}


@dataclass(frozen=True)
class Geometry:
    """One geometry: flips along (rows, columns), degrees, pixels (x, y), magnification, about the image's centre."""

    flips: tuple[bool, bool]
    rotation: float
    shift: tuple[int, int]
    scale: float
    shear: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, ranges: Augmentation, size: Sequence[int]) -> Geometry:
        """Draws one for images of ``size`` (h, w)."""
        flips = rng.random(2) < ranges.flips
        rotation, shear = rng.uniform(-1, 1, size=2) * (ranges.rotation, ranges.shear)
        dx, dy = np.rint(rng.uniform(-1, 1, size=2) * ranges.shift * (size[1], size[0]))
        scale = rng.uniform(*ranges.scale)
        return cls((bool(flips[0]), bool(flips[1])), float(rotation), (int(dx), int(dy)), float(scale), float(shear))

    def apply(self, image: Tensor, interpolation: InterpolationMode) -> Tensor:
        """To an image (C, h, w); what comes in from outside is 0."""
        along = [axis for axis, flip in zip((-2, -1), self.flips, strict=True) if flip]
        return pictures.affine(
            image.flip(along), self.rotation, list(self.shift), self.scale, [self.shear, 0.0], interpolation
        )


def recoloured(rng: np.random.Generator, ranges: Augmentation, image: Tensor) -> Tensor:
    """An image uint8 (3, h, w) with brightness, contrast, saturation and hue drawn, in this order."""
    brightness, contrast, saturation = (
        rng.uniform(*limits) for limits in (ranges.brightness, ranges.contrast, ranges.saturation)
    )
    hue = rng.uniform(-1, 1) * ranges.hue
    image = pictures.adjust_brightness(image, brightness)
    image = pictures.adjust_contrast(image, contrast)
    if ranges.saturation != (1.0, 1.0):
        image = pictures.adjust_saturation(image, saturation)
    return pictures.adjust_hue(image, hue) if ranges.hue else image


class PadSampled(Transform):
    """Fills image and label to the model's square; see :func:`adaptsam.finetune.padding.padded`.

    Args:
        config: of the model.
    """

    def __init__(self, config: SamConfig) -> None:
        self.config = config

    def __call__(self, item: Item) -> Item:
        image, label = padded(self.config, torch.as_tensor(item["image"]), torch.as_tensor(item["label"]))
        return {**item, "image": image, "label": label}


def sample_error(error: BaseException) -> InputError | None:
    """The AdaptSAM error about a sample within an error that MONAI or a worker process has wrapped; None if none.

    ``Compose`` hides an error behind "applying transform", and a worker process sends it as text.
    """
    chain: BaseException | None = error
    while chain is not None:
        said = re.findall(r"adaptsam\.errors\.\w+: (.+)", str(chain))
        if said:
            return InputError(said[0])
        if isinstance(chain, InputError):
            return chain
        chain = chain.__cause__ or chain.__context__
    return None
