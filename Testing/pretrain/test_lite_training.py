"""The bundled model's training: it goes on where it was, learns, and never sees what is held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.pretrain.image_pool import write_pool
from adaptsam.pretrain.lite_training import LiteRecipe, LiteTraining, frozen_start, resized
from adaptsam.pretrain.training_mix import TrainingMix
from adaptsam.sam import LITE, build_sam, load_sam
from adaptsam.synthetic.visit_pairs import VisitPairs

RECIPE = LiteRecipe(size=64, batch=1, phantoms=0.0, scenes=0.0, prompts_an_image=1, warm_up=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows, columns = np.ogrid[:80, :80]

    def items():
        for k in range(8):
            mask = (columns - 30 - 2 * k) ** 2 + (rows - 40) ** 2 < 180
            gray = np.where(mask, 190, 50) + np.random.default_rng(k).normal(0, 5, mask.shape)
            yield gray.clip(0, 255).astype(np.uint8), mask[None].astype(np.uint8), "4d-lung", f"p{k}", 0

    write_pool(folder / "pool_a", items())
    return folder


def training(folder: Path, data: Path) -> LiteTraining:
    torch.manual_seed(0)
    return LiteTraining(folder, data, resized(build_sam(replace(LITE, image_size=64)), 64), RECIPE)


def steps(some: LiteTraining, count: int) -> list[float]:
    _, mix = some._mix()
    return [some._step(pairs, 1.0) for pairs, _ in zip(mix.batches(0), range(count), strict=False)]


def test_a_training_that_was_stopped_gives_the_losses_of_one_that_was_not(tmp_path: Path, data: Path) -> None:
    whole = steps(training(tmp_path / "whole", data), 4)
    first = training(tmp_path / "parted", data)
    begun = steps(first, 2)
    first.keep()
    second = training(tmp_path / "parted", data)
    assert second.resume()
    assert second.step == 2
    assert begun + steps(second, 2) == pytest.approx(whole, rel=1e-5)


def test_the_first_stages_stay_as_imagenet_left_them(tmp_path: Path, data: Path) -> None:
    some = training(tmp_path, data)
    encoder = some.sam.image_encoder
    before = encoder.stem.weight.clone(), encoder.stages[3][0].project.weight.clone()
    steps(some, 2)
    assert torch.equal(before[0], encoder.stem.weight)
    assert not torch.equal(before[1], encoder.stages[3][0].project.weight)


def test_a_run_notes_its_curve_and_writes_a_model_that_loads(tmp_path: Path, data: Path) -> None:
    some = training(tmp_path, data)
    some.run(minutes=0.02, workers=0, decay=True)
    some.write(tmp_path / "model.safetensors")
    model = load_sam(tmp_path / "model.safetensors", "cpu")
    assert (model.kind, model.image_size) == ("lite", 64)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == some.step > 0


def test_images_that_are_held_out_are_never_drawn(tmp_path: Path) -> None:
    def items():
        for group in (f"p{k}" for k in range(40)):
            gray = np.full((40, 40), 30, np.uint8)
            gray[10:25, 10:25] = 200
            yield gray, (gray[None] > 100).astype(np.uint8), "kvasir", group, 0

    write_pool(tmp_path / "pool_a", items())
    some = LiteTraining(tmp_path / "out", tmp_path, resized(build_sam(replace(LITE, image_size=64)), 64), RECIPE)
    validation, mix = some._mix()
    kept, drawn = set(validation[0][1]), set(mix.pools[0][1])
    assert kept
    assert not kept & drawn
    assert kept | drawn == set(range(40))


def test_batches_do_not_depend_on_who_draws_them(data: Path) -> None:
    mix = TrainingMix([(str(data / "pool_a"), list(range(8)))], [], 2, 64, seed=1)
    alone = [pairs for pairs, _ in zip(mix.batches(0), range(3), strict=False)]
    other = [pairs for pairs, _ in zip(mix.batches(1), range(3), strict=False)]
    for one, two in zip(alone, other, strict=True):
        assert isinstance(one, VisitPairs)
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.masks, two.masks)


def test_only_what_is_trained_needs_gradients() -> None:
    sam = build_sam(replace(LITE, image_size=64))
    frozen_start(sam)
    frozen = {name.split(".")[1] for name, p in sam.named_parameters() if not p.requires_grad and "image_enc" in name}
    assert frozen == {"stem", "stages"}
