"""The window's end, with processes that behave badly on purpose: quick ones, without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from worker.launchers import write_launcher

from adaptsam.worker import client as client_module
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient, launch_here, why_lost
from adaptsam.worker.exchange import ExchangeFolder, remove_leftovers

ECHO = "import sys\nfor line in sys.stdin: print(line.strip().replace('\"do\"', '\"event\"'), flush=True)"


def scripted(program: str) -> WorkerClient:
    """A client whose worker is a line of Python; FOLDER is its argument."""

    def launch(arguments: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
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
    folder = client.folder
    assert folder is not None
    assert np.array_equal(wire.take_array(folder, event["prior"]["array"]), np.arange(6).reshape(2, 3))
    client.close()
    assert not folder.exists()


def test_a_killed_worker_gives_a_sentence_and_the_next_request_a_new_worker(clients: list[WorkerClient]) -> None:
    client = scripted("import sys\nfor line in sys.stdin: pass")
    clients.append(client)
    before = senders()
    number = client.request("work")
    first = client.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
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
    assert np.array_equal(wire.take_array(client.folder, event["image"]), np.arange(3))


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


#: A worker that says which process it is, as the real one does, and then does nothing.
SAYS_PID = """import json, os, sys, time
from pathlib import Path
from adaptsam.worker.exchange import LastWords
LastWords(Path(sys.argv[1])).begin()
print(json.dumps({"event": "started", "pid": os.getpid()}), flush=True)
"""


def launched(tmp_path: Path, program: str) -> WorkerClient:
    """The same behind a launcher as Slicer's: Python is its child, a crash is exit code 1, a kill is not passed on."""
    launcher = write_launcher(tmp_path)

    def launch(arguments: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
        return launch_here([str(launcher), "-c", program, arguments[-1]], environment)

    return WorkerClient(launch=launch)


def soon(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about any more does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_behind_a_launcher_the_worker_itself_is_ended_and_its_successor_keeps_its_folder(
    clients: list[WorkerClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    client = launched(tmp_path, SAYS_PID + "time.sleep(600)")
    clients.append(client)
    number = client.request("work")
    assert soon(lambda: client.worker_pid)
    inner, folder = client.worker_pid, client.folder
    assert inner not in (None, client.pid)
    client.cancel(number)
    assert last_of(client, number)["event"] == "cancelled"
    client.request("work", image=np.arange(3))
    after = client.folder
    assert inner is not None
    assert soon(lambda: not lives(inner))
    assert folder is not None
    assert soon(lambda: not folder.exists())
    assert after is not None
    assert after != folder
    assert soon(lambda: list(after.glob("*.npy")))


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("os.kill(os.getpid(), 9)", "most likely because memory ran out"),
        ("import ctypes; ctypes.string_at(0)", "The worker crashed (Segmentation fault)"),
        ("LastWords(Path(sys.argv[1])).say({'message': 'No disk.'}); os._exit(3)", "No disk."),
    ],
)
def test_behind_a_launcher_the_worker_says_why_it_ended(
    clients: list[WorkerClient], tmp_path: Path, end: str, sentence: str
) -> None:
    client = launched(tmp_path, SAYS_PID + end)
    clients.append(client)
    event = last_of(client, client.request("work"))
    assert event["event"] == "lost"
    assert sentence in event["message"]


def test_what_dead_windows_left_is_removed_at_the_next_start_and_what_is_in_use_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used = ExchangeFolder()
    program = "from adaptsam.worker.exchange import ExchangeFolder as F; f = F(); print(f.path); import os; os._exit(0)"
    left = subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=-1)
    folder = Path(left.stdout.decode().strip())
    (folder / "patient.npy").write_bytes(b"an image")
    (tmp_path / "adaptsam-other").mkdir()
    assert remove_leftovers() == 0, "one that is just being made stays"
    assert remove_leftovers(older=-1) == 1
    assert not folder.exists()
    assert used.path.exists()
    assert used.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["adaptsam-other"]


def test_what_a_cancelled_request_still_sends_is_not_left_in_the_folder(clients: list[WorkerClient]) -> None:
    client = scripted(ECHO)
    clients.append(client)
    last_of(client, client.request("done"))
    assert client.folder is not None
    number = client.request("image", array=np.arange(3))
    client._waiting.clear()
    assert soon(lambda: list(client.folder.glob("*.npy")))
    assert soon(lambda: not list(client.events()) and not list(client.folder.glob("*.npy"))), number


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
    assert client.folder is not None
    assert not list(client.folder.glob("*.npy"))


def test_the_exit_code_is_put_into_words() -> None:
    assert "memory ran out" in why_lost(-9, [])
    assert "code 3" in why_lost(3, ["Traceback", "ValueError: odd"])
    assert "ValueError: odd" in why_lost(3, ["Traceback", "ValueError: odd"])
