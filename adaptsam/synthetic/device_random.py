"""Random numbers on any device. Nothing here waits for a GPU: what is drawn never comes back to the program."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor


def generator(device: str | torch.device, *numbers: int) -> torch.Generator:
    """A generator on a device that the numbers name: a seed, a stage, a step."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(seed)


def normal(rng: torch.Generator, shape: Sequence[int], device: torch.device) -> Tensor:
    return torch.randn(tuple(shape), generator=rng, device=device)


def uniform(
    rng: torch.Generator, shape: Sequence[int], device: torch.device, low: float = 0.0, high: float = 1.0
) -> Tensor:
    return low + (high - low) * torch.rand(tuple(shape), generator=rng, device=device)


def chance(rng: torch.Generator, shape: Sequence[int], device: torch.device, share: float) -> Tensor:
    """Bool of that shape, true with the probability ``share``."""
    return torch.rand(tuple(shape), generator=rng, device=device) < share


def choice(rng: torch.Generator, shares: Sequence[float], shape: Sequence[int], device: torch.device) -> Tensor:
    """int64 of that shape, the place in ``shares`` of what was drawn, with probabilities in proportion to them."""
    edges = list(accumulate(shares))
    drawn = torch.rand(tuple(shape), generator=rng, device=device) * edges[-1]
    chosen = torch.zeros(tuple(shape), dtype=torch.int64, device=device)
    for edge in edges[:-1]:
        chosen += drawn >= edge
    return chosen
