"""A worker that nobody asks gives the GPU back, and then ends; the next request finds everything in its place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from adaptsam.worker import server
from adaptsam.worker.worker_session import Session


def test_models_leave_their_device_after_a_while_and_the_worker_ends_after_a_longer_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "REST", 0.01)
    monkeypatch.setattr(server, "END", 0.05)
    rested: list[bool] = []

    class Idle:
        def rest(self) -> None:
            rested.append(True)

    own: Any = server.Server(io.StringIO(), io.StringIO(), tmp_path)
    assert own._next(Idle()) is None
    assert rested == [True]
    own._queue.put({"id": 1, "do": "hello"})
    assert own._next(Idle())["do"] == "hello"
    assert rested == [True]


def test_a_resting_session_brings_its_models_back_for_the_next_request(tmp_path: Path) -> None:
    moves: list[str] = []

    class Model:
        device = "cuda:0"

        class sam:  # noqa: N801
            @staticmethod
            def to(device: str) -> None:
                moves.append(device)

    session: Any = Session(tmp_path)
    model = Model()
    session._loaded.add(model)
    session._jobs["look"] = lambda request, emit, check: moves.append("asked")
    session.answer({"do": "look"}, None, None)
    session.rest()
    session.answer({"do": "look"}, None, None)
    session.answer({"do": "look"}, None, None)
    assert moves == ["asked", "cpu", "cuda:0", "asked", "asked"]
