"""The bundled model's training: it goes on where it was, learns, and never sees what is held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptsam.errors import InputError
from adaptsam.pretrain import lite_training
from adaptsam.pretrain.image_pool import write_pool
from adaptsam.pretrain.lite_training import LiteRecipe, LiteTraining, frozen_start, new_lite_sam, resized
from adaptsam.pretrain.training_mix import TrainingMix
from adaptsam.sam import LITE, SamConfig, build_sam, load_sam, save_checkpoint
from adaptsam.sam.imagenet_weights import backbone_convolutions
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


def test_a_run_of_so_many_steps_ends_there_and_its_rate_falls_by_steps(tmp_path: Path, data: Path) -> None:
    some = training(tmp_path, data)
    some.run(minutes=60, workers=0, decay=True, steps=4)
    assert some.step == 4
    assert some.adam.param_groups[0]["lr"] == pytest.approx(some.adam.param_groups[0]["rate"] / 4)


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


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tensors in the order of the package's file: for each convolution a weight, and five of its normalisation."""
    tensors = {}
    for number, convolution in enumerate(backbone_convolutions(build_sam(LITE).image_encoder)):
        channels = len(convolution.weight)
        ones = torch.ones(channels)
        layer = (torch.full_like(convolution.weight, 0.01), ones, 0 * ones, 0 * ones, ones, torch.tensor(1))
        tensors |= {f"{number}.{part}": tensor for part, tensor in enumerate(layer)}
    path = tmp_path_factory.mktemp("imagenet") / "weights.pth"
    torch.save(tensors, path)
    return path


def test_a_model_begins_with_imagenet_alone_and_looks_where_it_is_prompted(imagenet: Path) -> None:
    sam = new_lite_sam(imagenet)
    assert sam.image_encoder.stem.weight.unique().numel() == 1
    attention = sam.mask_decoder.transformer.final_attn_token_to_image
    assert torch.equal(attention.q_proj.weight, attention.k_proj.weight)
    gram = attention.k_proj.weight @ attention.k_proj.weight.T
    assert torch.allclose(gram, 1.5**2 * torch.eye(len(gram)), atol=1e-4)


def test_a_former_lite_model_is_taken_up_whole_or_its_decoder_alone(imagenet: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    former = build_sam(LITE)
    save_checkpoint(tmp_path / "former.safetensors", former, LITE, dtype=torch.float32)
    whole = new_lite_sam(former=tmp_path / "former.safetensors", size=192)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in former.state_dict().items())
    assert whole.image_encoder.img_size == 192
    parted = new_lite_sam(imagenet, tmp_path / "former.safetensors")
    assert torch.equal(parted.mask_decoder.iou_token.weight, former.mask_decoder.iou_token.weight)
    assert parted.image_encoder.stem.weight.unique().numel() == 1
    assert not torch.equal(parted.image_encoder.stem.weight, former.image_encoder.stem.weight)


def test_a_former_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    config = SamConfig(
        image_size=64, patch_size=8, encoder_dim=16, encoder_depth=1, encoder_heads=2, global_attention=(0,),
        window_size=4, embed_dim=16, decoder_heads=2, decoder_mlp_dim=16,
    )  # fmt: skip
    save_checkpoint(tmp_path / "other.safetensors", build_sam(config), config)
    with pytest.raises(InputError, match=r"other\.safetensors is a custom; a training begins with a former model"):
        new_lite_sam(former=tmp_path / "other.safetensors")


@pytest.mark.parametrize("content", [b"no state", None])
def test_a_state_that_cannot_be_used_is_refused_and_changes_nothing(
    content: bytes | None, tmp_path: Path, data: Path
) -> None:
    some = training(tmp_path / "some", data)
    before = some.sam.mask_decoder.iou_token.weight.clone()
    path = tmp_path / "state.pt"
    torch.save({"sam": {}, "step": 3, "seconds": 1.0}, path) if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or of another model; get it again"):
        some.resume(path)
    assert some.step == 0
    assert torch.equal(before, some.sam.mask_decoder.iou_token.weight)
    with pytest.raises(InputError, match=r"no state of a training at .*nowhere"):
        some.resume(tmp_path / "nowhere")


def test_a_state_that_asks_to_run_something_is_refused(tmp_path: Path, data: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"sam": Evil()}, tmp_path / "state.pt")
    with pytest.raises(InputError, match="damaged or of another model"):
        training(tmp_path / "some", data).resume(tmp_path / "state.pt")
    assert not (tmp_path / "ran").exists()


def test_the_command_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["lite_training", "--folder", str(tmp_path / "f"), "--data", str(tmp_path), "--minutes", "1"]
    monkeypatch.setattr("sys.argv", [*given, "--former", str(tmp_path / "none.safetensors")])
    with pytest.raises(SystemExit, match="2"):
        lite_training.main()
    assert capsys.readouterr().err.count("\n") == 1
