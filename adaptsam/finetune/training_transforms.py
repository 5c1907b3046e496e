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
from torch.nn import functional
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
        affine: how often rotation, scale, shear and shift are drawn at all.
        rotation: degrees, either way.
        scale: smallest and largest magnification, drawn for rows and for columns.
        shear: degrees, least and most, drawn along the rows and along the columns.
        shift: of the image's sides, either way.
        recolouring: how often intensities and colours are changed at all.
        recoloured_first: before the geometry, so that what comes in from outside stays black.
        brightness: smallest and largest factor of the intensities.
        gain: smallest and largest factor of the intensities that goes with ``offset``.
        offset: of 255, added after ``gain``, either way.
        contrast: of their distance from the mean.
        saturation: of their distance from gray.
        hue: share of the colour circle, either way.
    """

    flips: float = 0.5
    affine: float = 1.0
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: tuple[float, float] = (0.0, 0.0)
    shift: float = 0.0
    recolouring: float = 1.0
    recoloured_first: bool = False
    brightness: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)
    offset: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0


AUGMENTATIONS = {
    "nsclc-radiomics": Augmentation(
        affine=0.5, rotation=10.0, scale=(0.8, 1.2), recolouring=0.5, gain=(0.8, 1.2), offset=0.2
    ),
    "kvasir-seg": Augmentation(
        rotation=180.0,
        scale=(0.5, 1.5),
        shear=(-22.5, 22.0),
        shift=0.125,
        recoloured_first=True,
        brightness=(0.6, 1.6),
        contrast=(0.8, 1.2),
        saturation=(0.9, 1.1),
        hue=0.01,
    ),
}
"""By data set, as P²SAM's released code has them; the paper has "slight" contrast, saturation and hue for polyps."""


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
        recoloured_later = rng.random() < self.ranges.recolouring
        if recoloured_later and self.ranges.recoloured_first:
            image, recoloured_later = recoloured(rng, self.ranges, image), False
        for _ in range(_TRIES):
            geometry = Geometry.drawn(rng, self.ranges)
            moved = geometry.apply(label, "nearest")
            if moved.any():
                image, label = geometry.apply(image, "bilinear"), moved
                break
        return {**item, "image": recoloured(rng, self.ranges, image) if recoloured_later else image, "label": label}


@dataclass(frozen=True)
class Geometry:
    """One geometry: flips along (rows, columns), then shears, scales, rotation and shift about the image's centre.

    Attributes:
        rotation: degrees.
        shift: of the sides, x and y.
        scale: of x and of y.
        shear: degrees, along the rows and along the columns.
    """

    flips: tuple[bool, bool]
    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def drawn(cls, rng: np.random.Generator, ranges: Augmentation) -> Geometry:
        """Draws one."""
        flips = (bool(rng.random() < ranges.flips), bool(rng.random() < ranges.flips))
        if rng.random() >= ranges.affine:
            return cls(flips)
        rotation, *shift = (rng.uniform(-1, 1, size=3) * (ranges.rotation, ranges.shift, ranges.shift)).tolist()
        scale, shear = (tuple(rng.uniform(*limits, size=2).tolist()) for limits in (ranges.scale, ranges.shear))
        return cls(flips, rotation, (shift[0], shift[1]), scale, shear)

    def apply(self, image: Tensor, mode: str) -> Tensor:
        """To an image uint8 (C, h, w), "bilinear" or "nearest"; what comes in from outside is 0."""
        along = [axis for axis, flip in zip((-2, -1), self.flips, strict=True) if flip]
        image = image.flip(along)
        forward = self.matrix(image.shape[-2], image.shape[-1])
        if np.array_equal(forward, np.eye(3)):
            return image
        grid = functional.affine_grid(
            torch.from_numpy(np.linalg.inv(forward)[None, :2]).float(), [1, *image.shape], align_corners=False
        )
        moved = functional.grid_sample(image[None].float(), grid, mode, padding_mode="zeros", align_corners=False)
        return moved[0].round().to(image.dtype)

    def matrix(self, height: int, width: int) -> np.ndarray:
        """(3, 3) from places to places, x then y, where the image reaches from -1 to 1 along both axes."""
        turn, rows, columns = np.radians([self.rotation, *self.shear])
        sheared = np.array([[1.0, 0.0], [np.tan(columns), 1.0]]) @ np.array([[1.0, np.tan(rows)], [0.0, 1.0]])
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = np.eye(3)
        sides = np.array([width, height], float)
        # In pixels the two axes have one unit, and angles are angles.
        matrix[:2, :2] = turned @ np.diag(self.scale) @ sheared * sides / sides[:, None]
        matrix[:2, 2] = 2 * np.array(self.shift)
        return matrix


def recoloured(rng: np.random.Generator, ranges: Augmentation, image: Tensor) -> Tensor:
    """An image uint8 (3, h, w) with brightness, contrast, saturation and hue drawn, in an order that is drawn too."""
    brightness, gain, contrast, saturation = (
        rng.uniform(*limits) for limits in (ranges.brightness, ranges.gain, ranges.contrast, ranges.saturation)
    )
    offset, hue = rng.uniform(-1, 1, size=2) * (ranges.offset, ranges.hue)
    if ranges.offset or ranges.gain != (1.0, 1.0):
        image = (image.float() * gain + 255 * offset).clamp(0, 255).to(image.dtype)
    steps = [
        (ranges.brightness != (1.0, 1.0), pictures.adjust_brightness, brightness),
        (ranges.contrast != (1.0, 1.0), pictures.adjust_contrast, contrast),
        (ranges.saturation != (1.0, 1.0), pictures.adjust_saturation, saturation),
        (ranges.hue != 0.0, pictures.adjust_hue, hue),
    ]
    for number in rng.permutation(len(steps)):
        wanted, change, amount = steps[number]
        image = change(image, amount) if wanted else image
    return image


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
