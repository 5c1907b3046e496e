"""Cancel and Apply as in Slicer: behind a launcher, and with an event loop that keeps the interpreter's lock."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from worker.launchers import hold, write_launcher

from adaptsam.worker import client as client_module
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient
from adaptsam.worker.process_tree import launch_here

if sys.platform == "win32":
    pytest.skip("the launcher is a shell script", allow_module_level=True)

TESTING = Path(__file__).resolve().parents[1]
IMAGE = np.arange(1000, dtype=np.int16)

#: Rounds of cancelling; CANCELS=50 for more.
TIMES = int(os.environ.get("CANCELS", "6"))


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    (tmp_path / "exchange").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "exchange"))
    launcher = str(write_launcher(tmp_path))

    def launch(arguments: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
        own = {**environment, "PYTHONPATH": str(TESTING.parent), "OMP_NUM_THREADS": "1"}
        return launch_here([launcher, str(TESTING / "worker" / "light_worker.py"), arguments[-1]], own)

    made = WorkerClient(launch=launch)
    yield made
    made.close()


def heard(client: WorkerClient, number: int, last: str = "", seconds: float = 60.0) -> list[wire.Message]:
    """The events of a request until its end, or until one of a kind."""
    found: list[wire.Message] = []
    deadline = time.monotonic() + seconds
    while not found or found[-1]["event"] not in ("done", "error", "cancelled", "lost", last):
        assert time.monotonic() < deadline, list(client.log)[-5:]
        hold(0.02)
        found += [one for one in client.events() if one["id"] == number]
    return found


def test_cancel_and_apply_at_once_at_any_moment_loses_nothing(
    client: WorkerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.3)
    rng = np.random.default_rng(0)
    for _ in range(TIMES):
        began = time.monotonic()
        number = client.request("work", image=IMAGE, seconds=1.0, deaf=bool(rng.random() < 0.5))
        end = time.monotonic() + rng.uniform(0, 1.5)
        ended: list[wire.Message] = []
        while time.monotonic() < end and not ended:
            hold(0.02)
            ended += [one for one in client.events() if one["event"] == "done"]
        if ended:
            continue
        client.cancel(number)
        last = heard(client, number)[-1]["event"]
        # Where the worker was done before Cancel reached it, it says so; the panel drops what it then has.
        assert last == "cancelled" or (last == "done" and time.monotonic() - began >= 1.0)
    events = heard(client, client.request("work", image=IMAGE, seconds=0.0, deaf=False))
    assert [one["event"] for one in events] == ["progress", "result", "done"]
    assert events[1]["total"] == int(IMAGE.sum())
    deadline = time.monotonic() + 20
    while len(list((tmp_path / "exchange").iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((tmp_path / "exchange").iterdir()) == [client.folder], "workers that were ended left nothing"
    assert not list((tmp_path / "exchange").rglob("*.npy"))


def test_nothing_of_a_request_is_left_in_the_folder_when_it_has_ended(client: WorkerClient) -> None:
    for seconds in (0.0, 30.0):
        number = client.request("work", image=IMAGE, seconds=seconds, deaf=False)
        if heard(client, number, "progress")[-1]["event"] == "progress":
            client.cancel(number)
            heard(client, number)
        assert client.folder is not None
        assert not list(client.folder.glob("*.npy"))


def test_events_do_not_lag_while_the_event_loop_keeps_the_lock(client: WorkerClient) -> None:
    heard(client, client.request("burst", size=1, count=1))
    for size, count in ((16_000, 134), (400_000, 4)):
        start = time.monotonic()
        events = heard(client, client.request("burst", size=size, count=count))
        assert len(events) == count + 1
        assert time.monotonic() - start < 2.0  # it took 2.3 and 4.6 s when a line was read at a time
