"""``adaptsam train alignsam`` on a folder of pictures, with a tiny SAM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sam import TINY, tiny_model

from adaptsam.alignsam import load_agent
from adaptsam.cli import main
from adaptsam.finetune.recipe_folders import recipes_folder
from adaptsam.sam import load_sam, save_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of a blob, and a SAM."""
    folder = tmp_path_factory.mktemp("train")
    rows, columns = np.mgrid[:48, :64]
    for number in range(6):
        random = np.random.default_rng(number)
        blob = ((rows - random.uniform(18, 30)) / 12) ** 2 + ((columns - random.uniform(20, 44)) / 14) ** 2 < 1
        image = (random.integers(0, 60, (48, 64)) + 150 * blob).astype(np.uint8)
        for name, picture in (("images", image), ("masks", (255 * blob).astype(np.uint8))):
            (folder / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / "data" / name / f"{number}.png")
    save_checkpoint(folder / "sam.safetensors", tiny_model(spread=2.0).sam, TINY)
    return folder


def arguments(folder: Path, output: Path, episodes: int = 2) -> list[str]:
    return [
        *("train", "alignsam", f"--data={folder / 'data'}", "--target=blob", "--code=4147007,SCT,Mass"),
        *(f"--checkpoint={folder / 'sam.safetensors'}", "--device=cpu", "--quiet", "--steps=2"),
        *(f"--episodes={episodes}", f"--output={output}"),
    ]


def test_an_agent_comes_out_that_its_sam_takes_and_curves_are_drawn(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "blob.agent.safetensors"
    assert main([*arguments(folder, output), f"--log={tmp_path / 'curves'}", "--json"]) == 0
    package = load_agent(output, load_sam(folder / "sam.safetensors", "cpu"))
    assert package.target.code == ("4147007", "SCT", "Mass")
    assert package.training["images"] + package.training["held_back"] == 6
    assert package.training["held_back"] >= 1
    assert len(package.training["history"]) == 2
    assert 0 <= package.scores["iou"] <= 1
    assert not package.shown.color
    assert json.loads(capsys.readouterr().out)["scores"] == package.scores
    assert list((tmp_path / "curves").iterdir())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["blob.agent.safetensors", "curves"]


def test_a_training_that_was_stopped_goes_on_to_the_same_agent(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from adaptsam.alignsam import policy_training as training

    whole, parts = tmp_path / "whole.agent.safetensors", tmp_path / "parts.agent.safetensors"
    assert main(arguments(folder, whole)) == 0
    write = training.write_training

    def stop(path: Path, contents: dict) -> None:
        write(path, contents)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_training", stop)
        assert main(arguments(folder, parts)) == 130
    assert "goes on from there" in capsys.readouterr().err
    assert not parts.exists()
    assert main(arguments(folder, parts)) == 0
    one, other = load_agent(whole), load_agent(parts)
    assert one.describe() == other.describe()
    for name, tensor in one.agent.state_dict().items():
        assert tensor.equal(other.agent.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--code=80891009"], "A code is"),
        (["--episodes=0"], "episodes"),
        (["--data={folder}/none"], "none"),
        (["--set", "window=5"], "window is a list such as [-160, 240]"),
        (["--set", "code=Heart"], "code is a list such as"),
        (["--set", "label=x"], "a whole number, not 'x'"),
        (["--set", "seed=1e999"], "seed is a whole number"),
        (["--set", "reward=money"], "choose one of point, overlap, coverage"),
        (["--label=7"], "No training image shows the target"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], sentence: str
) -> None:
    output = tmp_path / "blob.agent.safetensors"
    assert main([*arguments(folder, output), *(one.format(folder=folder) for one in change)]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not output.exists()


def test_an_agent_that_is_there_is_not_replaced_unasked(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "blob.agent.safetensors"
    output.write_text("mine")
    assert main(arguments(folder, output)) == 2
    assert output.read_text() == "mine"


def test_prompts_are_drawn_for_tensorboard(folder: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main([*arguments(folder, tmp_path / "a.agent.safetensors", 2), f"--log={tmp_path / 'curves'}"]) == 0
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    [picture] = events.Images("prompts")
    assert picture.width > picture.height > 100
    assert "train/mean_return" in events.Tags()["scalars"]


def test_any_setting_of_the_bundle_can_be_changed_and_a_wrong_one_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.agent.safetensors"
    changes = ["patch=200", "policy=random", "reward=overlap", "images=3.0"]
    assert main([*arguments(folder, output, 1), *(part for one in changes for part in ("--set", one))]) == 0
    settings = load_agent(output).agent.settings
    assert (settings.environment.side, settings.policy, settings.environment.reward) == (4, "random", "overlap")
    assert main([*arguments(folder, tmp_path / "b", 1), "--set", "patches=200"]) == 2
    assert "Did you mean patch?" in capsys.readouterr().err


def without_the_package(arguments: list[str]) -> dict[str, str]:
    """The command's options as the bundle's settings."""
    names = {"data": "dataset_dir", "window": "window"}
    pairs = (one.removeprefix("--").split("=", 1) for one in arguments if one.startswith("--") and "=" in one)
    return {names.get(name, name): value for name, value in pairs if name != "code"}


@pytest.mark.slow  # a process that imports everything
def test_monai_runs_the_bundle_to_the_same_agent(folder: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.agent.safetensors", tmp_path / "theirs.agent.safetensors"
    assert main(arguments(folder, ours, 1)) == 0
    config = recipes_folder() / "alignsam" / "configs" / "train.json"
    settings = without_the_package(arguments(folder, theirs, 1))
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (load_agent(path).agent.state_dict() for path in (ours, theirs))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow  # two processes that import everything
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_training_that_was_killed_goes_on_to_the_same_agent(folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.agent.safetensors", tmp_path / "parts.agent.safetensors"
    assert main(arguments(folder, whole, 10)) == 0
    state = parts.with_name(f"{parts.name}.training")
    command = [sys.executable, "-m", "adaptsam.cli", *arguments(folder, parts, 10)]
    with subprocess.Popen(command) as process:
        while not state.exists() and process.poll() is None:
            time.sleep(0.02)
        process.kill()
    assert state.exists()
    assert not parts.exists()
    subprocess.run(command, check=True, timeout=300)
    one, other = load_agent(whole), load_agent(parts)
    assert one.describe() == other.describe()
    assert all(torch.equal(tensor, other.agent.state_dict()[name]) for name, tensor in one.agent.state_dict().items())
