"""The order of samples in an epoch: drawn from seed and epoch alone, and taken up in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.data import DistributedSampler
from torch.utils.data import Dataset

from adaptsam.finetune.distributed import Processes


class EpochOrder(DistributedSampler):
    """A shuffled order that is the same whenever seed and epoch are; several processes share it.

    MONAI's engines tell it the epoch. ``skip`` leaves out the first samples of the next epoch only, those that were
    trained before an interruption.

    Args:
        dataset: what is ordered; it has a length.
        seed: of the order.
        processes: that share it; this one alone by default.
    """

    def __init__(self, dataset: Dataset, seed: int = 0, processes: Processes | None = None) -> None:
        rank, count = (processes.rank, processes.size) if processes is not None else (0, 1)
        super().__init__(dataset, num_replicas=count, rank=rank, shuffle=True, seed=seed)
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        order = torch.tensor(list(super().__iter__()))[self.skip :].tolist()
        self.skip = 0
        return iter(order)
