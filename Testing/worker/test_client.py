"""The window's end, with processes that behave badly on purpose: quick ones, without torch."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest

from adaptsam.worker import client as client_module
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient, launch_here, why_lost

ECHO = "import sys\nfor line in sys.stdin: print(line.strip().replace('\"do\"', '\"event\"'), flush=True)"


def scripted(program: str) -> WorkerClient:
    """A client whose worker is a line of Python; FOLDER is its argument."""

    def launch(arguments: Sequence[str], environment: Mapping[str, str]) -> Popen[str]:
        return launch_here([sys.executable, "-c", program, arguments[-1]], environment)

    return WorkerClient(launch=launch)


@pytest.fixture
def clients() -> Iterator[list[WorkerClient]]:
    made: list[WorkerClient] = []
    yield made
    for one in made:
        one.close()


def last_of(client: WorkerClient, number: int, seconds: float = 20.0) -> wire.Message:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in client.events():
            if event["id"] == number and event["event"] in ("done", "error", "cancelled", "lost"):
                return event
        time.sleep(0.01)
    raise AssertionError("The worker gave no answer.")


def senders() -> int:
    """Threads that send to workers."""
    return sum("(_write)" in one.name for one in threading.enumerate())


def test_an_answer_ends_the_request(clients: list[WorkerClient]) -> None:
    client = scripted(ECHO)
    clients.append(client)
    number = client.request("done")
    assert client.busy
    assert last_of(client, number)["event"] == "done"
    assert not client.busy


def test_arrays_go_through_files_that_vanish_with_the_client(clients: list[WorkerClient]) -> None:
    client = scripted(ECHO)
    clients.append(client)
    event = last_of(client, client.request("done", prior={"array": np.arange(6).reshape(2, 3)}))
    folder = client._folder
    assert folder is not None
    assert np.array_equal(wire.read_array(folder, event["prior"]["array"]), np.arange(6).reshape(2, 3))
    client.close()
    assert not folder.exists()


def test_a_killed_worker_gives_a_sentence_and_the_next_request_a_new_worker(clients: list[WorkerClient]) -> None:
    client = scripted("import sys\nfor line in sys.stdin: pass")
    clients.append(client)
    before = senders()
    number = client.request("work")
    first = client.pid
    assert first is not None
    assert client._process is not None
    client._process.kill()
    event = last_of(client, number)
    assert event["event"] == "lost"
    assert "ended from outside" in event["message"]
    assert client.pid is None
    client.request("work")
    assert client.pid not in (None, first)
    deadline = time.monotonic() + 20
    while senders() > before + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert senders() <= before + 1, "the thread that sent to the first one has ended"


def test_a_worker_that_does_not_hear_is_ended_when_cancelled(
    clients: list[WorkerClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    client = scripted("import time; time.sleep(600)")
    clients.append(client)
    number = client.request("work")
    client.cancel(number)
    assert last_of(client, number)["event"] == "cancelled"
    assert client.pid is None


def test_cancelling_what_waits_behind_another_request_leaves_that_one_alone(
    clients: list[WorkerClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    client = scripted("import time; time.sleep(600)")
    clients.append(client)
    working, waiting = client.request("work"), client.request("wait")
    worker = client.pid
    client.cancel(waiting)
    assert last_of(client, waiting)["event"] == "cancelled"
    time.sleep(0.1)
    assert list(client.events()) == []
    assert client.pid == worker
    client.cancel(working)
    assert last_of(client, working)["event"] == "cancelled"
    assert client.pid is None


def test_what_waits_behind_a_request_whose_worker_had_to_be_ended_is_done_by_the_next_one(
    clients: list[WorkerClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    mark = tmp_path / "was here"
    once = f"import os, time\nif not os.path.exists({str(mark)!r}): open({str(mark)!r}, 'w'); time.sleep(600)\n"
    client = scripted(once + ECHO)
    clients.append(client)
    deaf, next_one = client.request("work"), client.request("done", image=np.arange(3))
    deadline = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    client.cancel(deaf)
    assert last_of(client, deaf)["event"] == "cancelled"
    event = last_of(client, next_one)
    assert event["event"] == "done"
    assert client.folder is not None
    assert np.array_equal(wire.read_array(client.folder, event["image"]), np.arange(3))


def test_what_waits_behind_a_request_that_ends_its_worker_is_done_by_the_next_one(clients: list[WorkerClient]) -> None:
    dies_at_bad = ECHO.replace("for line in sys.stdin:", "for line in sys.stdin: 'bad' in line and sys.exit(3);")
    client = scripted(dies_at_bad)
    clients.append(client)
    bad, worse, good = client.request("bad"), client.request("bad"), client.request("done")
    ended = {}
    deadline = time.monotonic() + 20
    while len(ended) < 3 and time.monotonic() < deadline:
        ended |= {event["id"]: event["event"] for event in client.events()}
        time.sleep(0.01)
    assert ended == {bad: "lost", worse: "lost", good: "done"}


def test_a_worker_that_lacks_a_package_says_which(clients: list[WorkerClient]) -> None:
    client = scripted("import a_package_that_is_not_there")
    clients.append(client)
    event = last_of(client, client.request("work"))
    assert event["message"].startswith("The worker lacks the Python package a_package_that_is_not_there;")


def test_an_interpreter_that_is_not_there_is_told(clients: list[WorkerClient]) -> None:
    client = WorkerClient(python="/no/such/python")
    clients.append(client)
    event = last_of(client, client.request("hello"))
    assert event["event"] == "error"
    assert "cannot be started" in event["message"]


def test_a_full_disk_is_told_and_the_worker_lives(clients: list[WorkerClient], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, array: np.ndarray, allow_pickle: bool) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    client = scripted(ECHO)
    clients.append(client)
    last_of(client, client.request("done"))
    monkeypatch.setattr(np, "save", full)
    event = last_of(client, client.request("done", prior={"array": np.zeros(3)}))
    assert event["event"] == "error"
    assert "No space left on device" in event["message"]
    assert client.pid is not None
    assert client._folder is not None
    assert not list(client._folder.glob("*.npy"))


def test_the_exit_code_is_put_into_words() -> None:
    assert "memory ran out" in why_lost(-9, [])
    assert "code 3" in why_lost(3, ["Traceback", "ValueError: odd"])
    assert "ValueError: odd" in why_lost(3, ["Traceback", "ValueError: odd"])
