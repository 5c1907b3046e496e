"""CLIPs from folders, files and names, off line; and clear sentences where there is none."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from adaptsam.alignsam.clip import ClipModel, SurgerySettings, TextAttention, load_clip
from adaptsam.alignsam.clip import clip_files as sources
from adaptsam.errors import CheckpointError, InputError

SHAPE = {
    "embed_dim": 64,
    "vision_cfg": {"layers": 7, "width": 64, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


@pytest.fixture(autouse=True)
def _off_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def small() -> torch.nn.Module:
    torch.manual_seed(4)
    return open_clip.CLIP(**SHAPE, quick_gelu=True).eval()


@pytest.fixture
def folder(tmp_path: Path, small: torch.nn.Module) -> Path:
    save_file(dict(small.state_dict()), tmp_path / "open_clip_model.safetensors")
    described = {"model_cfg": {**SHAPE, "quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    return tmp_path


def same_features(found: ClipModel, model: torch.nn.Module) -> bool:
    tokens = open_clip.tokenize(["the heart"])
    expected = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
    return torch.allclose(found.encode_texts(["the heart"]), expected, atol=1e-5)


def test_a_folder_as_the_hub_stores_it_is_loaded_with_its_own_statistics(folder: Path, small: torch.nn.Module) -> None:
    clip = load_clip(folder, device="cpu")
    assert same_features(clip, small)
    assert clip.preprocess["mean"] == [0.1, 0.2, 0.3]
    assert clip.preprocess["std"] == open_clip.OPENAI_DATASET_STD
    assert (clip.image_size, clip.patch_size) == ((32, 32), (16, 16))


def test_the_bundled_clip_knows_its_words_and_is_small() -> None:
    clip = load_clip("phantom_clip", device="cpu")
    assert clip.name == "phantom_clip"
    assert sum(parameter.numel() for parameter in clip.clip.parameters()) < 5e6
    words = ["lung", "heart", "spine", "tumour", "background"]
    similar = TextAttention(clip, SurgerySettings(modality="ct")).text_features([*words, "lungs", "tumor"])
    nearest = (similar[5:] @ similar[:5].T).argmax(1)
    assert [words[n] for n in nearest] == ["lung", "tumour"]


def test_biomedclips_folder_is_loaded_without_its_berts_configuration(biomed: ClipModel, images: np.ndarray) -> None:
    bert = biomed.clip.text.transformer
    assert (bert.config.num_hidden_layers, bert.config.hidden_size, bert.config.vocab_size) == (2, 64, 15)
    maps = TextAttention(biomed).maps(images, ["lung", "heart"])
    assert maps.shape == (2, 2, 60, 90)
    assert biomed.preprocess["mean"] == [0.5, 0.5, 0.5]


def test_biomedclips_words_are_read_by_the_tokenizer_of_its_folder(biomed: ClipModel) -> None:
    assert biomed.tokenizer(["the lung"])[0, :4].tolist() == [2, 6, 12, 3]


def test_a_text_tower_of_another_kind_asks_for_its_configuration(biomed_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(biomed_folder, tmp_path / "other")
    weights = tmp_path / "other" / "open_clip_pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    torch.save({name.replace(".word_", ".other_"): tensor for name, tensor in state.items()}, weights)
    with pytest.raises(CheckpointError, match=r"whose config\.json is not here"):
        load_clip(tmp_path / "other", device="cpu")


class _Holder(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def save_as_openai_does(state: dict[str, torch.Tensor], file: Path) -> None:
    """A TorchScript archive of half-precision parameters, and of three numbers."""
    root = _Holder()
    for name, tensor in state.items():
        *parents, last = name.split(".")
        module: torch.nn.Module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, _Holder())
            module = getattr(module, parent)
        module.register_parameter(last, torch.nn.Parameter(tensor.half()))
    for name, number in {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}.items():
        root.register_buffer(name, torch.tensor(number))
    torch.jit.script(root).save(str(file))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_openais_archive_tells_its_own_shape(tmp_path: Path, small: torch.nn.Module) -> None:
    file = tmp_path / "ViT-tiny.pt"
    save_as_openai_does(small.state_dict(), file)
    clip = load_clip(file, device="cpu")
    assert clip.name == "ViT-tiny"
    assert clip.image_size == (32, 32)
    assert all(parameter.dtype == torch.float32 for parameter in clip.clip.parameters())
    found = clip.clip.state_dict()
    assert all(torch.equal(found[name], tensor.half().float()) for name, tensor in small.state_dict().items())
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="say architecture="):
        load_clip(file, device="cpu")


def test_a_file_of_weights_needs_the_name_of_its_architecture(
    folder: Path, small: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "open_clip_model.safetensors"
    with pytest.raises(CheckpointError, match="say architecture='ViT-B-16'"):
        load_clip(file, device="cpu")
    with pytest.raises(CheckpointError, match="open_clip knows no model 'ViT-Z'"):
        load_clip(file, architecture="ViT-Z", device="cpu")
    monkeypatch.setattr(sources, "_config_of", lambda _: {**SHAPE, "quick_gelu": True})
    assert same_features(load_clip(file, architecture="ViT-tiny", device="cpu"), small)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="do not make a CLIP"):
        load_clip(folder / "open_clip_model.safetensors", architecture="ViT-B-32", device="cpu")


def test_a_name_finds_its_weights_in_the_hubs_cache_with_the_right_activation(
    folder: Path, small: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cached(repository: str, file: str) -> Path | None:
        asked.append(repository)
        return folder / file if (folder / file).is_file() else None

    monkeypatch.setattr(sources, "_cached", cached)
    monkeypatch.setattr(sources, "_config_of", lambda _: dict(SHAPE))
    clip = load_clip("ViT-B-16:openai", device="cpu")
    assert same_features(clip, small)
    assert asked == ["timm/vit_base_patch16_clip_224.openai"]
    assert clip.name == "ViT-B-16:openai"
    assert load_clip("hf-hub:someone/clip", device="cpu").name == "hf-hub:someone/clip"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "hf download"),
        ("hf-hub:microsoft/BiomedCLIP", "hf download"),
        ("hf-hub:a/b/c", "not a name of the form"),
        ("ViT-B-16:openai", "hf download timm/vit_base_patch16_clip_224.openai"),
        ("ViT-B-16:nothing", "knows no weights 'nothing' of ViT-B-16, only: openai"),
        ("ViT-Z:openai", "open_clip knows no model 'ViT-Z'"),
    ],
)
def test_a_missing_model_is_said_with_the_way_to_get_it(
    source: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=sentence):
        load_clip(source, device="cpu")


def test_damaged_and_poisoned_files_are_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="copy or download both again"):
        load_clip(folder, device="cpu")
    weights.unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_clip(folder, device="cpu")

    class Poison:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.write_text, (tmp_path / "poisoned", "!")

    torch.save({"weight": Poison()}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        load_clip(folder, device="cpu")
    assert not (tmp_path / "poisoned").exists()
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_clip(folder, device="cpu")
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"it has no open_clip_config\.json"):
        load_clip(folder, device="cpu")


def test_a_missing_library_is_said_in_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(InputError, match=r"Text prompts need open_clip.*pip install 'adaptsam\[text\]'"):
        load_clip(folder, device="cpu")


@pytest.mark.parametrize(
    ("vision", "sentence"),
    [
        ({"layers": [1, 1, 1, 1], "width": 64, "patch_size": None, "image_size": 64}, "ModifiedResNet"),
        ({"attentional_pool": True, "attn_pooler_heads": 4}, "pools by attention"),
        ({"pool_type": "avg"}, "pools by avg"),
        ({"qk_norm": True}, "blocks of its own kind"),
    ],
)
def test_a_tower_without_a_class_token_is_refused(
    vision: dict[str, object],
    sentence: str,
    make_clip: Callable[..., torch.nn.Module],
    usable: Callable[[torch.nn.Module], ClipModel],
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        usable(make_clip(**vision))


def test_timms_towers_of_other_kinds_are_refused(
    make_timm: Callable[..., torch.nn.Module], usable: Callable[[torch.nn.Module], ClipModel]
) -> None:
    with pytest.raises(CheckpointError, match="timm's ResNet"):
        usable(make_timm("test_resnet", timm_pool="avg"))
    with pytest.raises(CheckpointError, match="pools by avg"):
        usable(make_timm("test_vit", timm_pool="avg"))
