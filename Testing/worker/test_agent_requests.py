"""Agents in the real process, with the bundled model: one start for all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blob_agent import make_agent
from thorax import thorax
from tiny_sam import tiny_model
from worker.test_worker_process import collect, described

from adaptsam.alignsam import load_agent, save_agent
from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings, autoprompt
from adaptsam.image.volume import Volume
from adaptsam.sam import SamModel, load_sam
from adaptsam.worker import wire_format as wire
from adaptsam.worker.client import WorkerClient

QUICK = {"acceptance": "off", "cleanup": False}
FAST = AutoPromptSettings(acceptance="off", cleanup=False)


@pytest.fixture(scope="module")
def model() -> SamModel:
    return load_sam(device="cpu")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, model: SamModel) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    save_agent(folder / "blob.agent.safetensors", make_agent(model))
    save_agent(folder / "lump.agent.safetensors", make_agent(model, "lump", seed=1))
    save_agent(folder / "stranger.agent.safetensors", make_agent(tiny_model(), "stranger"))
    (folder / "broken.agent.safetensors").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def worker(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    own = {"ADAPTSAM_AGENTS": str(shelf), "ADAPTSAM_CACHE": str(tmp_path_factory.mktemp("cache"))}
    client = WorkerClient(environment={**os.environ, **own})
    yield client
    client.close()


def image(**more: Any) -> wire.Message:
    return described(short(), key="t0", **more)


def short() -> Volume:
    """Six slices through the heart of the thorax."""
    whole = thorax().volume
    grid = whole.geometry
    return Volume(whole.array[6:12], type(grid)((6, *grid.shape[1:]), grid.spacing, grid.origin), "CT")


def asked(**more: Any) -> wire.Message:
    return {"run": "r", "targets": [image()], "agents": ["blob"], "settings": QUICK} | more


def test_the_agents_of_this_machine_are_told_with_what_they_are_for(worker: WorkerClient, shelf: Path) -> None:
    [event, _] = collect(worker, worker.request("agents"))
    known = {one["name"]: one for one in event["agents"]}
    assert known["blob"]["target"]["name"] == "blob"
    assert known["blob"]["target"]["code"] == ["4147007", "SCT", "Mass"]
    assert known["blob"]["shown"]["modality"] == "CT"
    assert known["blob"]["problem"] == ""
    assert Path(known["lump"]["path"]) == shelf / "lump.agent.safetensors"
    assert "damaged" in known["broken"]["problem"]


def test_agents_give_what_the_package_gives_with_every_step_and_go_on_from_changed_prompts(
    worker: WorkerClient, model: SamModel, shelf: Path
) -> None:
    events = collect(worker, worker.request("autoprompt", **asked(agents=["blob", "lump"])))
    assert events[-1]["event"] == "done", events[-1]
    packages = [load_agent(shelf / f"{name}.agent.safetensors", model) for name in ("blob", "lump")]
    expected = autoprompt(packages, short(), model=model, settings=FAST)
    [result] = [event for event in events if event["event"] == "result"]
    for one, structure in zip(result["structures"], expected.structures.structures, strict=True):
        assert np.array_equal(wire.unpack_mask(one["mask"]), structure.mask)
    assert result["encoded"] == 6  # of two agents that look alike
    shares = [event["share"] for event in events if event["event"] == "progress"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    slices = [one for event in events if event["event"] == "partial" for one in event["slices"]]
    assert {(one["structure"], one["index"]) for one in slices} == {(n, k) for n in ("blob", "lump") for k in range(6)}
    for one in slices:
        assert len(one["steps"]) == len(one["points"]) - one["first"] + 1

    one = next(one for one in slices if one["structure"] == "blob" and one["index"] == 3)
    prompts = {"points": one["points"][:3], "labels": one["labels"][:3]}
    where = {"run": "r", "target": "t0", "structure": "blob", "index": 3}
    [event, _] = collect(worker, worker.request("go_on", **where, **prompts))
    assert event["event"] == "slice"
    assert np.allclose(event["points"], one["points"], atol=1e-3)
    differing = wire.unpack_mask(event["mask"]) != wire.unpack_mask(one["mask"])
    assert differing.mean() < 1e-3
    [event, _] = collect(worker, worker.request("go_on", **where, **prompts, play=False))
    assert len(event["points"]) == 3


def test_a_region_bounds_the_result(worker: WorkerClient) -> None:
    [*_, result, _done] = collect(worker, worker.request("autoprompt", **asked(targets=[image(slices=[2, 3])])))
    mask = wire.unpack_mask(result["structures"][0]["mask"])
    assert not mask[[0, 1, 4, 5]].any()
    assert [one["index"] for one in result["structures"][0]["report"]["slices"]] == [2, 3]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"agents": ["stranger"]}, "was trained with another SAM"),
        ({"agents": ["nobody"]}, "There is no agent 'nobody'"),
        ({"agents": ["broken"]}, "damaged"),
        ({"agents": ["blob", "blob"]}, "Two agents find blob"),
        ({"agents": []}, "There is no agent"),
        ({"targets": [image(slices=[4, 9])]}, "numbered 0 to 5"),
        ({"targets": [image(box=(np.eye(4) + np.diag([9.0] * 3, 1)).tolist())]}, "holds no voxel"),
        ({"settings": {"use.steps": 0}}, "whole number of steps"),
        ({"texts": {"blob": "a lump"}}, "trained without a text"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(worker: WorkerClient, more: dict[str, Any], sentence: str) -> None:
    event = collect(worker, worker.request("autoprompt", **asked(**more)))[-1]
    assert event["event"] == "error"
    assert sentence in event["message"]


def test_a_run_that_is_forgotten_is_a_sentence(worker: WorkerClient) -> None:
    where = {"run": "none", "target": "t0", "structure": "blob", "index": 3, "points": [], "labels": []}
    [event] = collect(worker, worker.request("go_on", **where))
    assert "press Apply again" in event["message"]
