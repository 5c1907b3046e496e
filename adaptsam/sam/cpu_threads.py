"""One thread of every library, for what is too small to be shared among cores.

PyTorch, scikit-learn, NumPy and SciPy each bring threads of their own, and OpenMP's wait busily for one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the libraries to the calling thread, and give them back the threads that they had."""
    # PyTorch sets a new thread's number at its first question, over what was set before.
    torch.get_num_threads()
    with _libraries().limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own that are loaded; to find them takes some 20 ms."""
    return ThreadpoolController()
