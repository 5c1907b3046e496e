"""Training the bundled model from nothing, on phantoms alone: ``python -m adaptsam.finetune.pretrain --output FILE``.

Each step encodes a batch once and decodes several structures of each slice in three rounds: a first prompt, the same
with the mask of round one, and with its box or corrected points, which is also how P²SAM's cascade will call it. An
auxiliary loss classifies every patch by the cosine similarity of its embedding to one vector a structure, because P²SAM
compares embeddings by cosine similarity; the vectors are discarded afterwards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
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
    """Everything that decides what comes out, apart from the machine."""

    steps: int = 650
    batch: int = 8
    masks: int = 2
    rounds: int = 3
    learning_rate: float = 1e-3
    warm_up: int = 50
    weight_decay: float = 0.05
    class_weight: float = 1.0
    temperature: float = 0.07
    average: float = 0.98
    seed: int = 2026


class Trainee(torch.nn.Module):
    """The model and the vectors of the auxiliary loss."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build_sam(SMALL)
        self.prototypes = torch.nn.Parameter(torch.randn(len(CLASSES), SMALL.embed_dim))
        for name, parameter in self.sam.image_encoder.named_parameters():
            if "pos_embed" in name:
                torch.nn.init.trunc_normal_(parameter, std=0.02)


def classification_loss(features: Tensor, prototypes: Tensor, masks: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the patches' cosine similarities to the class vectors, for ``features`` (B, C, h, w)."""
    classes = patch_classes(masks, features.shape[-1])
    cosine = torch.einsum("bchw,nc->bnhw", functional.normalize(features, dim=1), functional.normalize(prototypes))
    count = torch.bincount(classes.flatten(), minlength=len(CLASSES)).float()
    weight = (count.sum() / (count + 0.01 * count.sum())).sqrt()
    return functional.cross_entropy(cosine / temperature, classes, weight=weight)


def choose_targets(rng: np.random.Generator, masks: Tensor, count: int) -> list[tuple[int, int]]:
    """``count`` (slice, structure) pairs a slice, tumours and cords three times as likely as the rest."""
    areas = masks.sum((-2, -1)).cpu().numpy()
    favour = np.array([3.0 if name in ("GTV-1", "Spinal-Cord") else 1.0 for name in STRUCTURES])
    chosen = []
    for row, area in enumerate(areas):
        weight = favour * (area > 12)
        chosen += [(row, int(rng.choice(len(STRUCTURES), p=weight / weight.sum()))) for _ in range(count)]
    return chosen


def interactive_loss(rng: np.random.Generator, sam: Sam, features: Tensor, batch: Slices, recipe: Recipe) -> Tensor:
    """The mean mask loss over the rounds; the embedding (B, C, h, w) is shared by all prompts and rounds."""
    targets = choose_targets(rng, batch.masks, recipe.masks)
    truth = torch.stack([batch.masks[row, structure] for row, structure in targets])
    full = truth.cpu().numpy()
    low = functional.adaptive_avg_pool2d(truth[:, None].float(), 4 * features.shape[-1])
    low = (low > 0.5).float()
    image = features.flatten(2).transpose(1, 2)[[row for row, _ in targets]]
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    started = [first_prompt(rng, mask) for mask in full]
    points = [prompt if is_points else joined(prompt) for prompt, is_points in started]
    tokens = [closed(prompt) if is_points else prompt for prompt, is_points in started]
    previous: list[Tensor | None] = [None] * len(targets)
    losses = []
    for number in range(recipe.rounds):
        multimask = bool(rng.random() < 0.25)
        sparse, real = embed_tokens(sam.prompt_encoder, tokens)
        dense = embed_mask_inputs(sam.prompt_encoder, previous)
        logits, iou = run_decoder(sam.mask_decoder, image + dense, position, sparse, real, None, multimask)
        logits, iou = logits.float(), iou.float()
        each = mask_loss(logits, low, iou)
        losses.append(each.min(1).values.mean() if multimask else each[:, 0].mean())
        if number + 1 < recipe.rounds:
            best = iou.argmax(1) if multimask else torch.zeros(len(iou), dtype=torch.int64, device=iou.device)
            chosen = logits.detach()[torch.arange(len(iou), device=iou.device), best]
            previous = list(chosen)
            if number + 2 == recipe.rounds:
                tokens = _next_prompts(rng, points, full, chosen)
    return torch.stack(losses).mean()


def _next_prompts(
    rng: np.random.Generator, points: list[PromptTokens], truth: np.ndarray, logits: Tensor
) -> list[PromptTokens]:
    """For each prompt either the box of what was found is added, as P²SAM does, or points where it was wrong."""
    found = functional.interpolate(logits[:, None], truth.shape[-2:], mode="bilinear")[:, 0] > 0
    prompts = []
    for prompt, mask, guess in zip(points, truth, found.cpu().numpy(), strict=True):
        only_points = PromptTokens(prompt.coordinates[prompt.kinds < 2], prompt.kinds[prompt.kinds < 2])
        if rng.random() < 0.5 and guess.any():
            prompts.append(joined(only_points, box_around(guess)))
        else:
            prompts.append(closed(joined(only_points, error_points(rng, mask, guess, int(rng.integers(1, 4))))))
    return prompts


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    share = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * share)))


