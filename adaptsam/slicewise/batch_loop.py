"""The loop over slices, frames and phases: a few in memory at a time, with progress and cancelling between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from adaptsam.progress import Progress

Item = TypeVar("Item")


def batches(
    items: Iterable[Item], size: int, progress: Progress, stage: str, total: int, done: int = 0
) -> Iterator[tuple[int, list[Item]]]:
    """Yield items a few at a time, each batch with the number of items before it.

    An item is taken from ``items`` only when its batch is due. Progress is reported at the start, and when the caller
    requests the next batch, which is when the last one is worked through.

    Args:
        items: slices, frames or whatever is worked through in order.
        size: of a batch, at least 1.
        progress: receives the stage, with items done and in all; cancels by raising Cancelled.
        stage: the word for the work.
        total: how many items are known; more may come.
        done: items of earlier waves of the same work.
    """
    source = iter(items)
    progress(stage, done, total)
    while batch := list(islice(source, size)):
        yield done, batch
        done += len(batch)
        progress(stage, done, max(done, total))
