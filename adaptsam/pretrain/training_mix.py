"""The batches of the bundled model's training: pairs of real images, of phantom visits and of synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from adaptsam.pretrain.drawn_pairs import DrawnPairs
from adaptsam.pretrain.image_pool import ImagePool
from adaptsam.pretrain.pooled_pairs import PooledPairs
from adaptsam.synthetic.visit_pairs import VisitPairs

#: How often each set is drawn from, in parts of all real images; sets that are not named count 1.
SOURCE_WEIGHTS = {
    "kvasir": 8.0,
    "msd-lung": 9.0,
    "4d-lung": 6.0,
    "msd-hippocampus": 1.0,
    "pyradiomics": 1.0,
    "sam-med2d": 2.0,
    "busi": 1.0,
    "nuclei": 1.0,
    "davis": 1.0,
    "radiograph": 0.5,
    "ms-visits": 1.0,
}


class TrainingMix(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless batches: images uint8 (B, 2, 3, S, S) and masks bool (B, 2, TARGETS, S, S).

    Args:
        pools: folders of image pools, with the numbers of the images that may be drawn.
        drawn: folders and names of synthetic pairs, with the share of a batch that they have.
        batch: pairs of a batch.
        size: of the images.
        seed: of everything; batch number n is the same whoever draws it.
        first: the first batch's number.
    """

    def __init__(
        self,
        pools: list[tuple[str, list[int]]],
        drawn: list[tuple[str, str, float]],
        batch: int,
        size: int,
        seed: int,
        first: int = 0,
    ) -> None:
        self.pools, self.drawn, self.batch, self.size, self.seed, self.first = pools, drawn, batch, size, seed, first

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        real = self._real()
        synthetic = [DrawnPairs.mapped(Path(folder), name) for folder, name, _ in self.drawn]
        shares = np.array([share for _, _, share in self.drawn])
        weight = np.array([sum(SOURCE_WEIGHTS.get(s, 1.0) for s in pairs[1]) for pairs in real])
        for number in count(self.first + start, step):
            rng = np.random.default_rng([self.seed, number])
            pairs = []
            for _ in range(self.batch):
                kind = rng.choice(len(shares) + 1, p=[*shares, 1 - shares.sum()])
                if kind < len(shares):
                    pairs.append(synthetic[kind].draw(rng, self.size))
                else:
                    pairs.append(real[rng.choice(len(real), p=weight / weight.sum())][0].draw(rng))
            images, masks = (np.ascontiguousarray(np.stack(part)) for part in zip(*pairs, strict=True))
            yield torch.from_numpy(images), torch.from_numpy(masks)

    def _real(self) -> list[tuple[PooledPairs, set[str]]]:
        found = []
        for folder, usable in self.pools:
            pool = ImagePool(folder)
            sources = {pool.entries[i].source for i in usable}
            found.append((PooledPairs(pool, usable, SOURCE_WEIGHTS, self.size), sources))
        return found

    def batches(self, workers: int) -> Iterator[VisitPairs]:
        """The batches as the losses want them; drawn ahead by other processes if there are any."""
        # Thread by thread: what a worker draws must not wait for the threads of the training.
        loader: DataLoader[Any] = DataLoader(
            self, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, worker_init_fn=_alone
        )
        for images, masks in loader:
            yield VisitPairs(images.float(), masks)


def _alone(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
