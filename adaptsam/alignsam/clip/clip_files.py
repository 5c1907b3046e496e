"""Files of a CLIP on this machine, and the model they make. Nothing is downloaded, no file is executed."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from adaptsam.alignsam.clip.open_clip_library import open_clip, transformers
from adaptsam.errors import CheckpointError
from adaptsam.storage.bundled_models import bundled_folders

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
BUNDLED_NAME = "phantom_clip"
HOW_TO_GET = (
    "CLIP weights for real images do not come with AdaptSAM: where there is internet, run 'hf download "
    "timm/vit_base_patch16_clip_224.openai --local-dir FOLDER' (or another open_clip model of the Hugging Face hub, "
    "such as microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224), copy FOLDER here and give its path"
)


@dataclass(frozen=True)
class ClipFiles:
    """Files of one CLIP: configuration, weights and tokenizer.

    Attributes:
        name: for messages and records; never a path.
        config: open_clip's model configuration; None for OpenAI's own archives, whose weights tell everything.
        weights: the file.
        preprocess: ``mean``, ``std``, ``interpolation``.
        tokenizer: what open_clip's ``get_tokenizer`` is given.
        folder: where a text tower's configuration and tokenizer may lie; None for a single file.
        names: what it learnt the names of, where that is told: only those mean anything to it.
    """

    name: str
    config: Mapping[str, Any] | None
    weights: Path
    preprocess: Mapping[str, Any]
    tokenizer: str
    folder: Path | None = None
    names: tuple[str, ...] = ()


def find(source: str | PathLike[str], architecture: str | None = None) -> ClipFiles:
    """The parts of the CLIP that ``source`` names; see :func:`adaptsam.alignsam.clip.load_clip`.

    Raises:
        CheckpointError: there is no such model here.
    """
    if source == BUNDLED_NAME:
        return _in_folder(_bundled(), BUNDLED_NAME)
    path = Path(source)
    if path.is_dir():
        return _in_folder(path, path.name)
    if path.is_file():
        return _in_file(path, architecture)
    name = str(source)
    if name.startswith("hf-hub:"):
        config = _cached(name.removeprefix("hf-hub:"), CONFIG_NAME)
        if config is not None:
            return _in_folder(config.parent, name)
    elif ":" in name:
        return _named(*name.split(":", 1))
    raise CheckpointError(f"There is no CLIP model at {name} on this machine. {HOW_TO_GET}.")


def _bundled() -> Path:
    """The folder of the small CLIP that comes with AdaptSAM."""
    for folder in bundled_folders():
        if (folder / BUNDLED_NAME).is_dir():
            return folder / BUNDLED_NAME
    raise CheckpointError(f"The bundled model {BUNDLED_NAME} is not installed; install AdaptSAM again.")


def _in_folder(folder: Path, name: str) -> ClipFiles:
    try:
        described = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        config = described["model_cfg"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not an open_clip model: it has no {CONFIG_NAME}. {HOW_TO_GET}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME} is damaged; copy or download it again.") from error
    weights = next((folder / name for name in WEIGHTS_NAMES if (folder / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"{folder} holds no weights ({WEIGHTS_NAMES[0]} or {WEIGHTS_NAMES[2]}). {HOW_TO_GET}.")
    preprocess = {**_usual_preprocess(), **described.get("preprocess_cfg", {})}
    names = tuple(str(one) for one in described.get("adaptsam", {}).get("names", ()))
    return ClipFiles(name, config, weights, preprocess, f"local-dir:{folder}", folder, names)


def _in_file(path: Path, architecture: str | None) -> ClipFiles:
    if _is_torchscript(path):
        return ClipFiles(path.stem, None, path, _usual_preprocess(), "")
    if architecture is None:
        raise CheckpointError(
            f"{path.name} does not tell which CLIP it holds; say architecture='ViT-B-16' (or another of open_clip's "
            "names, with -quickgelu for OpenAI's weights), or give the folder with its open_clip_config.json."
        )
    return ClipFiles(architecture, _config_of(architecture), path, _usual_preprocess(), architecture)


def _named(architecture: str, tag: str) -> ClipFiles:
    """Weights that open_clip knows by a tag, if they lie in the hub's cache."""
    library = open_clip()
    config = _config_of(architecture)
    known = library.get_pretrained_cfg(architecture, tag)
    if not known:
        tags = ", ".join(library.list_pretrained_tags_by_model(architecture)) or "none"
        raise CheckpointError(f"open_clip knows no weights {tag!r} of {architecture}, only: {tags}.")
    repository, _, given = known.get("hf_hub", "").rpartition("/")
    for file in (given,) if given else WEIGHTS_NAMES:
        weights = _cached(repository, file)
        if weights is not None:
            config["quick_gelu"] = known.get("quick_gelu", False)
            preprocess = {**_usual_preprocess(), **{key: known[key] for key in ("mean", "std") if key in known}}
            return ClipFiles(f"{architecture}:{tag}", config, weights, preprocess, architecture)
    how = f"run 'hf download {repository}' where there is internet, or copy its folder here and give its path"
    raise CheckpointError(
        f"The weights {tag} of {architecture} are not on this machine and do not come with AdaptSAM; {how}."
    )


