"""The processes that train one model together, as ``torchrun`` starts them; one process alone is the same with one.

Everything is PyTorch's own (DistributedDataParallel) and MONAI's (its samplers, its metrics). What a training draws
depends on seed, epoch, sample and round, so that the number of processes changes nothing but the order of sums.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import DistributedSampler
from torch import distributed, nn
from torch.utils.data import Dataset

from adaptsam.errors import InputError
from adaptsam.sam import choose_device


@dataclass(frozen=True)
class Processes:
    """This process among ``size``: its ``rank`` from 0, and the device that it works on."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """This process's share of a batch of all processes.

        Raises:
            InputError: the batch cannot be divided.
        """
        if batch % self.size:
            raise InputError(f"A batch of {batch} cannot be shared by {self.size} processes; give a multiple of that.")
        return batch // self.size

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over the processes; the network itself where there is one."""
        if self.size == 1:
            return network
        own = [self.device] if self.device.type == "cuda" else None
        # The encoder has gradients in the first round only.
        return nn.parallel.DistributedDataParallel(network, device_ids=own, find_unused_parameters=True)

    def in_order(self, dataset: Dataset) -> DistributedSampler:
        """This process's samples of a validation, each sample once.

        Raises:
            InputError: there are fewer samples than processes.
        """
        count = len(dataset)  # type: ignore[arg-type]
        if count < self.size:
            raise InputError(f"{self.size} processes cannot share what there is to validate ({count}); start fewer.")
        return DistributedSampler(dataset, even_divisible=False, num_replicas=self.size, rank=self.rank, shuffle=False)

    def leave(self, network: nn.Module) -> None:
        """End what :func:`join_processes` began, in order: all arrive, the wrapper goes, then the group.

        A wrapper that outlives its group, or a process that leaves while another one is still in a collective call,
        ends in threads that the interpreter's end finds running: PyTorch then aborts a training that went well.

        Args:
            network: what :meth:`wrap` gave; it cannot be trained further.
        """
        if self.size == 1 or not distributed.is_initialized():
            return
        distributed.barrier()
        if isinstance(network, nn.parallel.DistributedDataParallel):
            for held in ("reducer", "logger", "process_group"):
                if hasattr(network, held):
                    delattr(network, held)
        gc.collect()
        distributed.destroy_process_group()


def join_processes(device: str = "auto") -> Processes:
    """Meet the other processes of ``torchrun``: over NCCL where each has a GPU, and over Gloo on the CPU.

    Args:
        device: auto, cpu or cuda; with cuda each process of a machine takes the next one.

    Raises:
        InputError: the device is not there, or there are more processes than GPUs.
    """
    chosen = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", 1)) if distributed.is_available() else 1
    if size == 1:
        return Processes(0, 1, chosen)
    if chosen.type == "cuda":
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise InputError(f"There are {torch.cuda.device_count()} GPUs for more processes; start one for each.")
        chosen = torch.device("cuda", number)
        torch.cuda.set_device(chosen)
    options: dict[str, Any] = {"device_id": chosen} if chosen.type == "cuda" else {}
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", **options)
    return Processes(distributed.get_rank(), distributed.get_world_size(), chosen)
