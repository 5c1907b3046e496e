"""The recipes of training/: what MONAI builds from them, what they leave, and how they go on after an interruption."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import monai.bundle
import numpy as np
import pytest
import torch
from ignite.engine import Events
from PIL import Image
from safetensors import safe_open

from adaptsam.cli import main
from adaptsam.commands.recipe_command import changes
from adaptsam.errors import InputError, OutputError, TrainingError
from adaptsam.finetune.adapter_file import load_adapter
from adaptsam.finetune.direct_transfer import DirectTransfer
from adaptsam.finetune.monai_engine import InteractiveUpdate
from adaptsam.finetune.recipe_datasets import dataset_parts
from adaptsam.finetune.recipe_folders import recipe_files, recipe_names, recipes_folder
from adaptsam.finetune.recipes import read_recipe, recipe_settings, run_recipe
from adaptsam.finetune.training_state import TrainingFiles
from adaptsam.sam import VIT_T, build_sam, load_sam, save_checkpoint
from adaptsam.sam.tiny_vit import TinyVitConfig

FINE_TUNING = ["kvasir_full", "kvasir_lora", "nsclc_full", "nsclc_lora"]
HALVES = [0.6, 0.2, 0.2]
QUICK = {"epochs": 2, "rounds": 2, "batch": 4, "rate": 1e-3, "device": "cpu"}


def train(inputs: dict[str, Any], output: Path, recipe: str = "kvasir_lora", **changes: Any) -> TrainingFiles:
    return run_recipe(read_recipe(recipe, {**inputs, **QUICK, "output_dir": str(output), **changes}))


@pytest.fixture(scope="module")
def finished(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> TrainingFiles:
    """A training that came to its end; only to be read."""
    return train(inputs, tmp_path_factory.mktemp("finished"))


def test_every_recipe_is_a_bundle_with_metadata_and_published_numbers() -> None:
    assert recipe_names() == sorted(FINE_TUNING)
    for name in FINE_TUNING:
        settings = recipe_settings(read_recipe(name))
        nsclc = name.startswith("nsclc")
        assert (settings["rate"], settings["least_rate"], settings["batch"]) == (1e-4, 1e-6, 4)
        assert settings["warm_up"] == pytest.approx(4 / 36 if nsclc else 0.1)
        assert settings["published"] is False
        assert (settings["epochs"], settings["weight_decay"]) == ((36, 0.01) if nsclc else (100, 0.05))
        assert settings["tuning"] == name.split("_")[1]
        folder = recipe_files(name)[1].parent.parent
        assert json.loads((folder / "configs" / "metadata.json").read_text())["network_data_format"]
        for file in ("inference.json", "evaluate.json", "multi_gpu_train.json", "logging.conf"):
            assert (folder / "configs" / file).is_file()
        assert "Apache License" in (folder / "LICENSE").read_text()
        assert name in (folder / "docs" / "README.md").read_text()


def test_a_recipe_leaves_models_that_can_be_used_and_curves(inputs: dict[str, Any], finished: TrainingFiles) -> None:
    folder = finished.folder
    base, last = load_sam(inputs["checkpoint"], "cpu"), load_sam(folder / "last.safetensors", "cpu")
    merged = load_adapter(folder / "last.adapter.safetensors", base).sam.state_dict()
    assert all(torch.equal(merged[key], value) for key, value in last.sam.state_dict().items())
    assert any(not torch.equal(value, merged[key]) for key, value in base.sam.state_dict().items())
    curves = json.loads((folder / "curves.json").read_text())
    assert len(curves["losses"]) == 2 * 3
    assert [row["epoch"] for row in curves["scores"]] == [0, 1, 2]
    assert set(curves["scores"][0]) == {"epoch", "dice", "none", "point", "box"}
    row = curves["scores"][0]
    assert row["dice"] == pytest.approx((row["none"] + row["point"] + row["box"]) / 3, abs=1e-6)
    assert inputs["dataset_dir"] not in (folder / "curves.json").read_text()
    assert finished.finished
    assert list((folder / "tensorboard").iterdir())


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


def test_a_finished_training_is_not_trained_further(inputs: dict[str, Any], finished: TrainingFiles) -> None:
    before = (finished.folder / "state.pt").read_bytes()
    again = train(inputs, finished.folder)
    assert again.losses == finished.losses
    assert (finished.folder / "state.pt").read_bytes() == before


@pytest.mark.parametrize(("interval", "epochs"), [(2, [0, 2, 3]), (5, [0, 3])])
def test_the_last_epoch_is_always_validated(
    interval: int, epochs: list[int], inputs: dict[str, Any], tmp_path: Path
) -> None:
    files = train(inputs, tmp_path, epochs=3, val_interval=interval, rounds=1)
    assert [row["epoch"] for row in files.scores] == epochs
    best = max(files.scores, key=lambda row: row["dice"])
    with safe_open(tmp_path / "best.adapter.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["adaptsam_adapter"])["metadata"]["epoch"] == best["epoch"]


def test_one_label_of_the_masks_is_trained_and_another_one_is_another_training(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    pairs = Path(shutil.copytree(inputs["dataset_dir"], tmp_path / "pairs"))
    for path in (pairs / "masks").iterdir():
        mask = np.array(Image.open(path)) // 255
        mask[:4, :6] = 2
        Image.fromarray(mask).save(path)
    parts = dataset_parts(str(pairs), "folder", label=2)
    assert all(sample.read()[1].sum() == 24 for sample in parts["train"])
    given = {**inputs, "dataset_dir": str(pairs), "rounds": 1, "epochs": 1}
    train(given, tmp_path / "out", label=2)
    with pytest.raises(InputError, match=r"other settings \(label 2 → 1\)"):
        train(given, tmp_path / "out", label=1)
    with pytest.raises(InputError, match="A label is a whole number"):
        train(given, tmp_path / "other", label="two")
    with pytest.raises(InputError, match="no choice of a gate"):
        train(given, tmp_path / "other", gate=1)


def test_adapters_that_cannot_be_merged_are_not_offered_as_a_checkpoint(
    inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**inputs, **QUICK, "epochs": 1, "rounds": 1, "tuning": "adapter", "output_dir": tmp_path}
    assert main(["train", "kvasir_lora", *(f"{key}={value}" for key, value in given.items())]) == 0
    assert "--checkpoint" not in capsys.readouterr().out
    assert not (tmp_path / "best.safetensors").exists()


def test_the_least_rate_is_never_above_the_rate(inputs: dict[str, Any], tmp_path: Path) -> None:
    files = train(inputs, tmp_path, rate=1e-7, epochs=1, rounds=1)
    assert files.optimizer.param_groups[0]["lr"] <= 1e-7


def test_other_settings_are_refused_and_the_difference_is_shown(
    inputs: dict[str, Any], finished: TrainingFiles
) -> None:
    with pytest.raises(InputError, match=r"other settings \(augmentation kvasir-seg → None, rate 0.001 → 0.002\)"):
        train(inputs, finished.folder, rate=2e-3, augmentation=None)
    with pytest.raises(InputError, match=r"seed 0 → 1"):
        train(inputs, finished.folder, seed=1)


def test_a_damaged_state_is_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(InputError, match="damaged; delete it"):
        train(inputs, tmp_path)


def test_weights_that_are_not_finite_never_replace_the_last_good_state(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = TrainingFiles.attach

    def attach_and_spoil(self: TrainingFiles, trainer: Any) -> None:
        @trainer.on(Events.ITERATION_COMPLETED(once=6))
        def spoil() -> None:
            with torch.no_grad():
                self.sam.mask_decoder.iou_token.weight.fill_(float("nan"))

        attach(self, trainer)

    monkeypatch.setattr(TrainingFiles, "attach", attach_and_spoil)
    with pytest.raises(TrainingError, match=r"not finite in epoch 2, iteration 6; .* lower rate, or with clip=1"):
        train(inputs, tmp_path)
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(kept["losses"]) == 3
    assert all(tensor.isfinite().all() for tensor in kept["network"].values())
    best = load_sam(tmp_path / "best.safetensors", "cpu")
    assert all(tensor.isfinite().all() for tensor in best.sam.state_dict().values())


def test_a_training_that_makes_the_model_worse_gives_the_one_it_began_with(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    files = train(inputs, tmp_path, rate=1e-4)
    before, *after = [row["dice"] for row in files.scores]
    assert max(after) < before
    best, base = (load_sam(path, "cpu").sam for path in (tmp_path / "best.safetensors", inputs["checkpoint"]))
    for key, tensor in base.state_dict().items():
        assert torch.allclose(best.state_dict()[key], tensor, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "raise accumulate, or set checkpointed=true"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "smaller batch"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "lower workers or cache"),
        (OSError(28, "No space left on device"), "No space left on device; what was kept before is whole"),
    ],
)
def test_what_the_machine_lacks_is_told_in_one_sentence(
    error: Exception,
    sentence: str,
    inputs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*given: Any) -> None:
        raise error

    monkeypatch.setattr(InteractiveUpdate, "__call__", fail)
    given = {**inputs, **QUICK, "output_dir": tmp_path / "out"}
    assert main(["train", "kvasir_lora", *(f"{key}={value}" for key, value in given.items()), "--json"]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("adaptsam: ")
    assert sentence in told.splitlines()[-1]
    assert "Traceback" not in told


def test_where_not_even_the_best_model_can_be_merged_for_want_of_memory_that_is_told_all_the_same(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(InteractiveUpdate, "__call__", fail)
    monkeypatch.setattr(TrainingFiles, "save_models", fail)
    given = {**inputs, **QUICK, "output_dir": tmp_path / "out"}
    assert main(["train", "kvasir_lora", *(f"{key}={value}" for key, value in given.items()), "--json"]) == 2
    assert "raise accumulate, or set checkpointed=true" in capsys.readouterr().err.splitlines()[-1]


def test_a_second_training_in_the_folder_of_one_that_runs_stops_and_leaves_its_files(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = TrainingFiles.attach

    def attach_and_be_overtaken(self: TrainingFiles, trainer: Any) -> None:
        attach(self, trainer)

        @trainer.on(Events.ITERATION_COMPLETED(once=2))
        def overtake() -> None:
            monkeypatch.undo()
            train(inputs, tmp_path, epochs=1)

    monkeypatch.setattr(TrainingFiles, "attach", attach_and_be_overtaken)
    with pytest.raises(OutputError, match=r"Another training has written to .* another output_dir"):
        train(inputs, tmp_path, seed=1)
    assert json.loads((tmp_path / "curves.json").read_text())["settings"]["seed"] == 0
    assert train(inputs, tmp_path, epochs=1).finished


def test_what_a_killed_process_left_half_written_is_taken_away(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / ".0123.part").write_bytes(b"half")
    train(inputs, tmp_path, epochs=1)
    assert not list(tmp_path.glob(".*"))


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
    with pytest.raises(OutputError, match=r"the disk is full or gone.*before is whole"):
        train(inputs, tmp_path)
    assert len(torch.load(tmp_path / "state.pt", weights_only=True)["losses"]) == 3
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*.part"))


def test_the_order_is_another_in_each_epoch() -> None:
    from adaptsam.finetune.epoch_order import EpochOrder

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
        (["kvasir_lora", "tuning=5"], "tuning is a word, not 5"),
        (["kvasir_lora", "warm_up=2"], "warm_up is a share, at most 1"),
        (["kvasir_lora", "patience=0"], "too small"),
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


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("clip", -1, "above 0, or null for no limit, not -1"),
        ("clip", "abc", "not 'abc'"),
        ("drop_path", "abc", "drop_path must be at least 0 and below 1"),
        ("tuning_settings", [4], 'given as {"rank": 4}'),
        ("shares", [0.8, 0.1, "a"], "shares are three numbers"),
        ("augmentation", {"rotation": 10}, "augmentation is a word"),
    ],
)
def test_a_value_of_another_kind_is_refused_before_anything_is_trained(
    key: str, value: object, sentence: str, inputs: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        train(inputs, tmp_path / "out", **{key: value})
    assert not (tmp_path / "out" / "state.pt").exists()


def test_values_on_the_command_line_are_json_python_or_words() -> None:
    given = ['tuning_settings={"encoder_ends": false}', "shares=(0.6, 0.2, 0.2)", "rate=1e-3", "amp=true", "clip=none"]
    assert changes([*given, "tuning=full", "checkpoint=5", "dataset_dir=~/polyps", "augmentation=null"]) == {
        "tuning_settings": {"encoder_ends": False},
        "shares": (0.6, 0.2, 0.2),
        "rate": 1e-3,
        "amp": True,
        "clip": None,
        "tuning": "full",
        "checkpoint": "5",
        "dataset_dir": str(Path.home() / "polyps"),
        "augmentation": None,
    }


def test_a_recipe_that_is_not_there_is_told_with_its_likeness() -> None:
    with pytest.raises(InputError, match="Did you mean kvasir_lora"):
        read_recipe("kvasir_lorra")


def test_a_model_without_vit_is_trained_whole_or_its_decoder_and_its_batch_norms_keep_their_statistics() -> None:
    from adaptsam.finetune.interactive_training import TrainableSam
    from adaptsam.finetune.tuning import METHODS, Tuning

    sam = build_sam(VIT_T)
    for method in METHODS:
        if method in ("full", "decoder"):
            Tuning(method).apply(sam)
            assert any(p.requires_grad for p in sam.image_encoder.parameters()) == (method == "full")
        else:
            with pytest.raises(InputError, match="MobileSAM and other encoders are trained with tuning=full"):
                Tuning(method).apply(sam)
    model = TrainableSam(sam, drop_path=0.1).train()
    norms = [part for part in sam.image_encoder.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.training


@pytest.mark.parametrize("method", ["full", "decoder"])
def test_a_training_of_a_small_mobile_sam_ends_with_models_that_can_be_used(
    inputs: dict[str, Any], tmp_path: Path, method: str
) -> None:
    stages = TinyVitConfig(dims=(16, 24, 32, 40), depths=(1, 2, 2, 1), heads=(2, 2, 4, 5), windows=(7, 3, 5, 3))
    config = replace(VIT_T, image_size=64, tiny_vit=stages, embed_dim=32, decoder_mlp_dim=48, mask_channels=8)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "mobile.safetensors", build_sam(config), config, dtype=torch.float32)
    checkpoint = str(tmp_path / "mobile.safetensors")
    folder = train(inputs, tmp_path / "out", "kvasir_full", checkpoint=checkpoint, tuning=method, epochs=1).folder
    before, after = (load_sam(path, "cpu").sam.state_dict() for path in (checkpoint, folder / "last.safetensors"))
    changed = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == ({"mask_decoder", "prompt_encoder"} | ({"image_encoder"} if method == "full" else set()))
    assert load_sam(folder / "best.safetensors", "cpu").config == config


def test_the_command_shows_and_trains(
    inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "nsclc_full", "epochs=7", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 7
    given = {**inputs, **QUICK, "epochs": 1, "output_dir": tmp_path, "amp": "true"}
    assert main(["train", "kvasir_lora", *(f"{key}={value}" for key, value in given.items()), "--json"]) == 0
    streams = capsys.readouterr()
    assert len(json.loads(streams.out)["losses"]) == 3
    assert "Epoch[" not in streams.err
    words = [f"{key}={value}" for key, value in {**given, "output_dir": tmp_path / "told"}.items()]
    assert main(["train", "kvasir_lora", *words]) == 0
    told = capsys.readouterr().err
    assert "epoch 1: Dice in validation" in told
    assert "Epoch[" not in told


def bundle(recipe: str, config: str) -> dict[str, Any]:
    """What MONAI's commands are given of a recipe."""
    root = recipes_folder()
    files = [str(root / "common" / config), str(root / recipe / "configs" / config)]
    return {"config_file": files, "meta_file": str(root / recipe / "configs" / "metadata.json")}


