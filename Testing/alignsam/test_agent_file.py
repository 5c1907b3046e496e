"""The file of an agent: what goes in comes out, and nothing else than an agent is taken for one."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sam import tiny_model

from adaptsam.alignsam import (
    Agent,
    AlignSamSettings,
    Novelty,
    Package,
    Shown,
    Target,
    TrainingImage,
    load_agent,
    prompt,
    save_agent,
)
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE, agent_files, find_agent, own_agent, unfinished_agents
from adaptsam.autoprompting.agent_thumbnail import agent_picture
from adaptsam.cli import main
from adaptsam.errors import CheckpointError, InputError, OutputError
from adaptsam.sam import EmbeddingStore, SamModel


@pytest.fixture
def package(short: AlignSamSettings, model: SamModel) -> Package:
    agent = Agent(short, model.embed_dim, seed=3).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(agent.actor.head.weight)
    return Package(
        agent,
        Target("Heart", ("80891009", "SCT", "Heart")),
        model.kind,
        model.sha256,
        Shown(window=(-160.0, 240.0), view="body", modality="CT"),
        least_evidence=0.4,
        training={"images": 50, "history": [{"mean_return": 2.5}]},
        scores={"dice": 0.5, "iou": [0.1, 0.4]},
    )


@pytest.fixture
def file(package: Package, tmp_path: Path) -> Path:
    save_agent(tmp_path / "heart.agent.safetensors", package)
    return tmp_path / "heart.agent.safetensors"


def forge(file: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Path:
    """The file with something altered in its description or weights."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        described = json.loads(opened.metadata()["adaptsam_agent"])
    tensors = load_file(file)
    change(described, tensors)
    forged = file.with_name("forged.agent.safetensors")
    save_file(tensors, forged, {"adaptsam_agent": json.dumps(described)})
    return forged


def test_what_was_saved_comes_back_and_prompts_alike(
    package: Package, file: Path, store: EmbeddingStore, pictures: list[TrainingImage]
) -> None:
    again = load_agent(file, store.model)
    assert again.describe() == package.describe()
    assert again.agent.settings == package.agent.settings
    images = [one.image for one in pictures]
    for one, other in zip(prompt(store, package.agent, images), prompt(store, again.agent, images), strict=True):
        assert np.array_equal(one.logits, other.logits)


def test_an_agent_without_code_or_numbers_of_a_window_comes_back_too(package: Package, tmp_path: Path) -> None:
    plain = replace(package, target=Target("polyp", components=3), shown=Shown("percentiles", color=True))
    save_agent(tmp_path / "polyp.agent.safetensors", plain)
    again = load_agent(tmp_path / "polyp.agent.safetensors")
    assert (again.target, again.shown) == (plain.target, plain.shown)


def test_another_sam_is_refused(file: Path) -> None:
    with pytest.raises(CheckpointError, match="trained with another SAM"):
        load_agent(file, tiny_model(seed=9))


@pytest.mark.parametrize(
    ("version", "sentence"), [(2, "newer AdaptSAM"), ("1", "not known"), (0, "not known"), (True, "not known")]
)
def test_another_format_is_refused(file: Path, version: object, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        load_agent(forge(file, lambda described, _: described.update(format_version=version)))


def set_sam(described: dict[str, Any], _: object) -> None:
    described["sam"]["channels"] = 10**9


def set_grid(described: dict[str, Any], _: object) -> None:
    described["settings"]["environment"] |= {"canvas": 10**6, "patch": 1}


def set_escape(described: dict[str, Any], _: object) -> None:
    described["target"]["name"] = "\x1b[2Jheart"


def set_weight(_: object, tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values())).fill_(float("nan"))


def set_name(_: object, tensors: dict[str, torch.Tensor]) -> None:
    tensors["__reduce__"] = torch.zeros(1)


def set_shape(_: object, tensors: dict[str, torch.Tensor]) -> None:
    tensors["actor.head.bias"] = torch.zeros(7)


def set_window(described: dict[str, Any], _: object) -> None:
    described["shown"]["window"] = [240, -160]


def set_list(described: dict[str, Any], _: object) -> None:
    described["target"] = ["Heart"]


def set_evidence(described: dict[str, Any], _: object) -> None:
    described["least_evidence"] = float("nan")


@pytest.mark.parametrize(
    "change",
    [set_sam, set_grid, set_escape, set_weight, set_name, set_shape, set_window, set_list, set_evidence],
    ids=lambda change: change.__name__,
)
def test_a_forged_file_is_refused_in_one_printable_sentence(file: Path, change: Callable[..., None]) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_agent(forge(file, change))
    assert str(caught.value).isprintable()
    assert "forged.agent.safetensors" in str(caught.value)


