"""Training of a small CLIP from random weights, on phantoms alone.

    python -m adaptsam.pretrain.clip_pretraining --output FOLDER

It is there to try AlignSAM's explicit branch without a download, and for tests: it knows a dozen words. Captions of
whole pictures alone would take far more pictures than a few minutes allow, so it is told more: which patches a caption
is about. The loss is CLIP's, of patches and captions, on features and similarities as CLIP Surgery makes them. The
folder is as the Hugging Face hub stores open_clip models.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adaptsam.alignsam.clip.clip_files import CONFIG_NAME, WEIGHTS_NAMES
from adaptsam.alignsam.clip.feature_surgery import feature_surgery, feature_surgery_against
from adaptsam.alignsam.clip.image_towers import surgery_features, tower_of
from adaptsam.alignsam.clip.open_clip_library import open_clip, transformers
from adaptsam.alignsam.clip.prompt_templates import templates_for
from adaptsam.alignsam.clip.text_attention import SurgerySettings
from adaptsam.errors import InputError
from adaptsam.pretrain.captioned_slices import EMPTY, TOPICS, SlicePool, draw_captions, draw_pool, draw_topics
from adaptsam.pretrain.optimiser import Optimiser
from adaptsam.storage.atomic_files import replacing
from adaptsam.storage.output_staging import staged_output

_CONTEXT = 24
_PAD, _START, _END = "<pad>", "<start>", "<end>"


@dataclass(frozen=True)
class Recipe:
    """Recipe of the training: all that decides the result, apart from the machine.

    ``pool`` slices of ``size`` pixels are drawn first; each of ``steps`` takes ``batch`` of them.
    """

    steps: int = 500
    batch: int = 6
    pool: int = 400
    size: int = 96
    patch: int = 8
    layers: int = 8
    width: int = 96
    text_width: int = 64
    embed_dim: int = 64
    rate: float = 3e-3
    warm_up: int = 40
    weight_decay: float = 0.05
    seed: int = 2026

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.pool) < 1:
            raise InputError("A training needs at least one step and one slice.")


def new_tokenizer() -> Any:
    """A byte-level tokenizer whose pieces are those of the captions; any other text comes out in smaller pieces."""
    transformers()
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=[_PAD, _START], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_all_captions(), trainer)
    tokenizer.add_special_tokens([_END])  # the last and highest: CLIP reads its text at the highest token
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in (_START, _END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{_START} $A {_END}", special_tokens=marks)
    return transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=_PAD, bos_token=_START, eos_token=_END, model_max_length=_CONTEXT
    )


def _all_captions() -> list[str]:
    return [template.format(name) for topic in TOPICS for name in topic.names for template in templates_for("ct")]


def model_config(recipe: Recipe, vocabulary: int) -> dict[str, Any]:
    """open_clip's configuration of the model."""
    vision = {"layers": recipe.layers, "width": recipe.width, "head_width": 32}
    vision |= {"patch_size": recipe.patch, "image_size": recipe.size}
    text: dict[str, Any] = {"context_length": _CONTEXT, "vocab_size": vocabulary}
    text |= {"width": recipe.text_width, "heads": 2, "layers": 2}
    text |= {"hf_tokenizer_name": "adaptsam/phantom-words"}
    return {"embed_dim": recipe.embed_dim, "vision_cfg": vision, "text_cfg": text}


def new_clip(config: dict[str, Any]) -> nn.Module:
    """open_clip's own CLIP. Its usual token embeddings are so alike that captions would hardly differ for long."""
    clip = open_clip().CLIP(**config)
    nn.init.normal_(clip.token_embedding.weight, std=0.2)
    return clip


