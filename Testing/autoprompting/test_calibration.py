"""An agent's limits from cases of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob_agent import GRID, make_agent, scene
from tiny_sam import TINY, tiny_model

from adaptsam.alignsam import Package, load_agent, save_agent
from adaptsam.autoprompting.calibration import OwnCase, calibrate
from adaptsam.cli import main
from adaptsam.errors import InputError
from adaptsam.image import Structure, StructureSet, Volume
from adaptsam.io import write_structures, write_volume
from adaptsam.sam import EmbeddingStore, SamModel, load_sam, save_checkpoint


def blob() -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return ((i - 40) / 9) ** 2 + ((j - 30) / 10) ** 2 + ((k - 5) / 4) ** 2 <= 1


@pytest.fixture(scope="module")
def model() -> SamModel:
    return tiny_model(spread=2.0)


@pytest.fixture(scope="module")
def agent(model: SamModel) -> Package:
    return make_agent(model)


def test_the_limits_fit_the_cases_and_say_what_changed(model: SamModel, agent: Package) -> None:
    cases = [OwnCase(f"scan {seed}", scene(seed), blob()) for seed in range(2)]
    calibrated, found = calibrate(agent, cases, store=EmbeddingStore(model))
    assert (found.cases, found.slices_with, found.slices_without) == (2, 18, 2)
    assert found.with_before == found.without_before == 1.0  # this agent accepts everything
    assert found.with_after - found.without_after >= 0
    assert calibrated.least_evidence == found.least_after > 0
    assert calibrated.novelty is not None
    assert calibrated.training["calibration"]["slices_with"] == 18
    assert agent.novelty is None


def test_cases_that_cannot_set_a_limit_are_refused(model: SamModel, agent: Package) -> None:
    store, volume = EmbeddingStore(model), scene()
    nothing, everywhere = np.zeros(GRID.shape, bool), np.ones(GRID.shape, bool)
    for cases, message in (
        ([], "no case to calibrate with"),
        ([OwnCase("a", volume, nothing)], "No case shows blob"),
        ([OwnCase("a", volume, everywhere)], "Every slice shows blob"),
        ([OwnCase("a", volume, everywhere[:3])], "The target of a lies on another grid"),
    ):
        with pytest.raises(InputError, match=message):
            calibrate(agent, cases, store=store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "sam.safetensors", tiny_model(spread=2.0).sam, TINY)
    save_agent(tmp_path / "blob.agent.safetensors", make_agent(load_sam(tmp_path / "sam.safetensors", "cpu")))
    write_volume(tmp_path / "ct.nrrd", scene())
    write_volume(tmp_path / "air.nrrd", Volume(scene(1).array[:4], replace(GRID, shape=(4, 64, 64)), "CT"))
    write_structures(tmp_path / "ct.seg.nrrd", StructureSet((Structure("blob", blob()),), GRID), scene())
    return tmp_path


def arguments(folder: Path, **changes: str) -> list[str]:
    options = {"image": "ct.nrrd", "contours": "ct.seg.nrrd", "without": "air.nrrd", "output": "own.agent.safetensors"}
    paths = [f"--{name}={folder / value}" for name, value in (options | changes).items()]
    common = [f"--checkpoint={folder / 'sam.safetensors'}", "--device=cpu", "--quiet"]
    return ["agents", "calibrate", str(folder / "blob.agent.safetensors"), *paths, *common]


def test_the_command_writes_an_agent_with_new_limits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cases"], told["slices_with"], told["slices_without"]) == (2, 9, 5)
    assert load_agent(folder / "own.agent.safetensors").least_evidence == told["least_after"]
    assert main(arguments(folder)) != 0
    assert "own.agent.safetensors is there already; add --overwrite" in capsys.readouterr().err
    assert main([*arguments(folder), "--overwrite"]) == 0
    assert "new ones will be worse" in capsys.readouterr().out


def test_the_command_refuses_what_does_not_belong_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(folder), f"--image={folder / 'air.nrrd'}"]) != 0
    assert "1 --contours were given for 2 --image" in capsys.readouterr().err
    assert main([*arguments(folder), "--structure=liver"]) != 0
    assert "liver" in capsys.readouterr().err
    assert not (folder / "own.agent.safetensors").exists()
