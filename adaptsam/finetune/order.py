"""The order of samples in an epoch: drawn from seed and epoch alone, and taken up in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.data import DistributedSampler
from torch import distributed
from torch.utils.data import Dataset


class EpochOrder(DistributedSampler):
    """A shuffled order that is the same whenever seed and epoch are; several processes share it.

    MONAI's engines tell it the epoch. ``skip`` leaves out the first samples of the next epoch only, those that were
    trained before an interruption.

    Args:
        dataset: what is ordered; it has a length.
        seed: of the order.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        count, rank = (distributed.get_world_size(), distributed.get_rank()) if several else (1, 0)
        super().__init__(dataset, num_replicas=count, rank=rank, shuffle=True, seed=seed)
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        order = torch.tensor(list(super().__iter__()))[self.skip :].tolist()
        self.skip = 0
        return iter(order)
