"""A study of drawn pictures that takes milliseconds, and cases that go wrong in every way that is known."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptsam.datasets import Sample
from adaptsam.errors import InputError
from adaptsam.evaluation.evaluation_cases import PictureTask, Study, StudyCase
from adaptsam.evaluation.methods import Outlined, Pair
from adaptsam.evaluation.pooled_measures import IOU, SLICE_DICE, pooled_iou


@dataclass(frozen=True)
class Drawn:
    """A source of a sample: a bright disc on noise."""

    seed: int

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        image = rng.integers(0, 60, (40, 56, 3)).astype(np.uint8)
        rows, columns = np.mgrid[:40, :56]
        y, x = rng.uniform(14, 26), rng.uniform(16, 40)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < 100
        image[mask] += 150
        return image, mask


def drawn_samples(count: int) -> tuple[Sample, ...]:
    return tuple(Sample(f"drawn-{n}", f"drawn-{n}", Drawn(n)) for n in range(count))


@dataclass(frozen=True)
class DrawnTasks:
    """Pictures of one case; a seed below 0 is a case that cannot be read."""

    seed: int
    count: int = 2

    def __call__(self) -> Iterator[PictureTask]:
        if self.seed < 0:
            raise InputError("frame-3.png is damaged; copy it again.")
        prior = Outlined(*Drawn(1000 + self.seed).read())
        for number in range(self.count):
            image, mask = Drawn(100 * self.seed + number).read()
            pair = Pair(f"case-{self.seed}/{number}", prior, image)
            yield PictureTask(pair, mask, group=str(number % 2))


def drawn_study(cases: int = 3, broken: int = 0) -> Study:
    """Good cases first, then broken ones."""
    good = [StudyCase(f"case-{n}", DrawnTasks(n)) for n in range(cases)]
    bad = [StudyCase(f"broken-{n}", DrawnTasks(-1 - n)) for n in range(broken)]
    return Study(
        "drawn",
        "Drawn discs",
        (*good, *bad),
        (SLICE_DICE, IOU, pooled_iou()),
        "Discs on noise.",
        training=drawn_samples(4),
        published=("p2sam-2",),
        skipped={"case-0 (again)": "There are two cases called case-0; the first is evaluated."},
        unit="picture",
    )


@dataclass(frozen=True)
class DyingTasks:
    """A case that kills the process that reads it: once, if ``marker`` names a file, else always."""

    seed: int
    marker: str

    def __call__(self) -> Iterator[PictureTask]:
        if not self.marker or not Path(self.marker).exists():
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from DrawnTasks(self.seed)()