class Trap:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("sprung"),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trap = tmp_path / "trap.agent.safetensors"
    trap.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="damaged or not an agent file"):
        load_agent(trap)
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_file_and_one_of_another_kind_are_refused(file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.agent.safetensors"
    short.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_agent(short)
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not an agent file"):
        load_agent(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no agent file"):
        load_agent(tmp_path / "missing.safetensors")


def test_a_broken_agent_is_not_saved_and_leaves_the_old_file(package: Package, file: Path) -> None:
    before = file.read_bytes()
    with torch.no_grad():
        next(package.agent.parameters()).fill_(float("inf"))
    with pytest.raises(InputError, match="not finite"):
        save_agent(file, package)
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir()) == [file.name]


def test_a_folder_that_cannot_be_written_to_is_told(package: Package, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        save_agent(tmp_path / "plain" / "heart.agent.safetensors", package)


def test_text_and_branch_belong_together(package: Package) -> None:
    with pytest.raises(InputError, match="text prompt"):
        replace(package, text="heart")


def test_agents_are_found_by_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(file.parent))
    assert agent_files()["heart"] == file
    assert find_agent("heart") == find_agent(file) == file
    with pytest.raises(CheckpointError, match="known by name: heart"):
        find_agent("liver")


def test_the_command_lists_agents_and_says_what_is_wrong_with_a_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "bad.agent.safetensors").write_bytes(b"nothing")
    assert main(["agents", "list", "--folder", str(file.parent), "--json"]) == 0
    bad, heart = json.loads(capsys.readouterr().out)["agents"]
    assert (heart["name"], heart["target"], heart["note"]) == ("heart", "Heart", "")
    assert bad["target"] is None
    assert "damaged" in bad["note"]
    assert main(["agents", "list", "--folder", str(file.parent)]) == 0
    assert "heart" in capsys.readouterr().out


def test_the_command_inspects_an_agent(file: Path, package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents", "inspect", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["target"]["code"] == ["80891009", "SCT", "Heart"]
    assert told["sam"]["sha256"] == package.sam_sha256
    assert told["scores"] == package.scores
    assert main(["agents", "inspect", str(file)]) == 0
    assert "80891009, SCT, Heart" in capsys.readouterr().out


def test_the_command_escapes_what_a_file_could_do_to_a_terminal(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_agent(tmp_path / "odd.agent.safetensors", replace(package, scores={"\x1b[2J": "\x1b[31m"}))
    assert main(["agents", "inspect", str(tmp_path / "odd.agent.safetensors")]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_missing_agent_ends_the_command_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents", "inspect", "nobody"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_picture_comes_back_and_a_forged_one_is_refused(package: Package, tmp_path: Path) -> None:
    png = agent_picture([np.full((30, 40), 80, np.uint8)], [np.eye(30, 40, dtype=bool)])
    path = tmp_path / "heart.agent.safetensors"
    save_agent(path, replace(package, picture=png))
    assert load_agent(path).picture == png
    huge = png[:16] + (10**6).to_bytes(4, "big") + png[20:]
    for picture in (b"GIF89a" + bytes(30), huge, png + bytes(60_000), png[:10]):
        with pytest.raises(InputError, match="PNG of at most 256 pixels"):
            replace(package, picture=picture)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        texts = opened.metadata()
    for text in ("!!", base64.b64encode(huge).decode()):
        save_file(load_file(path), path, texts | {"adaptsam_agent_picture": text})
        with pytest.raises(CheckpointError, match=r"heart\.agent\.safetensors"):
            load_agent(path)


def test_a_users_own_agent_has_a_name_that_every_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert own_agent(" Left lung ") == tmp_path / "Left lung.agent.safetensors"
    for name in ("", "  ", "../heart", "a/b", "a\\b", ".hidden", "x" * 61, "line\nbreak", "a:b"):
        with pytest.raises(InputError, match="An agent's name has 1 to 60"):
            own_agent(name)
    assert unfinished_agents() == []
    (tmp_path / "lung.agent.safetensors.training").write_bytes(b"")
    assert unfinished_agents() == ["lung"]


def test_the_kind_of_images_that_an_agent_knows_comes_back(package: Package, tmp_path: Path) -> None:
    values = np.linspace(0.5, 2.0, 2 * package.agent.channels, dtype=np.float32)
    knowing = replace(package, novelty=Novelty(values, values[::-1].copy(), 1.5))
    save_agent(tmp_path / "a.agent.safetensors", knowing)
    again = load_agent(tmp_path / "a.agent.safetensors").novelty
    assert again is not None
    assert again.limit == 1.5
    np.testing.assert_array_equal(again.mean, values)
    np.testing.assert_array_equal(again.spread, values[::-1])
    with pytest.raises(InputError, match="other channels"):
        replace(package, novelty=Novelty(values[:4], values[:4], 1.5))


def test_a_forged_kind_of_images_is_refused(package: Package, file: Path) -> None:
    for limit in (1.5, "large", -1.0, float("1e400")):
        forged = forge(file, lambda described, tensors, limit=limit: described.update(novelty_limit=limit))
        with pytest.raises(CheckpointError, match="does not describe an agent as it should"):
            load_agent(forged)


def test_an_agent_for_the_model_that_lite_replaced_is_refused_in_one_sentence(
    package: Package, model: SamModel, tmp_path: Path
) -> None:
    save_agent(tmp_path / "heart.agent.safetensors", replace(package, sam_kind="small", sam_sha256="2" * 64))
    with pytest.raises(
        CheckpointError, match=r"The agent for Heart prompts the model small, .*; train it again with lite"
    ):
        load_agent(tmp_path / "heart.agent.safetensors").check_model(model)
