"""Training the bundled model from nothing, on phantoms alone: ``python -m adaptsam.finetune.pretrain --output FILE``.

Two stages, because a decoder that starts from nothing learns slowly and an encoder is expensive:

1. The encoder classifies every patch by the cosine similarity of its embedding to one vector a structure, because P²SAM
   compares embeddings by cosine similarity. The vectors are discarded afterwards.
2. The encoder is frozen, a pool of slices is encoded once, and prompt encoder and mask decoder learn from prompts as a
   user and as P²SAM's cascade give them: points or a box, then with the mask of an earlier pass, then with its box.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from adaptsam.data.phantom.render import STRUCTURES
from adaptsam.finetune.losses import mask_loss
from adaptsam.finetune.phantom_slices import CLASSES, PhantomSlices, Slices, patch_classes
from adaptsam.finetune.prompting import box_around, closed, error_points, first_prompt, joined
from adaptsam.sam import SMALL, build_sam, encode, save_checkpoint
from adaptsam.sam.prompts import PromptTokens, embed_mask_inputs, embed_tokens
from adaptsam.sam.two_way import run_decoder


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out, apart from the machine.

    ``encoder_steps`` of ``batch`` slices; a pool of ``pool`` batches; ``decoder_steps`` of ``prompts`` prompts.
    """

    encoder_steps: int = 350
    batch: int = 8
    pool: int = 100
    decoder_steps: int = 1800
    prompts: int = 24
    encoder_rate: float = 1e-3
    decoder_rate: float = 6e-4
    warm_up: int = 50
    weight_decay: float = 0.05
    temperature: float = 0.07
    seed: int = 2026


def new_sam() -> Sam:
    """A small SAM whose tokens look, from the start, at the place that a prompt names.

    Queries and keys of the decoder's token-to-image attentions start equal: the scores are then largest where the
    positional encodings agree. Learning that from random projections takes most of a training.
    """
    sam = build_sam(SMALL)
    torch.nn.init.trunc_normal_(sam.image_encoder.pos_embed, std=0.02)
    transformer = sam.mask_decoder.transformer
    for attention in (
        *(x.cross_attn_token_to_image for x in transformer.layers),
        transformer.final_attn_token_to_image,
    ):
        torch.nn.init.orthogonal_(attention.k_proj.weight, gain=1.5)
        attention.q_proj.weight.data.copy_(attention.k_proj.weight.data)
    return sam


def classification_loss(features: Tensor, prototypes: Tensor, masks: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the patches' cosine similarities to the class vectors, for ``features`` (B, C, h, w)."""
    classes = patch_classes(masks, features.shape[-1])
    cosine = torch.einsum("bchw,nc->bnhw", functional.normalize(features, dim=1), functional.normalize(prototypes))
    count = torch.bincount(classes.flatten(), minlength=len(CLASSES)).float()
    weight = (count.sum() / (count + 0.01 * count.sum())).sqrt()
    return functional.cross_entropy(cosine / temperature, classes, weight=weight)


def learning_rate(step: int, steps: int, peak: float, warm_up: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * share))))


class _Optimiser:
    """AdamW with the recipe's schedule, clipping, and a line of progress every 50 steps."""

    def __init__(
        self, name: str, parameters: list[torch.nn.Parameter], steps: int, peak: float, recipe: Recipe
    ) -> None:
        self.name, self.steps, self.peak, self.recipe = name, steps, peak, recipe
        self.parameters = parameters
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, lr=peak)
        self.history: list[float] = []
        self.begun = time.monotonic()

    def step(self, loss: Tensor) -> None:
        number = len(self.history)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"The loss of the {self.name} is not finite at step {number}; lower its rate.")
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(number, self.steps, self.peak, self.recipe.warm_up)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.history.append(loss.item())
        if number % 50 == 49:
            minutes = round((time.monotonic() - self.begun) / 60, 1)
            mean = round(float(np.mean(self.history[-50:])), 4)
            print(json.dumps({"stage": self.name, "step": number + 1, "loss": mean, "minutes": minutes}), flush=True)


def embed(sam: Sam, images: Tensor) -> Tensor:
    """Features float32 (B, C, h, w) of images (B, 3, S, S), 0 to 255, computed in bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16):
        return encode(sam.image_encoder, (images - sam.pixel_mean) / sam.pixel_std).float()


def train_encoder(sam: Sam, batches: Iterator[Slices], recipe: Recipe) -> list[float]:
    """Stage 1; returns the loss of every step."""
    prototypes = torch.nn.Parameter(torch.randn(len(CLASSES), SMALL.embed_dim, device=sam.device))
    parameters = [*sam.image_encoder.parameters(), prototypes]
    optimiser = _Optimiser("encoder", parameters, recipe.encoder_steps, recipe.encoder_rate, recipe)
    for batch in islice(batches, recipe.encoder_steps):
        features = embed(sam, batch.images)
        optimiser.step(classification_loss(features, prototypes, batch.masks, recipe.temperature))
    return optimiser.history


@dataclass(frozen=True)
class Pool:
    """Encoded slices: ``features`` bfloat16 (N, C, h, w) and ``masks`` bool (N, len(STRUCTURES), S, S)."""

    features: Tensor
    masks: Tensor

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Features float32 (count, C, h, w) and masks bool (count, S, S); tumours and cords three times as likely."""
        favour = np.array([3.0 if name in ("GTV-1", "Spinal-Cord") else 1.0 for name in STRUCTURES])
        rows = torch.from_numpy(rng.integers(len(self.features), size=count))
        chosen = []
        for row in rows:
            area = self.masks[row].sum((-2, -1)).cpu().numpy()
            weight = favour * (area > 12) * (area < 0.9 * self.masks.shape[-1] ** 2)
            weight = weight if weight.any() else (area > 0) + 1e-9
            chosen.append(self.masks[row, int(rng.choice(len(STRUCTURES), p=weight / weight.sum()))])
        return self.features[rows].float(), torch.stack(chosen)