def test_monais_own_command_runs_a_recipe_and_measures_its_model(inputs: dict[str, Any], tmp_path: Path) -> None:
    given = {**inputs, **QUICK, "epochs": 1, "output_dir": str(tmp_path / "trained")}
    monai.bundle.run(**bundle("kvasir_lora", "train.json"), **given)
    best = tmp_path / "trained" / "best.safetensors"
    measured = {**inputs, "checkpoint": str(best), "device": "cpu", "output_dir": str(tmp_path / "eval")}
    monai.bundle.run(**bundle("kvasir_lora", "inference.json"), **measured)
    assert "box" in (tmp_path / "eval" / "metrics.csv").read_text()


@pytest.mark.slow  # a new process that imports MONAI
def test_monais_command_in_a_shell_ends_with_0_and_says_how_it_goes_on(inputs: dict[str, Any], tmp_path: Path) -> None:
    """MONAI looks for logging.conf beside the first configuration, which is the common one."""
    given = {**bundle("kvasir_lora", "train.json"), **inputs, **QUICK, "output_dir": str(tmp_path / "trained")}
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    done = subprocess.run([sys.executable, "-m", "monai.bundle", "run", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "skipping logging" not in done.stdout + done.stderr
    assert "INFO - Epoch[2] Metrics" in done.stdout
    left = {path.name for path in (tmp_path / "trained").iterdir()}
    assert left >= {"best.safetensors", "last.safetensors", "card.md", "split.json", "state.pt", "tensorboard"}


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_metadata_are_what_monai_asks_for(recipe: str) -> None:
    schema = recipes_folder() / "common" / "metadata_schema.json"
    metadata = recipes_folder() / recipe / "configs" / "metadata.json"
    monai.bundle.verify_metadata(meta_file=str(metadata), filepath=str(schema))
    without = {key: value for key, value in json.loads(metadata.read_text()).items() if key != "task"}
    with pytest.raises(jsonschema.ValidationError, match="'task' is a required property"):
        jsonschema.validate(without, json.loads(schema.read_text()))


def test_a_trained_model_is_what_the_metadata_say_and_can_be_exported(inputs: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any] = {**bundle("kvasir_lora", "inference.json"), "checkpoint": inputs["checkpoint"]}
    shape = {"_meta_#network_data_format#inputs#image#spatial_shape": [64, 64]}
    monai.bundle.verify_net_in_out("network_def", device="cpu", **given, **shape)
    wrong = {"_meta_#network_data_format#outputs#pred#num_channels": 3}
    with pytest.raises(ValueError, match="output channel number"):
        monai.bundle.verify_net_in_out("network_def", device="cpu", **given, **shape, **wrong)
    network = DirectTransfer(load_sam(inputs["checkpoint"], "cpu").sam)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    given["config_file"] = given["config_file"][0]
    files = {"ckpt_file": str(tmp_path / "model.pt"), "filepath": str(tmp_path / "model.ts")}
    monai.bundle.ckpt_export("network_def", use_trace=True, input_shape=[1, 3, 64, 64], **files, **given)
    image = 255 * torch.rand(1, 3, 64, 64)
    assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(image), network(image), atol=1e-5)


@pytest.mark.slow  # new processes that import MONAI
def test_two_processes_of_torchrun_train_the_model_that_one_trains(inputs: dict[str, Any], tmp_path: Path) -> None:
    one = train(inputs, tmp_path / "one", "kvasir_full", shares=HALVES)
    given = {**inputs, **QUICK, "shares": json.dumps(HALVES), "output_dir": tmp_path / "two"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [*torchrun, "-m", "adaptsam.cli", "train", "kvasir_full", *(f"{key}={value}" for key, value in given.items())],
        check=True,
        cwd=recipes_folder().parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    two = json.loads((tmp_path / "two" / "curves.json").read_text())
    assert two["losses"] == pytest.approx(one.losses, rel=1e-4)
    assert two["scores"][-1] == pytest.approx(one.scores[-1], abs=0.02)
    first, other = (load_sam(tmp_path / run / "last.safetensors", "cpu").sam.state_dict() for run in ("one", "two"))
    start = load_sam(inputs["checkpoint"], "cpu").sam.state_dict()
    assert max((first[key] - other[key]).abs().max().item() for key in first) < 5e-4
    assert max((first[key] - start[key]).abs().max().item() for key in first) > 2e-3
