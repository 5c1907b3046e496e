"""The real process with the bundled model: one start (torch takes seconds) for all of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thorax import Case, dice_of, thorax

from adaptsam.image.volume import Geometry, Volume
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient

QUICK = {"register": "off", "fusion": "off", "acceptance": "off"}
ENDS = ("done", "error", "cancelled", "lost")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def worker(cache: Path) -> Iterator[WorkerClient]:
    client = WorkerClient(environment={**os.environ, "ADAPTSAM_CACHE": str(cache)})
    yield client
    client.close()


def described(volume: Volume, **more: Any) -> wire.Message:
    grid = volume.geometry
    geometry = {"shape": grid.shape, "spacing": grid.spacing, "origin": grid.origin, "direction": grid.direction}
    return {"array": volume.array, "geometry": geometry, "modality": volume.modality, **more}


def propagation(prior: Case, targets: list[Volume], **more: Any) -> wire.Message:
    structures = [{"name": one.name, "mask": wire.pack_mask(one.mask)} for one in prior.structures.structures]
    named = [described(target, key=f"t{number}") for number, target in enumerate(targets)]
    content = {"run": "r", "prior": described(prior.volume), "structures": structures, "targets": named}
    return content | {"settings": QUICK} | more


def collect(worker: WorkerClient, number: int) -> list[wire.Message]:
    found: list[wire.Message] = []
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found += [event for event in worker.events() if event["id"] == number]
        if found and found[-1]["event"] in ENDS:
            return found
        time.sleep(0.02)
    raise AssertionError(f"No end in time; the worker said {list(worker.log)[-5:]}.")


def test_what_is_here_is_told_before_anything_runs(worker: WorkerClient) -> None:
    hello = collect(worker, worker.request("hello"))[0]
    assert hello["devices"][-1]["name"] == "cpu"
    assert 0 < hello["devices"][-1]["free"] <= hello["devices"][-1]["total"]
    assert hello["models"][0]["name"] is None
    assert hello["models"][0]["here"]


def test_a_run_gives_what_the_package_gives_and_a_correction_follows(worker: WorkerClient) -> None:
    prior, target = thorax(), thorax(shift_mm=(6, 4, 0), seed=1)
    events = collect(worker, worker.request("propagate", **propagation(prior, [target.volume])))
    assert events[-1]["event"] == "done", events[-1]
    [expected] = propagate(prior.volume, prior.structures, [target.volume], settings=PropagationSettings(**QUICK))
    [result] = [event for event in events if event["event"] == "result"]
    assert result["target"] == "t0"
    for one, structure in zip(result["structures"], expected.structures.structures, strict=True):
        assert np.array_equal(wire.unpack_mask(one["mask"]), structure.mask)
    shares = [event["share"] for event in events if event["event"] == "progress"]
    assert shares == sorted(shares)
    slices = [one for event in events if event["event"] == "partial" for one in event["slices"]]
    assert {one["structure"] for one in slices} <= {"tumour", "heart"}

    report = result["structures"][1]["report"]
    best = max(report["slices"], key=lambda one: one["confidence"])
    asked = {"run": "r", "target": "t0", "structure": "heart", "index": best["index"]}
    unclicked = [False] * len(best["labels"])
    events = collect(
        worker, worker.request("correct", points=best["points"], labels=best["labels"], clicked=unclicked, **asked)
    )
    whole = wire.unpack_mask(result["structures"][1]["mask"])
    assert dice_of(wire.unpack_mask(events[0]["mask"]), whole[best["index"]]) > 0.3  # of other prompts, in one try
    drawn = wire.pack_mask(whole[best["index"]])
    events = collect(worker, worker.request("follow", mask=drawn, indices=[best["index"] + 1], **asked))
    assert events[0]["event"] == "slice"
    assert events[-1]["event"] == "done"


def test_a_video_is_followed_as_the_package_follows_it_and_its_frames_can_be_corrected(worker: WorkerClient) -> None:
    rows, columns = np.indices((96, 96))
    masks = [(columns - x) ** 2 + (rows - 48) ** 2 <= 20**2 for x in (30, 40, 50, 60)]
    frames = [np.where(one[..., None], (210, 120, 110), (60, 90, 120)).astype(np.uint8) for one in masks]
    volumes = [Volume(one[None], Geometry((1, 96, 96), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))) for one in frames]
    content = {
        "run": "video",
        "prior": described(volumes[1]),
        "structures": [{"name": "disc", "mask": wire.pack_mask(masks[1][None])}],
        "targets": [described(volumes[n], key=f"f{n}") for n in (0, 2, 3)],
        "settings": {"acceptance": "off", "p2sam.positives": [1, 2]},
        "drawn": 1,
    }
    events = collect(worker, worker.request("track", **content))
    assert events[-1]["event"] == "done", events[-1]
    results = [event for event in events if event["event"] == "result"]
    assert [one["target"] for one in results] == ["f0", "f2", "f3"]
    settings = VideoSettings(acceptance="off", p2sam=replace(VideoSettings().p2sam, positives=(1, 2)))
    expected = list(propagate_video(frames, 1, {"disc": masks[1]}, settings=settings))
    for result, made in zip(results, (expected[0], *expected[2:]), strict=True):
        [one] = result["structures"]
        assert np.array_equal(wire.unpack_mask(one["mask"])[0], made.masks["disc"])
        assert one["report"]["pixels"] == made.reports["disc"].area
        assert one["report"]["slices"][0]["confidence"] == pytest.approx(made.reports["disc"].confidence, abs=1e-6)
    shares = [event["share"] for event in events if event["event"] == "progress"]
    assert shares == sorted(shares)

    asked = {"run": "video", "target": "f3", "structure": "disc", "index": 0}
    events = collect(worker, worker.request("correct", points=[[60, 48], [4, 4]], labels=[1, 0], **asked))
    again = wire.unpack_mask(events[0]["mask"])
    assert again[48, 60]
    assert not again[4, 4]
    drawn = wire.pack_mask(masks[3])
    events = collect(worker, worker.request("follow", mask=drawn, targets=["f2", "f0"], **asked))
    assert [event.get("target") for event in events] == ["f2", "f0", None]
    [event] = collect(worker, worker.request("follow", mask=drawn, targets=["f9"], **asked))
    assert "does not remember this frame" in event["message"]


def test_a_wrong_request_gives_a_sentence_and_the_worker_goes_on(worker: WorkerClient, tmp_path: Path) -> None:
    prior = thorax()
    wrong = propagation(prior, [prior.volume], settings={"register": "sideways"})
    [event] = collect(worker, worker.request("propagate", **wrong))
    assert event["event"] == "error"
    assert event["message"].startswith("register can be")
    [event] = collect(worker, worker.request("propagate", **propagation(prior, [prior.volume], checkpoint="/no/file")))
    assert "There is no model file" in event["message"]
    damaged = tmp_path / "sam_vit_b.pth"
    damaged.write_bytes(b"PK\x03\x04 cut off")
    [event] = collect(
        worker, worker.request("propagate", **propagation(prior, [prior.volume], checkpoint=str(damaged)))
    )
    assert event["event"] == "error"
    assert "sam_vit_b.pth" in event["message"]
    forgotten = {"run": "other", "target": "t0", "structure": "heart", "index": 3, "points": [], "labels": []}
    [event] = collect(worker, worker.request("correct", **forgotten))
    assert "press Apply again" in event["message"]
    [event] = collect(worker, worker.request("dance"))
    assert "does not know 'dance'" in event["message"]


def test_cancelling_stops_within_two_seconds_and_the_worker_goes_on(worker: WorkerClient) -> None:
    prior = thorax()
    targets = [thorax(shift_mm=(3, n, 0), seed=n).volume for n in range(4)]
    number = worker.request("propagate", **propagation(prior, targets, run="cancelled"))
    while not any(event["event"] == "progress" for event in worker.events()):
        time.sleep(0.01)
    worker.cancel(number)
    asked = time.monotonic()
    assert collect(worker, number)[-1]["event"] == "cancelled"
    assert time.monotonic() - asked < 2.5  # a second process may be busy on this machine
    assert collect(worker, worker.request("hello"))[-1]["event"] == "done"


def test_another_window_on_the_same_images_encodes_nothing_and_no_image_is_kept(
    worker: WorkerClient, cache: Path
) -> None:
    prior, target = thorax(), thorax(shift_mm=(6, 4, 0), seed=1)
    asked = propagation(prior, [target.volume], settings={**QUICK, "register": "rigid"})
    results = []
    for client in (worker, WorkerClient(environment={**os.environ, "ADAPTSAM_CACHE": str(cache)})):
        events = collect(client, client.request("propagate", **asked))
        assert events[-1]["event"] == "done", events[-1]
        results += [event for event in events if event["event"] == "result"]
    client.close()
    assert results[1]["encoded"] == 0
    assert [one["mask"] for one in results[0]["structures"]] == [one["mask"] for one in results[1]["structures"]]
    files = list(cache.iterdir())
    assert files
    assert all(path.suffix == ".safetensors" and len(path.stem) == 64 for path in files)


def test_images_do_not_outlive_the_window(worker: WorkerClient) -> None:
    collect(worker, worker.request("hello"))
    assert worker._worker is not None
    folder, process = worker.folder, worker._worker.process
    assert folder is not None
    assert process.stdin is not None
    process.stdin.close()  # what the system does when the window is killed
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert process.wait(10) == 0
