"""Items are worked through a few at a time, and progress is reported between batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adaptsam.errors import Cancelled
from adaptsam.slicewise.batch_loop import batches


def test_every_item_comes_once_and_progress_follows_each_batch() -> None:
    told: list[tuple[str, int, int]] = []
    found = list(batches("abcde", 2, lambda *state: told.append(state), "segment", 5))
    assert found == [(0, ["a", "b"]), (2, ["c", "d"]), (4, ["e"])]
    assert told == [("segment", 0, 5), ("segment", 2, 5), ("segment", 4, 5), ("segment", 5, 5)]


def test_a_later_wave_goes_on_counting_and_more_items_than_expected_raise_the_total() -> None:
    told: list[tuple[str, int, int]] = []
    loop = batches([7, 8, 9], 2, lambda *state: told.append(state), "segment", 6, done=4)
    assert [done for done, _ in loop] == [4, 6]
    assert told == [("segment", 4, 6), ("segment", 6, 6), ("segment", 7, 7)]


def test_no_item_is_taken_before_its_batch_is_due() -> None:
    taken: list[int] = []

    def frames() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    loop = batches(frames(), 2, lambda *state: None, "segment", 6)
    next(loop)
    assert taken == [0, 1]


def test_cancelling_ends_the_loop_between_batches() -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise Cancelled

    worked: list[list[int]] = []
    with pytest.raises(Cancelled):
        worked.extend(batch for _, batch in batches(range(6), 2, stop, "segment", 6))
    assert worked == [[0, 1]]
