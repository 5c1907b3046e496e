"""The endless stream of training pairs: phantoms and scenes of random shapes, mixed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from adaptsam.finetune.pairs import VisitPairs, joined
from adaptsam.finetune.phantom_slices import draw_pair
from adaptsam.finetune.synthetic import draw_scenes

# Scenes drawn at a time on the CPU: few enough that what is computed stays in the cache.
_AT_ONCE = {"cpu": 1, "cuda": 8}


class TrainingPairs(IterableDataset[VisitPairs]):
    """Batches of ``batch`` pairs of ``size`` pixels, a share ``phantoms`` of them of phantoms, made on ``device``."""

    def __init__(self, batch: int, size: int, seed: int, phantoms: float = 0.5, device: str = "cpu") -> None:
        self.batch, self.size, self.seed, self.phantoms, self.device = batch, size, seed, phantoms, device

    def __iter__(self) -> Iterator[VisitPairs]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        while True:
            phantoms = int(rng.binomial(self.batch, self.phantoms))
            pairs = [draw_pair(rng, self.size, self.device) for _ in range(phantoms)]
            missing = self.batch - phantoms
            while missing:
                count = min(missing, _AT_ONCE.get(torch.device(self.device).type, 1))
                pairs.append(draw_scenes(generator, count, self.size, self.device))
                missing -= count
            yield joined(pairs)