def train(recipe: Recipe, output: Path, device: str, workers: int) -> None:
    """Train, printing a line every 50 steps; resumes from ``output`` with the suffix .resume if that is there."""
    torch.manual_seed(recipe.seed)
    trainee = Trainee().to(device).train()
    average = AveragedModel(trainee, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    decay = [p for p in trainee.parameters() if p.ndim > 1]
    plain = [p for p in trainee.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    kept = output.with_suffix(".resume")
    start = _resume(kept, trainee, average, optimiser)
    rng = np.random.default_rng([recipe.seed, start, 1])
    history: list[dict[str, float]] = []
    begun = time.monotonic()
    for step, batch in zip(range(start, recipe.steps), _batches(recipe, start, device, workers), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, recipe)
        mask, kind = _step(rng, trainee, batch, recipe, device)
        if not torch.isfinite(mask + kind):
            raise FloatingPointError(f"The loss is not finite at step {step}; the last good state is in {kept}.")
        optimiser.zero_grad()
        (mask + recipe.class_weight * kind).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(trainee)
        history.append({"mask": mask.item(), "class": kind.item()})
        if step % 50 == 49:
            recent = {key: round(float(np.mean([h[key] for h in history[-50:]])), 4) for key in history[-1]}
            print(
                json.dumps({"step": step + 1, **recent, "minutes": round((time.monotonic() - begun) / 60, 1)}),
                flush=True,
            )
        if step % 100 == 99 or step + 1 == recipe.steps:
            state = {"step": step + 1, "model": trainee.state_dict(), "average": average.state_dict()}
            torch.save({**state, "optimiser": optimiser.state_dict()}, kept)
            metadata = {"recipe": asdict(recipe), "trained_steps": step + 1, "data": "synthetic thorax phantoms only"}
            save_checkpoint(output, average.module.sam, SMALL, metadata=metadata)


def _step(
    rng: np.random.Generator, trainee: Trainee, batch: Slices, recipe: Recipe, device: str
) -> tuple[Tensor, Tensor]:
    sam = trainee.sam
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        features = encode(sam.image_encoder, (batch.images - sam.pixel_mean) / sam.pixel_std)
    kind = classification_loss(features.float(), trainee.prototypes, batch.masks, recipe.temperature)
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        mask = interactive_loss(rng, sam, features.float(), batch, recipe)
    return mask, kind


def _batches(recipe: Recipe, start: int, device: str, workers: int) -> Iterator[Slices]:
    """Batches made in worker processes for the CPU, and on the GPU itself otherwise."""
    on_gpu = torch.device(device).type == "cuda"
    data = PhantomSlices(recipe.batch, SMALL.image_size, recipe.seed + start, device if on_gpu else "cpu")
    loader = DataLoader(
        data,
        batch_size=None,
        num_workers=0 if on_gpu else workers,
        prefetch_factor=None if on_gpu or not workers else 4,
    )
    return iter(loader)


def _resume(kept: Path, trainee: Trainee, average: AveragedModel, optimiser: torch.optim.Optimizer) -> int:
    if not kept.is_file():
        return 0
    state = torch.load(kept, weights_only=True)
    trainee.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the model, .safetensors")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that make phantoms, on the CPU")
    args = parser.parse_args()
    train(Recipe(steps=args.steps, batch=args.batch, seed=args.seed), args.output, args.device, args.workers)


if __name__ == "__main__":
    main()
