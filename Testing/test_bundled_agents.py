"""The agents that come with AdaptSAM: found by name, small, for the bundled SAM, and better than chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import adaptsam
from adaptsam.alignsam import PAPER_USE, load_agent, prompt, score
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE, agents_in
from adaptsam.autoprompting.volume_autoprompting import autoprompt
from adaptsam.cli import main
from adaptsam.image import Geometry, Volume
from adaptsam.pretrain.phantom_slices import draw_target
from adaptsam.sam import EmbeddingStore, SamModel, load_sam
from adaptsam.synthetic.thorax_phantom import phantom_patient

BUNDLED = Path(adaptsam.__file__).parents[1] / "Resources" / "agents"
LARGEST = 5_000_000


@pytest.fixture(scope="module")
def model() -> SamModel:
    return load_sam(None, "cpu")


def test_the_bundled_agents_are_listed_by_name(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["agents", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["agents"]}
    assert {"heart", "heart_by_text", "left_lung", "right_lung"} <= set(rows)
    assert not any(row["note"] for row in rows.values())


def test_what_is_in_a_bundled_agent_fits_a_terminal(capsys) -> None:
    assert main(["agents", "inspect", "left_lung"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert any("target.name" in line and "Lung-Left" in line for line in lines)


@pytest.mark.parametrize("path", agents_in(BUNDLED), ids=lambda path: path.stem)
def test_a_bundled_agent_is_small_and_prompts_the_bundled_model(path: Path, model: SamModel) -> None:
    package = load_agent(path, model)
    assert path.stat().st_size < LARGEST
    assert package.target.code is not None
    assert package.scores["iou"] > 0.1
    assert len(package.training["history"]) >= 5


@pytest.mark.slow  # two hundred decodings
def test_the_heart_agent_beats_random_actions_on_patients_it_never_saw(model: SamModel) -> None:
    package = load_agent(BUNDLED / "heart.agent.safetensors", model)
    drawn = [draw_target(seed, ("Heart",)) for seed in range(5_000_000, 5_000_006)]
    store, images = EmbeddingStore(model), [image for image, _ in drawn]
    returns = {}
    for policy in ("agent", "random"):
        settings = json.loads(json.dumps(package.agent.settings.to_dict())) | {"policy": policy}
        package.agent.settings = type(package.agent.settings).from_dict(settings)
        results = prompt(store, package.agent, images, PAPER_USE)
        returns[policy] = score(results, [mask for _, mask in drawn]).mean_return
    assert returns["agent"] > returns["random"] + 5


@pytest.mark.slow  # two volumes are encoded
def test_the_heart_agent_finds_a_phantoms_heart_and_says_where_there_is_none(model: SamModel) -> None:
    [visit] = phantom_patient(7, 1, shape=(24, 128, 128), spacing=(3.4, 3.4, 12.0))
    truth = next(s.mask for s in visit.structures.structures if s.name == "Heart")
    package = load_agent(BUNDLED / "heart.agent.safetensors", model)
    first, last = np.flatnonzero(truth.any(axis=(1, 2)))[[0, -1]]
    found = autoprompt([package], part_of(visit.volume, first, last + 1), model=model)
    mask, wanted = found.structures.structures[0].mask, truth[first : last + 1]
    assert 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum()) > 0.5
    nothing = autoprompt([package], part_of(visit.volume, last + 1, 24), model=model)
    assert not nothing.structures.structures[0].mask.any()
    assert nothing.warnings == ("Heart was not found in this image; its contour is empty.",)


def part_of(volume: Volume, start: int, stop: int) -> Volume:
    """Some slices of an upright volume."""
    geometry = volume.geometry
    x, y, z = geometry.origin
    shape = (stop - start, *geometry.shape[1:])
    origin = (x, y, z + start * geometry.spacing[2] * geometry.direction[8])
    return Volume(volume.array[start:stop], Geometry(shape, geometry.spacing, origin, geometry.direction), "CT")
