"""The worker as Slicer's main thread sees it, without a worker: what breaks off ends alone, and is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_a_task_that_breaks_off_is_told_and_the_next_ones_go_on(
    application: Any, until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    from AdaptSAMLib.engine import Engine

    engine = Engine()
    told, steps = [], []

    def broken() -> Any:
        yield
        raise RuntimeError("no such array")

    def sound() -> Any:
        for step in range(3):
            steps.append(step)
            yield

    engine.spawn(broken(), told.append)
    engine.spawn(sound(), told.append)
    until(lambda: len(steps) == 3 and bool(told), 10)
    assert told == ["The inputs could not be prepared: no such array"]
    until(lambda: not engine._timer.active, 10)
    engine.close()


def test_a_run_whose_inputs_break_off_ends_with_a_sentence_and_the_scene_as_it_was(
    logic: Any, visits: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    import slicer
    from AdaptSAMLib import images

    prior, contours, target = visits
    before = slicer.mrmlScene.GetNumberOfNodes()

    def lost(*_values: Any) -> None:
        raise MemoryError("an array of 3 GB")

    monkeypatch.setattr(images, "described", lost)
    run = logic.propagate(prior, contours, [target], segments=["heart"], wait=False)
    until(lambda: run.ended is not None, 20)
    assert run.ended == ("error", "The inputs could not be prepared: an array of 3 GB")
    assert slicer.mrmlScene.GetNumberOfNodes() == before
