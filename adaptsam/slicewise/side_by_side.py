"""Slices and structures worked on side by side, one on each core.

The matrices of a small model are too small to be shared among cores: PyTorch's threads then wait busily for one another
and for the threads of other libraries. So every library computes on one thread, and work is shared slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from adaptsam.progress import Tick, become_helper
from adaptsam.sam.cpu_threads import one_thread

Item = TypeVar("Item")
Made = TypeVar("Made")

#: Seconds between two ticks while threads are waited for.
_TICK_S = 0.05


class SideBySide:
    """Threads for a piece of work; a context manager.

    Args:
        workers: how many items are worked on at once. With one, all is done on the calling thread, and libraries share
            out their products as they always do.

    Example:
        >>> with SideBySide(2) as side_by_side:
        ...     for item, made in side_by_side.each(work, items, tick):
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> SideBySide:
        if self.workers > 1:
            self._stack.enter_context(one_thread())
            self._pool = ThreadPoolExecutor(self.workers, "adaptsam-slices", become_helper)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def each(self, work: Callable[[Item], Made], items: Sequence[Item], tick: Tick) -> Iterator[tuple[Item, Made]]:
        """Yield every item with what ``work`` makes of it, in order; ``tick`` is called meanwhile, on this thread."""
        if self._pool is None:
            for item in items:
                tick()
                yield item, work(item)
            return
        futures: list[Future[Made]] = [self._pool.submit(_alone, work, item) for item in items]
        for item, future in zip(items, futures, strict=True):
            while not future.done():
                tick()
                wait([future], _TICK_S)
            yield item, future.result()


def _alone(work: Callable[[Item], Made], item: Item) -> Made:
    with one_thread():
        return work(item)
