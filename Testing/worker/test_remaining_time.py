"""How long it will still take."""

from __future__ import annotations

import pytest

from adaptsam.worker.remaining_time import Clock


def test_the_share_grows_from_nothing_to_all() -> None:
    clock = Clock(2, now=lambda: 0.0)
    stages = [("prior", 0, 0, 4), ("prior", 0, 4, 4), ("register", 0, 0, 1), ("register", 0, 1, 1)]
    stages += [("segment", 0, 5, 10), ("segment", 0, 10, 10), ("register", 1, 0, 1), ("segment", 1, 10, 10)]
    shares = [clock.share(*stage) for stage in stages]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0


def test_the_remaining_time_follows_the_pace() -> None:
    times = iter([100.0, 130.0])
    clock = Clock(1, now=lambda: next(times))
    assert clock.remaining(0.25) == pytest.approx(90.0)


def test_nobody_guesses_at_the_very_beginning() -> None:
    assert Clock(1, now=lambda: 0.0).remaining(0.01) is None
