"""The list of agents, from the heads of their files: without PyTorch, and with nothing that breaks a window."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alignsam.test_agent_file import forge, package  # noqa: F401
from safetensors.torch import load_file, save_file

from adaptsam.alignsam import Package, load_agent, save_agent
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE
from adaptsam.alignsam.agent_listing import list_agents
from adaptsam.autoprompting.agent_thumbnail import agent_picture

#: Lists agents where PyTorch cannot be imported.
ALONE = """
import json, sys
for name in ("torch", "safetensors", "torchvision", "monai"):
    sys.modules[name] = None
from adaptsam.alignsam.agent_listing import list_agents
print(json.dumps(list_agents()))
"""


@pytest.fixture
def shelf(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    picture = agent_picture([np.full((30, 40), 80, np.uint8)], [np.eye(30, 40, dtype=bool)])
    scores = {"iou": 0.5, "each": [0.4, 0.6], "note": "good", "comparators": {"points": 0.6, "odd": "much"}}
    save_agent(tmp_path / "heart.agent.safetensors", replace(package, picture=picture, scores=scores))
    return tmp_path


def test_agents_are_listed_without_pytorch(shelf: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    [heart] = [one for one in json.loads(done.stdout) if one["name"] == "heart"]
    whole = load_agent(shelf / "heart.agent.safetensors").describe()
    told = json.loads(json.dumps(whole))
    assert {key: value for key, value in heart.items() if key in told and key != "scores"} == {
        key: value for key, value in told.items() if key != "scores"
    }
    assert heart["scores"] == {"iou": 0.5, "comparators": {"points": 0.6}}, "numbers alone, as a window shows them"
    assert heart["outdone_by"] == {"points": 0.6}
    assert "SCT^80891009^Heart" in heart["terminology"]
    assert heart["picture"]


def test_a_file_that_is_no_agent_is_listed_with_its_problem(shelf: Path) -> None:
    file = shelf / "heart.agent.safetensors"
    whole = file.read_bytes()
    damaged = {
        "empty": b"",
        "nothing": b"nothing",
        "cut": whole[:-1],
        "longer": whole + b"x",
        "head": whole[:40],
        "huge": (2**62).to_bytes(8, "little") + whole[8:],
        "list": (2).to_bytes(8, "little") + b"[]",
        "deep": (10**6).to_bytes(8, "little") + b"[" * 10**6,
    }
    for name, content in damaged.items():
        (shelf / f"{name}.agent.safetensors").write_bytes(content)
    save_file(load_file(file), shelf / "other.agent.safetensors")
    forge(file, lambda described, _: described["target"].update(name="\x1b[2Jheart"))
    found = {one["name"]: one["problem"] for one in list_agents()}
    assert found["heart"] == ""
    for name in damaged:
        assert found[name] == f"{name}.agent.safetensors is damaged or not an agent file; copy it again."
    assert "is not an agent file of AdaptSAM" in found["other"]
    assert "does not describe an agent as it should" in found["forged"]
    assert all(problem.isprintable() for problem in found.values())


def test_a_file_that_is_named_is_listed_too(shelf: Path, package: Package) -> None:  # noqa: F811
    save_agent(shelf / "apart" / "lung.agent.safetensors", package)
    assert "lung" not in {one["name"] for one in list_agents()}
    assert list_agents([shelf / "apart" / "lung.agent.safetensors"])[-1]["name"] == "lung"