def fill_pool(sam: Sam, batches: Iterator[Slices], count: int) -> Pool:
    """``count`` batches, encoded."""
    features, masks = [], []
    with torch.no_grad():
        for batch in islice(batches, count):
            features.append(embed(sam, batch.images).bfloat16())
            masks.append(batch.masks)
    return Pool(torch.cat(features), torch.cat(masks))


def train_decoder(sam: Sam, pool: Pool, recipe: Recipe) -> list[float]:
    """Stage 2; returns the loss of every step."""
    rng = np.random.default_rng([recipe.seed, 2])
    parameters = [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()]
    optimiser = _Optimiser("decoder", parameters, recipe.decoder_steps, recipe.decoder_rate, recipe)
    for _ in range(recipe.decoder_steps):
        features, masks = pool.draw(rng, recipe.prompts)
        optimiser.step(prompt_loss(rng, sam, features, masks))
    return optimiser.history


def prompt_loss(rng: np.random.Generator, sam: Sam, features: Tensor, masks: Tensor) -> Tensor:
    """The mean mask loss of one prompt a mask: a first prompt half of the time, else one that follows an earlier mask.

    Args:
        features: float32 (B, C, h, w).
        masks: bool (B, S, S).
    """
    truth = masks.cpu().numpy()
    started = [first_prompt(rng, mask) for mask in truth]
    tokens = [closed(prompt) if is_points else prompt for prompt, is_points in started]
    previous: list[Tensor | None] = [None] * len(truth)
    if rng.random() < 0.5:
        with torch.no_grad():
            logits, _ = _decode(sam, features, tokens, previous, multimask=False)
        previous = list(logits[:, 0])
        if rng.random() < 0.6:
            tokens = _next_prompts(rng, [prompt for prompt, _ in started], truth, logits[:, 0])
    multimask = bool(rng.random() < 0.2)
    logits, iou = _decode(sam, features, tokens, previous, multimask)
    low = functional.adaptive_avg_pool2d(masks[:, None].float(), logits.shape[-1])
    each = mask_loss(logits, (low > 0.5).float(), iou)
    return each.min(1).values.mean() if multimask else each[:, 0].mean()


def _decode(
    sam: Sam, features: Tensor, tokens: list[PromptTokens], previous: list[Tensor | None], multimask: bool
) -> tuple[Tensor, Tensor]:
    sparse, real = embed_tokens(sam.prompt_encoder, tokens)
    dense = embed_mask_inputs(sam.prompt_encoder, previous)
    image = features.flatten(2).transpose(1, 2)
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    return run_decoder(sam.mask_decoder, image + dense, position, sparse, real, None, multimask)


def _next_prompts(
    rng: np.random.Generator, prompts: list[PromptTokens], truth: np.ndarray, logits: Tensor
) -> list[PromptTokens]:
    """To each prompt's points is added the box of what was found, as P²SAM does, or points where it was wrong."""
    found = functional.interpolate(logits[:, None], truth.shape[-2:], mode="bilinear")[:, 0] > 0
    following = []
    for prompt, mask, guess in zip(prompts, truth, found.cpu().numpy(), strict=True):
        points = PromptTokens(prompt.coordinates[prompt.kinds < 2], prompt.kinds[prompt.kinds < 2])
        if rng.random() < 0.6 and guess.any():
            following.append(joined(points, box_around(guess)))
        else:
            following.append(closed(joined(points, error_points(rng, mask, guess, int(rng.integers(1, 4))))))
    return following


def train(recipe: Recipe, output: Path, device: str, workers: int) -> None:
    """Both stages. ``output`` is written after each; a finished first stage is not repeated if it was interrupted."""
    torch.manual_seed(recipe.seed)
    sam = new_sam().to(device).train()
    half = output.with_suffix(".encoder.pt")
    if half.is_file():
        sam.load_state_dict(torch.load(half, weights_only=True))
        print(json.dumps({"stage": "encoder", "resumed": str(half)}), flush=True)
    else:
        train_encoder(sam, _batches(recipe, 0, device, workers), recipe)
        torch.save(sam.state_dict(), half)
    sam.image_encoder.requires_grad_(False)
    pool = fill_pool(sam, _batches(recipe, 1, device, workers), recipe.pool)
    losses = train_decoder(sam, pool, recipe)
    figures = {"decoder_loss": round(float(np.mean(losses[-200:])), 4)}
    save_checkpoint(output, sam, SMALL, metadata={"recipe": asdict(recipe), "data": "synthetic phantoms", **figures})
    half.unlink()


def _batches(recipe: Recipe, part: int, device: str, workers: int) -> Iterator[Slices]:
    """Batches made in worker processes for the CPU, and on the GPU itself otherwise."""
    on_gpu = torch.device(device).type == "cuda"
    data = PhantomSlices(recipe.batch, SMALL.image_size, recipe.seed + part, device if on_gpu else "cpu")
    if on_gpu or not workers:
        return iter(data)
    return iter(DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the model, .safetensors")
    parser.add_argument("--encoder-steps", type=int, default=Recipe.encoder_steps)
    parser.add_argument("--decoder-steps", type=int, default=Recipe.decoder_steps)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--pool", type=int, default=Recipe.pool)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that make phantoms, on the CPU")
    args = parser.parse_args()
    recipe = Recipe(args.encoder_steps, args.batch, args.pool, args.decoder_steps, seed=args.seed)
    train(recipe, args.output, args.device, args.workers)


if __name__ == "__main__":
    main()