def _config_of(architecture: str) -> dict[str, Any]:
    config = open_clip().get_model_config(architecture)
    if config is None:
        raise CheckpointError(
            f"open_clip knows no model {architecture!r}; its names are like ViT-B-16, ViT-B-16-quickgelu or ViT-L-14."
        )
    return config


def _cached(repository: str, file: str) -> Path | None:
    """A file in the cache of the Hugging Face hub. (open_clip depends on huggingface_hub.)"""
    open_clip()
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file)
    except HFValidationError as error:
        raise CheckpointError(f"hf-hub:{repository} is not a name of the form hf-hub:ORGANISATION/MODEL.") from error
    return Path(found) if isinstance(found, str) else None


def _usual_preprocess() -> dict[str, Any]:
    library = open_clip()
    return {"mean": library.OPENAI_DATASET_MEAN, "std": library.OPENAI_DATASET_STD, "interpolation": "bicubic"}


def build(files: ClipFiles) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """The model, float32 on the CPU, and its tokenizer.

    Raises:
        CheckpointError: the files are damaged, unsafe, or do not fit each other.
    """
    library = open_clip()
    if files.config is None:
        return _openai(files.weights), library.SimpleTokenizer()
    try:
        with _text_config(files) as config:
            kind = library.CLIP
            if config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]:
                kind = library.CustomTextCLIP
            model = kind(**config)
        library.load_checkpoint(model, str(files.weights), strict=True, weights_only=True)
        return model, library.get_tokenizer(files.tokenizer, **_offline(config))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{files.weights.name} holds more than weights, or is damaged, and was not read; use a safetensors file."
        ) from error
    except (RuntimeError, SafetensorError, OSError, ValueError, TypeError, KeyError, EOFError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"{files.weights.name} and the configuration of {files.name} do not make a CLIP ({reason}); "
            "copy or download both again."
        ) from error


def _offline(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"local_files_only": True} if config["text_cfg"].get("hf_tokenizer_name") else {}


@contextmanager
def _text_config(files: ClipFiles) -> Iterator[dict[str, Any]]:
    """The configuration, told to fetch nothing, with a Hugging Face text tower's own configuration from here."""
    config = deepcopy(dict(files.config or {}))
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    text = config["text_cfg"]
    if not text.get("hf_model_name"):
        yield config
        return
    transformers()
    text["hf_model_pretrained"] = False
    with TemporaryDirectory() as temporary:
        text["hf_model_name"] = str(_tower_config(files, text["hf_model_name"], Path(temporary)))
        yield config


def _tower_config(files: ClipFiles, name: str, temporary: Path) -> Path:
    """A folder with the text tower's config.json: beside the weights, in the hub's cache, or made for a BERT."""
    if files.folder is not None and _names_a_model(files.folder / "config.json"):
        return files.folder
    cached = None if Path(name).is_absolute() else _cached(name, "config.json")
    if cached is not None:
        return cached.parent
    _bert_config(files.weights, name).save_pretrained(temporary)
    return temporary


def _names_a_model(file: Path) -> bool:
    return file.is_file() and "model_type" in json.loads(file.read_text(encoding="utf-8"))


def _bert_config(weights: Path, name: str) -> Any:
    """BiomedCLIP's folder lacks its BERT's configuration; the shapes of the weights tell it."""
    from open_clip.factory import load_state_dict

    state = load_state_dict(str(weights), weights_only=True)
    prefix = "text.transformer."
    try:
        vocabulary, width = state[f"{prefix}embeddings.word_embeddings.weight"].shape
        positions = len(state[f"{prefix}embeddings.position_embeddings.weight"])
        kinds = len(state[f"{prefix}embeddings.token_type_embeddings.weight"])
        inner = len(state[f"{prefix}encoder.layer.0.intermediate.dense.weight"])
    except KeyError as error:
        raise CheckpointError(
            f"The text tower is {name}, whose config.json is not here; put that file beside {weights.name}."
        ) from error
    layers = {key.split(".")[4] for key in state if key.startswith(f"{prefix}encoder.layer.")}
    return transformers().BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=width // 64,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=kinds,
    )


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _openai(path: Path) -> nn.Module:
    """OpenAI's own archives are TorchScript: the tensors are taken out, the code in them is not run."""
    from open_clip.model import build_model_from_openai_state_dict

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, OpenAI's files remain
            state = torch.jit.load(path, map_location="cpu").state_dict()
        return build_model_from_openai_state_dict(state, cast_dtype=None).float()
    except (RuntimeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path.name} is not one of OpenAI's CLIP files, or it is damaged.") from error
