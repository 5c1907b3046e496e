"""Work shared among threads: in order, stopped from outside, each on one thread of the libraries."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from adaptsam.errors import Cancelled
from adaptsam.progress import Repeating, unasked
from adaptsam.slicewise.side_by_side import SideBySide


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_their_items(workers):
    def slow_first(n: int) -> int:
        time.sleep(0.05 if n == 0 else 0)
        return n * n

    with SideBySide(workers) as side_by_side:
        assert list(side_by_side.each(slow_first, range(5), unasked)) == [(n, n * n) for n in range(5)]


def test_items_are_worked_on_at_the_same_time():
    together = threading.Barrier(2, timeout=20)
    with SideBySide(2) as side_by_side:
        assert len(list(side_by_side.each(lambda n: together.wait(), range(4), unasked))) == 4


def test_libraries_compute_on_one_thread_meanwhile_and_as_before_afterwards():
    before = torch.get_num_threads()
    with SideBySide(2) as side_by_side:
        inside = [made for _, made in side_by_side.each(lambda n: torch.get_num_threads(), range(2), unasked)]
        assert [*inside, torch.get_num_threads()] == [1, 1, 1]
    assert torch.get_num_threads() == before


def test_progress_is_reported_on_the_waiting_thread_alone_and_stops_all_others():
    seen, calls = set(), []

    def progress(stage: str, done: int, total: int) -> None:
        seen.add(threading.get_ident())
        calls.append(done)
        if len(calls) > 3:
            raise Cancelled("enough")

    steps = Repeating(progress)
    ended = []

    def endless(n: int) -> None:
        try:
            while True:
                steps.again()
                time.sleep(0.01)
        except Cancelled:
            ended.append(n)
            raise

    steps("segment", 0, 2)
    with pytest.raises(Cancelled), SideBySide(2) as side_by_side:
        list(side_by_side.each(endless, range(2), steps.again))
    assert sorted(ended) == [0, 1]
    assert seen == {threading.get_ident()}


def test_a_fault_on_a_thread_is_raised_where_the_result_is_wanted():
    def faulty(n: int) -> int:
        return 1 // (1 - n)

    with SideBySide(2) as side_by_side, pytest.raises(ZeroDivisionError):
        list(side_by_side.each(faulty, range(3), unasked))
