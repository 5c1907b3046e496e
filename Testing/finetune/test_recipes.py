"""The recipes of training/: what MONAI builds from them, what they leave, and how they go on after an interruption."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from PIL import Image
from tiny_sam import TINY, tiny_model

from adaptsam.cli import main
from adaptsam.errors import InputError, OutputError
from adaptsam.finetune.adapter_file import load_adapter
from adaptsam.finetune.recipe_files import recipe_files, recipe_names, recipes_folder
from adaptsam.finetune.recipes import read_recipe, recipe_settings, run_recipe
from adaptsam.finetune.training_files import TrainingFiles
from adaptsam.sam import load_sam, save_checkpoint

QUICK = {"epochs": 2, "rounds": 2, "batch": 4, "rate": 1e-3, "device": "cpu"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dozen pictures of discs of several sizes, and a tiny SAM."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "pairs" / name).mkdir(parents=True)
    for number in range(12):
        y, x = np.mgrid[:48, :64]
        disc = (y - rng.uniform(15, 33)) ** 2 + (x - rng.uniform(20, 44)) ** 2 < rng.uniform(7, 13) ** 2
        picture = rng.normal(90, 10, (48, 64, 3)) + disc[..., None] * np.array([80, 20, 0])
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "pairs" / "images" / f"p{number:02d}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(folder / "pairs" / "masks" / f"p{number:02d}.png")
    save_checkpoint(folder / "tiny.safetensors", tiny_model().sam, TINY, dtype=torch.float32)
    return {
        "dataset_dir": str(folder / "pairs"),
        "dataset_kind": "folder",
        "checkpoint": str(folder / "tiny.safetensors"),
    }


def train(inputs: dict[str, Any], output: Path, recipe: str = "kvasir_lora", **changes: Any) -> TrainingFiles:
    return run_recipe(read_recipe(recipe, {**inputs, **QUICK, "output_dir": str(output), **changes}))


def test_every_recipe_is_a_bundle_with_metadata_and_published_numbers() -> None:
    assert recipe_names() == ["kvasir_full", "kvasir_lora", "nsclc_full", "nsclc_lora"]
    for name in recipe_names():
        settings = recipe_settings(read_recipe(name))
        nsclc = name.startswith("nsclc")
        assert (settings["rate"], settings["least_rate"], settings["warm_up"], settings["batch"]) == (
            1e-4,
            1e-6,
            0.1,
            4,
        )
        assert (settings["epochs"], settings["weight_decay"]) == ((36, 0.01) if nsclc else (100, 0.05))
        assert settings["tuning"] == name.split("_")[1]
        folder = recipe_files(name)[1].parent.parent
        assert json.loads((folder / "configs" / "metadata.json").read_text())["network_data_format"]
        assert (folder / "configs" / "inference.json").is_file()
        assert name in (folder / "docs" / "README.md").read_text()


def test_a_recipe_leaves_models_that_can_be_used_and_curves(inputs: dict[str, Any], tmp_path: Path) -> None:
    files = train(inputs, tmp_path)
    base, last = load_sam(inputs["checkpoint"], "cpu"), load_sam(tmp_path / "last.safetensors", "cpu")
    merged = load_adapter(tmp_path / "last.adapter.safetensors", base).sam.state_dict()
    assert all(torch.equal(merged[key], value) for key, value in last.sam.state_dict().items())
    assert any(not torch.equal(value, merged[key]) for key, value in base.sam.state_dict().items())
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert len(curves["losses"]) == 2 * 3
    assert [row["epoch"] for row in curves["scores"]] == [1, 2]
    assert set(curves["scores"][0]) == {"epoch", "dice", "none", "point", "box"}
    row = curves["scores"][0]
    assert row["dice"] == pytest.approx((row["none"] + row["point"] + row["box"]) / 3, abs=1e-6)
    assert inputs["dataset_dir"] not in (tmp_path / "curves.json").read_text()
    assert files.finished
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("recipe", ["kvasir_full", "nsclc_lora"])
def test_an_interrupted_training_goes_on_to_the_same_losses(
    recipe: str, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(inputs, tmp_path / "whole", recipe)
    attach = TrainingFiles.attach

    def attach_and_break(self: TrainingFiles, trainer: Any) -> None:
        attach(self, trainer)

        @trainer.on(Events.ITERATION_COMPLETED(once=5))
        def stop() -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingFiles, "attach", attach_and_break)
    with pytest.raises(KeyboardInterrupt):
        train(inputs, tmp_path / "parts", recipe, save_every=2)
    monkeypatch.undo()
    # The last state is from iteration 4, one iteration into the second of two epochs of three.
    assert len(torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["losses"]) == 4
    resumed = train(inputs, tmp_path / "parts", recipe)
    assert resumed.losses == whole.losses
    assert resumed.scores == whole.scores
    one, other = (load_sam(tmp_path / run / "last.safetensors", "cpu").sam.state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_finished_training_is_not_trained_further(inputs: dict[str, Any], tmp_path: Path) -> None:
    first = train(inputs, tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    again = train(inputs, tmp_path)
    assert again.losses == first.losses
    assert (tmp_path / "state.pt").read_bytes() == before


def test_other_settings_are_refused_and_the_difference_is_shown(inputs: dict[str, Any], tmp_path: Path) -> None:
    train(inputs, tmp_path, epochs=1)
    with pytest.raises(InputError, match=r"other settings \(augmentation kvasir-seg → None, rate 0.001 → 0.002\)"):
        train(inputs, tmp_path, epochs=1, rate=2e-3, augmentation=None)
    with pytest.raises(InputError, match=r"seed 0 → 1"):
        train(inputs, tmp_path, epochs=1, seed=1)


def test_a_damaged_state_is_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(InputError, match="damaged; delete it"):
        train(inputs, tmp_path)


def test_a_full_disk_leaves_the_state_before(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = torch.save, []

    def full(state: Any, path: Path) -> None:
        calls.append(path)
        if len(calls) > 1:
            path.write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the one before is whole"):
        train(inputs, tmp_path)
    assert len(torch.load(tmp_path / "state.pt", weights_only=True)["losses"]) == 3
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*.part"))


def test_the_order_is_another_in_each_epoch() -> None:
    from adaptsam.finetune.order import EpochOrder

    order = EpochOrder(range(20), seed=1)
    order.set_epoch(1)
    first = list(order)
    assert sorted(first) == list(range(20))
    assert list(order) == first
    order.skip = 8
    assert list(order) == first[8:]
    assert list(order) == first
    order.set_epoch(2)
    assert list(order) != first


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["kvasir_lora", "epoch=3"], "Did you mean epochs"),
        (["kvasir_lora", "epochs"], "key=value"),
        (["kvasir_lora", "epochs=many"], "epochs is a whole number"),
        (["kvasir_lora", "epochs=0"], "too small"),
        (["kvasir_lora", "amp=3"], "amp is true or false"),
        (["kvasir_lora", "dataset_dir=x"], "output_dir=FOLDER"),
        (["kvasir_lora", "output_dir=out"], "dataset_dir=FOLDER"),
        (["kvasir_lora", "output_dir=out", "dataset_dir=nowhere"], "nowhere is not a folder"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_is_not_there_is_told_with_its_likeness() -> None:
    with pytest.raises(InputError, match="Did you mean kvasir_lora"):
        read_recipe("kvasir_lorra")


def test_a_model_without_vit_is_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    from adaptsam.finetune.tuning import METHODS, Tuning
    from adaptsam.sam import VIT_T, build_sam

    sam = build_sam(VIT_T)
    for method in METHODS:
        with pytest.raises(InputError, match="MobileSAM"):
            Tuning(method).apply(sam)


def test_the_command_shows_and_trains(
    inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "nsclc_full", "epochs=7", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 7
    given = {**inputs, **QUICK, "epochs": 1, "output_dir": tmp_path, "amp": "true"}
    assert main(["train", "kvasir_lora", *(f"{key}={value}" for key, value in given.items()), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["losses"]) == 3


@pytest.mark.slow  # two new processes that import MONAI
def test_monais_own_command_runs_a_recipe_and_measures_its_model(inputs: dict[str, Any], tmp_path: Path) -> None:
    root = recipes_folder()

    def bundle(config: str, **options: Any) -> None:
        files = [str(root / "common" / config), str(root / "kvasir_lora" / "configs" / config)]
        words = ["--config_file", str(files), "--meta_file", str(root / "kvasir_lora" / "configs" / "metadata.json")]
        words += [word for key, value in options.items() for word in (f"--{key}", str(value))]
        subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", *words],
            check=True,
            cwd=root.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    bundle("train.json", **{**inputs, **QUICK, "epochs": 1, "output_dir": tmp_path / "trained"})
    best = tmp_path / "trained" / "best.safetensors"
    bundle("inference.json", **{**inputs, "checkpoint": best, "device": "cpu", "output_dir": tmp_path / "eval"})
    assert "box" in (tmp_path / "eval" / "metrics.csv").read_text()
