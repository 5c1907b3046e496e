"""Tiny CLIPs with random weights, of both kinds of towers, and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers

from adaptsam.alignsam.clip import ClipModel, load_clip

PREPROCESS = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28), "interpolation": "bicubic"}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "of", "on", "in", "ct", "scan", "lung", "heart", ".")


def randomised(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Noise on every parameter, so that no bias is 0 and no norm is 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (
                0.1 * torch.randn(parameter.shape, generator=generator) * parameter.std(correction=0).clamp(0.3)
            )
    return model.eval()


def tiny_clip(**vision: object) -> torch.nn.Module:
    """open_clip's own kind: eight blocks, 6×6 patches."""
    torch.manual_seed(1)
    quick = bool(vision.pop("quick_gelu", True))
    shape = {"layers": 8, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 48, **vision}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return randomised(open_clip.CLIP(32, shape, text, quick_gelu=quick))


def tiny_timm(name: str = "vit_tiny_patch16_224", **vision: object) -> torch.nn.Module:
    """BiomedCLIP's kind of image tower; the text tower is open_clip's own."""
    torch.manual_seed(2)
    shape = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear", "image_size": 224, **vision}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return randomised(open_clip.CustomTextCLIP(32, shape, text))


def in_memory(model: torch.nn.Module) -> ClipModel:
    return ClipModel(model, open_clip.SimpleTokenizer(), PREPROCESS, device="cpu")


@pytest.fixture(scope="session")
def clip() -> ClipModel:
    return in_memory(tiny_clip())


@pytest.fixture(scope="session")
def timm_clip() -> ClipModel:
    return in_memory(tiny_timm())


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Two pictures with bright blobs, uint8 (2, 60, 90, 3)."""
    y, x = np.mgrid[:60, :90]
    blobs = [np.exp(-((y - 20 - 9 * n) ** 2 + (x - 30 - 20 * n) ** 2) / 150) for n in range(2)]
    noise = np.random.default_rng(0).uniform(0, 60, size=(2, 60, 90, 3))
    return (noise + 190 * np.stack(blobs)[..., None]).astype(np.uint8)


@pytest.fixture(scope="session")
def biomed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the Hugging Face hub stores BiomedCLIP: its BERT's own config.json is not in it."""
    folder, tower = tmp_path_factory.mktemp("biomed"), tmp_path_factory.mktemp("tower")
    shape = {"vocab_size": len(WORDS), "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    transformers.BertConfig(**shape, intermediate_size=96, max_position_embeddings=64).save_pretrained(tower)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear", "image_size": 224}
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": "microsoft/BERT", "hf_proj_type": "mlp"}
    text |= {"hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 32}
    torch.manual_seed(3)
    model = randomised(open_clip.CustomTextCLIP(32, vision, {**text, "hf_model_pretrained": False}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    config = {"embed_dim": 32, "vision_cfg": {**vision, "timm_model_pretrained": False}}
    config["text_cfg"] = {**text, "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"}
    described = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="session")
def biomed(biomed_folder: Path) -> ClipModel:
    return load_clip(biomed_folder, device="cpu")


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., torch.nn.Module]:
    """Makes an open_clip model of its own kind, of another shape."""
    return tiny_clip


@pytest.fixture(scope="session")
def make_timm() -> Callable[..., torch.nn.Module]:
    """Makes an open_clip model around another of timm's towers."""
    return tiny_timm


@pytest.fixture(scope="session")
def usable() -> Callable[[torch.nn.Module], ClipModel]:
    """Makes a ClipModel of an open_clip model in memory."""
    return in_memory
