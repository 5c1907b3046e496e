"""The worker as Slicer's main thread sees it, without a worker: what breaks off ends alone, and is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def test_a_worker_elsewhere_is_started_by_its_command_and_needs_no_packages_here(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt
    from AdaptSAMLib import engine, packages

    from adaptsam.worker import client

    values = {"AdaptSAM/WorkerCommand": "ssh -T gpu '/opt/my python' -m adaptsam.worker -"}

    class Settings:
        def value(self, name: str, default: str) -> str:
            return values.get(name, default)

    made: list[Any] = []

    class Client:
        def __init__(self, *arguments: Any, command: Any) -> None:
            made.append(command)

        def request(self, do: str, **content: Any) -> int:
            return 1

        def events(self) -> list[Any]:
            return []

        def said(self) -> list[str]:
            return []

        def close(self) -> None:
            pass

    monkeypatch.setattr(qt, "QSettings", Settings)
    monkeypatch.setattr(client, "WorkerClient", Client)
    monkeypatch.setattr(packages, "missing", lambda *_: ["torch>=2.6"])
    own = engine.Engine()
    own.request("hello", lambda event: None)
    own.close()
    assert made == [["ssh", "-T", "gpu", "/opt/my python", "-m", "adaptsam.worker", "-"]]
    assert packages.lacking() == []
    values.clear()
    assert engine.elsewhere() == []
    assert packages.lacking() == ["torch>=2.6"]


def test_what_the_worker_writes_to_its_stderr_is_in_slicers_log(
    application: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    from AdaptSAMLib import engine

    program = (
        "import sys, json; print('a driver is old', file=sys.stderr, flush=True)\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'id': json.loads(line)['id'], 'event': 'done'}), flush=True)\n"
        "print('and gone', file=sys.stderr, flush=True)"
    )
    monkeypatch.setattr(engine, "elsewhere", lambda: [sys.executable, "-c", program])
    caplog.set_level("INFO")
    own, ended = engine.Engine(), []
    own.request("hello", lambda event: ended.append(event["event"]))
    until(lambda: bool(ended), 30)
    until(lambda: own.keepLog() or "AdaptSAM's worker: a driver is old" in caplog.messages, 10)
    own.close()
    assert ended == ["done"]
    assert caplog.messages.count("AdaptSAM's worker: a driver is old") == 1


def test_waiting_in_a_callback_is_refused_where_nothing_could_arrive(application: Any) -> None:
    from AdaptSAMLib.engine import Engine

    engine = Engine()
    told: list[str] = []

    def task() -> Iterator[None]:
        engine.wait(lambda: bool(told))
        yield

    engine.spawn(task(), told.append)
    engine.pump()
    assert "give wait=False there" in told[0]
