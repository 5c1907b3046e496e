"""What is trained of a SAM, and the files that keep it."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError, InputError
from adaptsam.finetune.adapter_file import load_adapter, save_adapter
from adaptsam.finetune.lora import has_lora, merge_lora, trained_tensors
from adaptsam.finetune.tuning import METHODS, Tuning, merged
from adaptsam.sam import SamConfig, SamModel, build_sam, encode
from adaptsam.sam.architecture import VIT_B, VIT_L

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def trained_count(sam: Sam) -> int:
    return sum(parameter.numel() for parameter in sam.parameters() if parameter.requires_grad)


def disturb(sam: Sam) -> None:
    """As if it had been trained."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trained_tensors(sam).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


@pytest.mark.parametrize(
    ("config", "whole", "published"), [(VIT_B, 93_735_472, 5_516_336), (VIT_L, 312_342_832, 5_901_616)]
)
def test_lora_trains_exactly_the_parameters_that_the_published_models_train(
    config: SamConfig, whole: int, published: int
) -> None:
    with torch.device("meta"):
        sam = build_sam(config)
        assert sum(parameter.numel() for parameter in sam.parameters()) == whole
        Tuning("lora").apply(sam)
    assert trained_count(sam) == published


@pytest.mark.parametrize("method", METHODS)
def test_no_method_changes_the_model_before_it_is_trained(tiny: Sam, method: str) -> None:
    with torch.no_grad():
        before = encode(tiny.image_encoder, IMAGES)
        Tuning(method).apply(tiny)
        after = encode(tiny.image_encoder, IMAGES)
    assert (before - after).abs().max() < 1e-5
    assert trained_count(tiny) > 0


def test_the_methods_train_what_their_papers_say(base: SamModel) -> None:
    names: dict[str, set[str]] = {}
    for method in METHODS:
        sam = build_sam(base.config)
        Tuning(method).apply(sam)
        names[method] = {name for name, parameter in sam.named_parameters() if parameter.requires_grad}
    encoder = {method: {n for n in found if n.startswith("image_encoder.")} for method, found in names.items()}
    assert encoder["decoder"] == set()
    assert not any("patch_embed" in n or "neck" in n for n in encoder["samed"] | encoder["adapter"])
    assert {n.split(".attn.")[1].split(".lora")[0] for n in encoder["samed"]} == {"qkv.q", "qkv.v"}
    adapted = {n.split(".attn.")[1].split(".lora")[0] for n in encoder["lora"] if ".lora_" in n}
    assert adapted == {"qkv.q", "qkv.k", "qkv.v", "proj"}
    assert all(".adapter." in n for n in encoder["adapter"])
    assert any("rel_pos" in n for n in encoder["full"])


@pytest.mark.parametrize("method", ["lora", "samed"])
def test_merged_lora_is_a_plain_sam_with_the_outputs_it_had(tiny: Sam, method: str) -> None:
    names = set(tiny.state_dict())
    Tuning(method).apply(tiny)
    with torch.no_grad():
        disturb(tiny)
        before = encode(tiny.image_encoder, IMAGES)
        merge_lora(tiny)
        after = encode(tiny.image_encoder, IMAGES)
    assert set(tiny.state_dict()) == names
    assert not has_lora(tiny)
    assert (before - after).abs().max() < 1e-5


def test_drop_path_is_the_papers_for_its_two_ways_and_off_for_the_others() -> None:
    assert {method: Tuning(method).dropped for method in METHODS} == {
        **dict.fromkeys(METHODS, 0.0),
        "full": 0.1,
        "lora": 0.1,
    }
    # What a state of a training is compared by says what was done, not what was asked for.
    assert Tuning("lora").to_dict() == Tuning("lora", drop_path=0.1).to_dict()


def test_adapters_cannot_be_merged(tiny: Sam) -> None:
    Tuning("adapter").apply(tiny)
    assert not merged(tiny)


@pytest.mark.parametrize("method", METHODS)
def test_a_file_holds_every_trained_tensor_and_gives_the_trained_model_again(
    base: SamModel, tmp_path: Path, method: str
) -> None:
    trained = copy.deepcopy(base.sam)
    tuning = Tuning(method)
    tuning.apply(trained)
    disturb(trained)
    file = tmp_path / "adapter.safetensors"
    save_adapter(file, trained, tuning, base.sha256)
    loaded = load_adapter(file, base)
    with torch.no_grad():
        difference = encode(loaded.sam.image_encoder, IMAGES) - encode(trained.image_encoder, IMAGES)
        changed = encode(loaded.sam.image_encoder, IMAGES) - encode(base.sam.image_encoder, IMAGES)
    assert difference.abs().max() < 1e-5
    assert method == "decoder" or changed.abs().max() > 1e-3
    assert torch.equal(loaded.sam.mask_decoder.iou_token.weight, trained.mask_decoder.iou_token.weight)
    assert loaded.sha256 != base.sha256


def test_an_adapter_of_another_model_is_refused(base: SamModel, tmp_path: Path) -> None:
    tuning = Tuning("lora")
    adapted = build_sam(base.config)
    tuning.apply(adapted)
    file = tmp_path / "adapter.safetensors"
    save_adapter(file, adapted, tuning, "0" * 64)
    with pytest.raises(CheckpointError, match="trained on another model"):
        load_adapter(file, base)


def test_a_forged_value_is_not_repeated_at_length(base: SamModel, tmp_path: Path) -> None:
    tuning = Tuning("decoder")
    adapted = copy.deepcopy(base.sam)
    tuning.apply(adapted)
    object.__setattr__(tuning, "drop_path", [1] * 5000)
    save_adapter(tmp_path / "adapter.safetensors", adapted, tuning, base.sha256)
    with pytest.raises(CheckpointError, match="how it was trained") as refused:
        load_adapter(tmp_path / "adapter.safetensors", base)
    assert len(str(refused.value)) < 500


def test_a_file_that_is_no_adapter_is_refused_in_one_sentence(base: SamModel, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    for path, sentence in ((broken, "damaged"), (tmp_path / "missing", "no adapter file")):
        with pytest.raises(CheckpointError, match=sentence):
            load_adapter(path, base)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda sam: Tuning("lorra"), "Did you mean 'lora'"),
        (lambda sam: Tuning("lora", {"rank": 0}).apply(sam), "at least 1"),
        (lambda sam: Tuning("lora", {"parts": "qx"}).apply(sam), "q, k, v and o"),
        (lambda sam: Tuning("lora", {"depth": 3}).apply(sam), "cannot be set so"),
        (lambda sam: Tuning("adapter", {"share": 2.0}).apply(sam), "between 0 and 1"),
        (lambda sam: Tuning("full", drop_path=1.0), "below 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tiny: Sam, make: Callable[[Sam], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make(tiny)


def test_lora_twice_is_refused(tiny: Sam) -> None:
    Tuning("lora").apply(tiny)
    with pytest.raises(InputError, match="merge them first"):
        Tuning("lora").apply(tiny)
