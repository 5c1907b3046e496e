"""Training in the real process: curves as they come, a stop, going on, and the agent in the list."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from thorax import thorax
from worker.test_worker_process import collect, described

from adaptsam.alignsam import load_agent
from adaptsam.image.volume import Volume
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient

#: The bundled model on six slices, two steps, one epoch: a training of a second.
QUICK = {
    "environment.patch": 160,
    "environment.steps": 2,
    "training.episodes": 3,
    "training.epochs": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[WorkerClient]:
    pytest.importorskip("torchrl")
    client = WorkerClient(environment={**os.environ, "ADAPTSAM_AGENTS": str(folder)})
    yield client
    client.close()


def taught(**more: Any) -> wire.Message:
    """Eight slices of the thorax, the first four of which show the heart."""
    case = thorax()
    grid = case.volume.geometry
    volume = Volume(case.volume.array[8:16], type(grid)((8, *grid.shape[1:]), grid.spacing, grid.origin), "CT")
    mask = case.mask("heart")[8:16].copy()
    mask[4:] = False
    return described(volume, title="Planning", mask=mask) | more


def asked(**more: Any) -> wire.Message:
    plain = "Segmentation category and type~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~~^^~^^"  # Slicer's own default
    return {
        "name": "small heart",
        "volumes": [taught()],
        "modality": "CT",
        "settings": QUICK,
        "images": 3,
        "terminology": plain,
    } | more


def test_an_agent_is_trained_stopped_taken_up_again_and_listed(worker: WorkerClient, folder: Path) -> None:
    number = worker.request("train", **asked())
    events: list[wire.Message] = []
    while not events or events[-1]["event"] not in ("cancelled", "done", "error", "lost"):
        for event in worker.events():
            events.append(event)
            if event["event"] == "curve":
                worker.cancel(number)
    assert events[-1]["event"] == "cancelled", events[-1]
    [listed, _] = collect(worker, worker.request("agents"))
    assert listed["unfinished"] == ["small heart"]
    assert not list(folder.glob("*.safetensors"))

    events = collect(worker, worker.request("train", **asked()))
    assert events[-1]["event"] == "done", events[-1]
    curves = [event["episodes"] for event in events if event["event"] == "curve"]
    assert [len(one) for one in curves][-1] == 3
    assert len(curves[0]) > 1  # what was learnt before the stop is told again, and not done again
    assert {"mean_return", "iou", "loss_actor", "loss_critic", "loss_recalibration"} <= set(curves[-1][0])
    shares = [event["share"] for event in events if event["event"] == "progress" and event["stage"] == "train"]
    assert shares == sorted(shares)
    [trained] = [event for event in events if event["event"] == "trained"]
    few, alone = trained["warnings"]
    assert few.startswith("There are 3 training images, where the paper has 50: expect an agent")
    assert alone.startswith("No image could be held back")
    agent = trained["agent"]
    assert agent["target"]["name"] == "small heart"
    assert agent["target"]["code"] == ["80891009", "SCT", "Heart"]
    assert agent["shown"] == {"window": "auto", "view": "body", "plane": 2, "modality": "CT", "color": False}
    assert agent["scores"]["images_without"] == 3
    assert Image.open(io.BytesIO(base64.b64decode(agent["picture"]))).size == (64, 64)
    assert load_agent(folder / "small heart.agent.safetensors").training["images"] == 3
    [listed, _] = collect(worker, worker.request("agents"))
    assert listed["unfinished"] == []
    assert "small heart" in {one["name"] for one in listed["agents"]}


def test_a_folder_teaches_as_well(worker: WorkerClient, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        mask = np.zeros((40, 48), np.uint8)
        mask[10:25, 12 + number : 30] = 255
        Image.fromarray(mask // 2 + 40).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    events = collect(worker, worker.request("train", **asked(name="box", volumes=[], folder={"path": str(tmp_path)})))
    assert events[-1]["event"] == "done", events[-1]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"volumes": []}, "There is no volume to learn from"),
        ({"volumes": [taught(mask=np.zeros((8, 80, 96), bool))]}, "The target is nowhere on Planning"),
        ({"volumes": [taught(mask=np.ones((8, 80, 90), bool))]}, "lies on another grid"),
        ({"name": "a/b"}, "An agent's name has"),
        ({"name": "small heart"}, "There is an agent small heart already"),
        ({"settings": {"training.episodes": 0}}, "whole number from 1"),
        ({"settings": {"training.nonsense": 1}}, "There is no setting"),
        ({"branch": "explicit", "text": "heart"}, "needs a CLIP"),
        (
            {"branch": "explicit", "text": "spleen", "clip": "phantom_clip"},
            "does not know the word 'spleen'",
        ),
        ({"folder": {"path": "/nowhere/at/all"}}, "is not a folder"),
    ],
)
def test_what_cannot_be_trained_with_is_a_sentence(worker: WorkerClient, more: dict[str, Any], sentence: str) -> None:
    event = collect(worker, worker.request("train", **asked(**({"name": "n"} | more))))[-1]
    assert event["event"] == "error", event
    assert sentence in event["message"]
    assert "--overwrite" not in event["message"]
