"""One thread of every library, for what is too small to be shared among cores.

PyTorch, scikit-learn, NumPy and SciPy each bring threads of their own, and OpenMP's wait busily for one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the libraries to the calling thread; the last of several callers gives back the threads that they had."""
    # PyTorch sets a new thread's number at its first question, over what was set before.
    torch.get_num_threads()
    with _process.limited(), _libraries("openmp").limit(limits=1):
        yield


class _ProcessLimit:
    """The limit of libraries whose number of threads is the whole process's: set by the first, lifted by the last."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limiter: Any = None

    @contextmanager
    def limited(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limiter = _libraries("blas").limit(limits=1)
                _disown()
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limiter.restore_original_limits()
                    _disown()


_process = _ProcessLimit()


def _disown() -> None:
    """Let whichever thread comes last lift the limit: threadpoolctl 3.8 obeys only the thread that set the first."""
    for library in _libraries("blas").lib_controllers:
        disown = getattr(library, "clear_controlling_thread", None)
        if disown is not None:
            disown(force=True)


@lru_cache
def _libraries(kind: str) -> ThreadpoolController:
    """The loaded libraries of a kind, "blas" or "openmp"; to find them takes some 20 ms."""
    return ThreadpoolController().select(user_api=kind)