def caption_loss(features: Tensor, texts: Tensor, empty: Tensor, shares: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss in both directions, on patches.

    Every patch picks its caption, and the class token those of the slice. Every caption picks its patches out of the
    whole batch, by the similarity that CLIP Surgery makes maps of, with many prompts and with one.

    Args:
        features: float (B, 1 + patches, channels) of length 1, the class token first.
        texts: float (topics, channels) of length 1, one caption a topic.
        empty: float (channels,) of length 1, of the empty string.
        shares: float (B, patches, topics), how much of each patch is each topic.
        scale: CLIP's logit scale.

    Returns:
        A scalar. Every topic that is in the batch counts the same, be it large or small.
    """
    logarithm = (scale * features @ texts.T).log_softmax(-1)
    parts = shares / shares.sum(-1, keepdim=True).clamp(min=1e-6)
    amount = parts.sum((0, 1))
    there = amount > 0.5
    loss = -((parts * logarithm[:, 1:]).sum((0, 1)) / amount.clamp(min=1e-6))[there].mean()
    for similarity in (feature_surgery(features, texts), feature_surgery_against(features, texts, empty)):
        picked = (scale * similarity[:, 1:]).flatten(0, 1).log_softmax(0)
        loss -= ((parts.flatten(0, 1) * picked).sum(0) / amount.clamp(min=1e-6))[there].mean()
    whole = shares.mean(1).sqrt()
    return loss - (whole / whole.sum(-1, keepdim=True) * logarithm[:, 0]).sum(-1).mean()


def train(recipe: Recipe, output: Path, overwrite: bool = False) -> nn.Module:
    """Trains on the CPU, and writes the folder; nothing of it is there if the training is stopped.

    Raises:
        OutputError: there is a model in the folder, or it cannot be written.
        TrainingError: the loss is not finite.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng([recipe.seed, 0])
    tokenizer = new_tokenizer()
    config = model_config(recipe, len(tokenizer))
    clip = new_clip(config).train()
    optimiser = Optimiser("clip", clip.parameters(), recipe.steps, recipe.rate, recipe.warm_up, recipe.weight_decay)
    with staged_output(output, [CONFIG_NAME, WEIGHTS_NAMES[0]], overwrite=overwrite) as folder:
        pool = draw_pool(rng, recipe.pool, recipe.size, recipe.patch)
        for _ in range(recipe.steps):
            optimiser.step(_batch_loss(rng, clip, tokenizer, pool, recipe))
            with torch.no_grad():
                clip.logit_scale.clamp_(max=np.log(100))  # type: ignore[operator]
        _save(folder, clip, tokenizer, config, recipe)
    return clip.eval()


def _batch_loss(rng: np.random.Generator, clip: Any, tokenizer: Any, pool: SlicePool, recipe: Recipe) -> Tensor:
    topics = draw_topics(rng)
    rows = torch.from_numpy(rng.integers(len(pool.images), size=recipe.batch))
    features = surgery_features(tower_of(clip.visual), _pixels(pool.images[rows]), SurgerySettings().blocks)
    captions = [*draw_captions(rng, topics, templates_for("ct")), *draw_captions(rng, [EMPTY], templates_for("ct"))]
    tokens = tokenizer(captions, padding="max_length", max_length=_CONTEXT, return_tensors="pt").input_ids
    texts = clip.encode_text(tokens, normalize=True)
    shares = torch.stack([pool.shares[topic][rows] for topic in topics], dim=-1)
    return caption_loss(features, texts[:-1], texts[-1], shares, clip.logit_scale.exp())


def _pixels(images: Tensor) -> Tensor:
    """Gray images uint8 (B, S, S) as CLIP wants them, float32 (B, 3, S, S)."""
    library = open_clip()
    mean, deviation = (torch.tensor(x) for x in (library.OPENAI_DATASET_MEAN, library.OPENAI_DATASET_STD))
    return (images[:, None] / 255 - mean[:, None, None]) / deviation[:, None, None]


def _save(folder: Path, clip: nn.Module, tokenizer: Any, config: dict[str, Any], recipe: Recipe) -> None:
    tokenizer.save_pretrained(folder)
    library = open_clip()
    preprocess = {"mean": library.OPENAI_DATASET_MEAN, "std": library.OPENAI_DATASET_STD, "interpolation": "bicubic"}
    own = {"recipe": asdict(recipe), "names": [name for topic in TOPICS for name in topic.names]}
    described = {"model_cfg": config, "preprocess_cfg": preprocess, "adaptsam": own}
    (folder / CONFIG_NAME).write_text(json.dumps(described, indent=2), encoding="utf-8")
    weights = {name: tensor.detach().cpu().half().contiguous() for name, tensor in clip.state_dict().items()}
    with replacing(folder / WEIGHTS_NAMES[0]) as temporary:
        save_file(weights, temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a model in the folder")
    for field in fields(Recipe):
        default = field.default
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(default), default=default)
    args = vars(parser.parse_args())
    output, overwrite = args.pop("output"), args.pop("overwrite")
    train(Recipe(**args), output, overwrite)


if __name__ == "__main__":
    main()
