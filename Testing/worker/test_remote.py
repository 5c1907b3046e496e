"""A worker that shares nothing with the window but a pipe, as over ssh: images travel in the lines."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import InputError, OutputError
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient

ENDS = ("done", "error", "cancelled", "lost")
ROOT = Path(__file__).resolve().parents[2]


def through_a_pipe(folder: Path) -> list[str]:
    """As ssh: a process that only relays, to one with another working directory, environment and temporary folder."""
    folder.mkdir(exist_ok=True)
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in kept.items())
    return ["sh", "-c", f"cd {folder} && cat | env -i {settings} {shlex.quote(sys.executable)} -m adaptsam.worker -"]


def collect(client: WorkerClient, number: int, seconds: float = 400.0) -> list[wire.Message]:
    found: list[wire.Message] = []
    deadline = time.monotonic() + seconds
    while not found or found[-1]["event"] not in ENDS:
        assert time.monotonic() < deadline, list(client.log)[-5:]
        found += [event for event in client.events() if event["id"] == number]
        time.sleep(0.02)
    return found


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WorkerClient]:
    made = WorkerClient(command=through_a_pipe(tmp_path / "there"))
    yield made
    made.close()


def test_images_go_and_come_through_the_pipe_alone_and_leave_with_it(client: WorkerClient, tmp_path: Path) -> None:
    events = collect(client, client.request("sample", name="endoscopy"))
    assert events[-1]["event"] == "done", events[-1]
    assert client.folder is not None
    frames = [client.array(one["array"])[0] for one in events if one["event"] == "image"][:3]
    mask = wire.unpack_mask(events[0]["structures"][0]["mask"])

    grid = {
        "shape": (1, *frames[0].shape[:2]),
        "spacing": (1, 1, 1),
        "origin": (0, 0, 0),
        "direction": np.eye(3).ravel().tolist(),
    }
    described = [{"array": one[None], "geometry": grid, "key": str(n)} for n, one in enumerate(frames)]
    content = {"run": "r", "prior": described[0], "structures": [{"name": "polyp", "mask": mask}], "drawn": 0}
    events = collect(client, client.request("track", targets=described[1:], settings={"acceptance": "off"}, **content))
    assert events[-1]["event"] == "done", events[-1]
    found = [event["structures"][0]["mask"] for event in events if event["event"] == "result"]
    settings = VideoSettings(acceptance="off")
    expected = list(propagate_video(frames, 0, {"polyp": mask[0]}, settings=settings))[1:]
    for packed, made in zip(found, expected, strict=True):
        assert np.array_equal(wire.unpack_mask(packed)[0], made.masks["polyp"])
    [there] = (tmp_path / "there").glob("adaptsam-*")
    assert not [*client.folder.glob("*.npy"), *there.glob("*.npy")], "an image lies nowhere once it was read"

    client.close()
    deadline = time.monotonic() + 20
    while there.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not there.exists()


def test_a_login_that_prints_something_ends_with_a_sentence() -> None:
    client = WorkerClient(command=["sh", "-c", "echo Welcome to the cluster; cat > /dev/null"])
    [event] = collect(client, client.request("hello"), 20)
    assert event["event"] == "lost"
    assert "is damaged" in event["message"]
    client.close()


def test_what_the_connection_said_last_is_told() -> None:
    client = WorkerClient(command=["sh", "-c", "echo Permission denied >&2; exit 255"])
    [event] = collect(client, client.request("hello"), 20)
    assert event["message"].endswith("It said last: Permission denied")
    client.close()


@pytest.mark.parametrize("shape", [(0, 3), (5,), (3, 700, 800)])
def test_an_array_arrives_in_pieces_as_it_was_sent(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(-1000, 900, shape).astype(np.int16)
    arriving = wire.ArrivingFiles(tmp_path)
    pieces = list(wire.array_lines(array))
    for piece in pieces[:-1]:
        arriving.take(wire.from_line(wire.to_line(piece)))
        assert not (tmp_path / piece["name"]).exists()
    arriving.take(pieces[-1])
    again = list(wire.file_lines(tmp_path, pieces[0]["name"]))
    assert np.array_equal(wire.take_array(tmp_path, pieces[0]["name"]), array)
    (tmp_path / "other").mkdir()
    other = wire.ArrivingFiles(tmp_path / "other")
    for piece in again:
        other.take(piece)
    assert np.array_equal(wire.take_array(tmp_path / "other", pieces[0]["name"]), array)
    assert all(len(wire.to_line(piece)) < 2 * wire.PIECE for piece in pieces)


def test_no_file_lands_outside_of_the_folder_and_none_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving = wire.ArrivingFiles(tmp_path / "in")
    (tmp_path / "in").mkdir()
    [*_, piece] = wire.array_lines(np.zeros(10))
    for name in ("../escape.npy", "/etc/passwd", "x.npy", piece["name"] + ".part"):
        with pytest.raises(InputError, match="another name"):
            arriving.take(piece | {"name": name})
    with pytest.raises(InputError, match="damaged"):
        arriving.take(piece | {"bits": "%%%"})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    arriving.take(piece | {"more": True})
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="No space left on device; make room there"):
        arriving.take(piece)
    monkeypatch.undo()
    assert list((tmp_path / "in").iterdir()) == []
