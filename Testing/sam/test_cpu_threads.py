"""One thread for small work, in one caller and in several at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from adaptsam.sam.cpu_threads import one_thread

BEFORE = 3


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()}


@pytest.fixture
def three_threads() -> Iterator[None]:
    np.ones((2, 2)) @ np.ones((2, 2))
    with ThreadpoolController().limit(limits=BEFORE, user_api="blas"):
        if blas_threads() != {BEFORE}:
            pytest.skip("this BLAS cannot have three threads")
        yield


@pytest.mark.usefixtures("three_threads")
def test_nested_limits_end_with_the_outermost() -> None:
    with one_thread():
        with one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {BEFORE}


@pytest.mark.usefixtures("three_threads")
def test_the_last_of_two_threads_gives_the_threads_back() -> None:
    entered, leave, seen = threading.Event(), threading.Event(), []

    def second() -> None:
        with one_thread():
            entered.set()
            leave.wait(10)
            seen.append(blas_threads())

    thread = threading.Thread(target=second)
    with one_thread():
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join()
    assert seen == [{1}]
    assert blas_threads() == {BEFORE}


@pytest.mark.usefixtures("three_threads")
def test_an_error_gives_the_threads_back() -> None:
    with pytest.raises(ValueError, match="stop"), one_thread():
        raise ValueError("stop")
    assert blas_threads() == {BEFORE}
