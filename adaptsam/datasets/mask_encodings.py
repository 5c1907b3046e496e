"""Pictures with a mask in the ways of the public benchmarks: any colour, soft edges, or one class among many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptsam.errors import InputError
from adaptsam.io.mask_images import read_gray
from adaptsam.io.video.frames import opened_picture, read_picture


@dataclass(frozen=True)
class ColouredMask:
    """A picture whose mask is everything that is not black, in any colour, as PerSeg has it."""

    image: Path
    mask: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        with opened_picture(self.mask) as picture:
            marked = np.asarray(picture.convert("RGB")).max(axis=2) > 0
        return read_picture(self.image), marked


@dataclass(frozen=True)
class SoftMask:
    """A picture whose mask is what is brighter than the middle, as FSS-1000 has it."""

    image: Path
    mask: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        with opened_picture(self.mask) as picture:
            bright = np.asarray(picture.convert("L")) >= 128
        return read_picture(self.image), bright


@dataclass(frozen=True)
class ClassMask:
    """A picture whose mask is one value among the known ones, as COCO-20i has it."""

    image: Path
    mask: Path
    value: int
    largest: int

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        values = read_gray(self.mask)
        if values.max() > self.largest:
            raise InputError(f"{self.mask.name} has the value {values.max()}, but classes go to {self.largest}.")
        return read_picture(self.image), values == self.value
