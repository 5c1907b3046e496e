"""The endless stream of training pairs: phantoms and scenes of random shapes, mixed.

Phantoms are hundreds of small steps a slice, which a GPU would spend waiting for the program. So processes on the CPU
make them, gray and packed, while the scenes of a whole batch are drawn at once on the device. A batch depends on the
seed and its number alone, whoever makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from adaptsam.pretrain.phantom_slices import draw_pairs
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.random_scenes import draw_scenes
from adaptsam.synthetic.visit_pairs import PackedPairs, VisitPairs, joined

# Scenes drawn at a time: on the CPU few enough that what is computed stays in the cache, else what memory allows.
_AT_ONCE = {"cpu": 1}
_MOST_AT_ONCE = 32
_BATCHES_AHEAD = 4


@dataclass(frozen=True)
class TrainingPairs:
    """Batches of ``batch`` pairs of ``size`` pixels, a share ``phantoms`` of them of phantoms.

    ``seed`` may be several numbers. ``workers`` is the number of processes that make phantoms; 0: this one does.
    """

    batch: int
    size: int
    seed: tuple[int, ...]
    phantoms: float = 0.5
    device: str = "cpu"
    workers: int = 0

    def starting(self, first: int) -> Iterator[VisitPairs]:
        """Batch number ``first`` and all that follow."""
        device = torch.device(self.device)
        for number, phantoms in zip(count(first), self._phantoms(first), strict=False):
            drawn = [] if phantoms is None else [phantoms.unpacked(device)]
            missing = self.batch - self.phantoms_in(number)
            rng = generator(device, *self.seed, number)
            while missing:
                some = min(missing, _AT_ONCE.get(device.type, _MOST_AT_ONCE))
                drawn.append(draw_scenes(rng, some, self.size, device))
                missing -= some
            yield joined(drawn)

    def phantoms_in(self, number: int) -> int:
        """Number of a batch's pairs that are phantoms: their share exactly, over many batches."""
        return int(self.phantoms * self.batch * (number + 1)) - int(self.phantoms * self.batch * number)

    def _phantoms(self, first: int) -> Iterator[PackedPairs | None]:
        batches = _PhantomBatches(self)
        if not self.workers or not self.phantoms:
            return (batches[number] for number in count(first))
        # Processes of their own: a fork would take along what the GPU's driver and the threads of PyTorch hold.
        return iter(
            DataLoader(
                batches,
                batch_size=None,
                sampler=_From(first),
                num_workers=self.workers,
                prefetch_factor=_BATCHES_AHEAD,
                collate_fn=_as_it_is,
                multiprocessing_context="spawn",
            )
        )


class _PhantomBatches(Dataset[PackedPairs | None]):
    """The phantoms of each batch."""

    def __init__(self, pairs: TrainingPairs) -> None:
        self.pairs = pairs

    def __getitem__(self, number: int) -> PackedPairs | None:
        wanted = self.pairs.phantoms_in(number)
        rng = np.random.default_rng([*self.pairs.seed, number])
        return draw_pairs(rng, wanted, self.pairs.size) if wanted else None


class _From(Sampler[int]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return count(self.first)


def _as_it_is(batch: Any) -> Any:
    """Arrays travel through a pipe; as tensors they would need shared memory, of which containers often have little."""
    return batch
