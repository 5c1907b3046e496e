"""Training the bundled model on synthetic images alone: ``python -m adaptsam.finetune.pretrain --output FILE``.

Three stages, because a decoder that starts from nothing learns slowly and an encoder is expensive:

1. The encoder alone: a structure's patches at one visit must find it at the other (:mod:`.contrast`).
2. The encoder is frozen, a pool of pairs is encoded once, and prompt encoder and mask decoder learn from prompts.
3. All together, at a lower rate.

A training that was stopped goes on where it was when the same command is given again. ``--start`` takes up a finished
model instead of a new one; with 0 steps for the first two stages it is only refined.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils.data import DataLoader

from adaptsam.errors import InputError
from adaptsam.finetune.contrast import visit_contrast
from adaptsam.finetune.mixture import TrainingPairs
from adaptsam.finetune.optimiser import Optimiser
from adaptsam.finetune.pairs import VisitPairs
from adaptsam.finetune.promptable import draw_mask, prompt_loss
from adaptsam.sam import SMALL, build_sam, choose_device, encode, load_sam, save_checkpoint
from adaptsam.sam.files import replacing
from adaptsam.sam.safe_pickle import load_pickled


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out, apart from the machine and the model it starts from.

    ``batch`` pairs of images at a time, a share ``phantoms`` of them of phantoms; ``encoder_steps``, a ``pool`` of
    batches, ``decoder_steps`` of ``prompts`` prompts, ``joint_steps`` of ``prompts_an_image`` prompts for each image.
    """

    encoder_steps: int = 350
    pool: int = 100
    decoder_steps: int = 1800
    joint_steps: int = 1500
    batch: int = 4
    prompts: int = 24
    prompts_an_image: int = 3
    phantoms: float = 0.5
    encoder_rate: float = 1e-3
    decoder_rate: float = 6e-4
    joint_rate: float = 2e-4
    warm_up: int = 50
    weight_decay: float = 0.05
    temperature: float = 0.07
    contrast_weight: float = 0.3
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


def embed(sam: Sam, images: Tensor) -> Tensor:
    """Features float32 (B, C, h, w) of images (B, 3, S, S), 0 to 255, computed in bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16):
        return encode(sam.image_encoder, (images - sam.pixel_mean) / sam.pixel_std).float()


@dataclass(frozen=True)
class Pool:
    """Encoded images: ``features`` bfloat16 (N, C, h, w) and ``masks`` bool (N, K, S, S)."""

    features: Tensor
    masks: Tensor

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Features float32 (count, C, h, w) and one mask of each, bool (count, S, S)."""
        rows = torch.from_numpy(rng.integers(len(self.features), size=count))
        return self.features[rows].float(), torch.stack([draw_mask(rng, self.masks[row]) for row in rows])


def fill_pool(sam: Sam, pairs: Iterator[VisitPairs], count: int) -> Pool:
    """``count`` batches, encoded."""
    features, masks = [], []
    with torch.no_grad():
        for _ in range(count):
            batch = next(pairs)
            features.append(embed(sam, batch.images.flatten(0, 1)).bfloat16())
            masks.append(batch.masks.flatten(0, 1))
    return Pool(torch.cat(features), torch.cat(masks))


class Training:
    """The three stages over one model, with a file beside the output that keeps what was done.

    Args:
        sam: is trained in place.
        recipe: how.
        output: the finished model; ``output`` with the suffix ``.training.pt`` holds an unfinished one.
        device: where the images are made and the model is trained.
        workers: processes that make images, on the CPU.
        keep_minutes: how often the unfinished model is saved.
    """

    STAGES = ("encoder", "decoder", "joint")

    def __init__(
        self, sam: Sam, recipe: Recipe, output: Path, device: str, workers: int = 0, keep_minutes: float = 5.0
    ) -> None:
        self.sam, self.recipe, self.output, self.device, self.workers = sam, recipe, output, device, workers
        self.keep_seconds = 60 * keep_minutes
        self.unfinished = output.with_suffix(".training.pt")
        self.losses: dict[str, list[float]] = {}

    def run(self, minutes: float | None = None) -> bool:
        """Train, at most for that long; True if the model is finished and was written to ``output``."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
        self._kept = time.monotonic()
        resumed = self._resume()
        for stage in self.STAGES:
            if stage in self.losses:
                continue
            optimiser = self._optimiser(stage)
            if resumed is not None and resumed["stage"] == stage:
                optimiser.load_state_dict(resumed["optimiser"])
            if not self._train(stage, optimiser):
                return False
            self.losses[stage] = optimiser.history
            self._keep(stage, optimiser)
        save_checkpoint(self.output, self.sam, SMALL, metadata=self._card())
        self.unfinished.unlink(missing_ok=True)
        return True

    def _train(self, stage: str, optimiser: Optimiser) -> bool:
        """The steps of one stage that are left; False if time ran out."""
        if optimiser.done == optimiser.steps:
            return True
        losses = {"encoder": self._encoder_losses, "decoder": self._decoder_losses, "joint": self._joint_losses}[stage]
        for loss in losses(optimiser.done):
            optimiser.step(loss)
            if optimiser.done == optimiser.steps:
                return True
            now = time.monotonic()
            if now > self._end or now - self._kept > self.keep_seconds:
                self._keep(stage, optimiser)
                self._kept = now
            if now > self._end:
                return False
        raise AssertionError("the losses have no end")

    def _encoder_losses(self, done: int) -> Iterator[Tensor]:
        for batch in self._pairs(0, done):
            yield visit_contrast(self._embed_pairs(batch), batch.masks, self.recipe.temperature)

    def _decoder_losses(self, done: int) -> Iterator[Tensor]:
        rng = np.random.default_rng([self.recipe.seed, 1, done])
        pool = fill_pool(self.sam, self._pairs(1, 0), self.recipe.pool)
        while True:
            yield prompt_loss(rng, self.sam, *pool.draw(rng, self.recipe.prompts))

    def _joint_losses(self, done: int) -> Iterator[Tensor]:
        rng = np.random.default_rng([self.recipe.seed, 2, done])
        for batch in self._pairs(2, done):
            features = self._embed_pairs(batch)
            images, masks = features.flatten(0, 1), batch.masks.flatten(0, 1)
            rows = torch.arange(len(images), device=images.device).repeat_interleave(self.recipe.prompts_an_image)
            chosen = torch.stack([draw_mask(rng, masks[row]) for row in rows])
            contrast = visit_contrast(features, batch.masks, self.recipe.temperature)
            yield prompt_loss(rng, self.sam, images[rows], chosen) + self.recipe.contrast_weight * contrast

    def _embed_pairs(self, batch: VisitPairs) -> Tensor:
        return embed(self.sam, batch.images.flatten(0, 1)).unflatten(0, batch.images.shape[:2])

    def _optimiser(self, stage: str) -> Optimiser:
        sam, recipe = self.sam, self.recipe
        encoder = list(sam.image_encoder.parameters())
        decoder = [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()]
        sam.image_encoder.requires_grad_(stage != "decoder")
        chosen, steps, rate = {
            "encoder": (encoder, recipe.encoder_steps, recipe.encoder_rate),
            "decoder": (decoder, recipe.decoder_steps, recipe.decoder_rate),
            "joint": (encoder + decoder, recipe.joint_steps, recipe.joint_rate),
        }[stage]
        return Optimiser(stage, chosen, steps, rate, recipe.warm_up, recipe.weight_decay)

    def _pairs(self, stage: int, done: int) -> Iterator[VisitPairs]:
        """Pairs made in worker processes for the CPU, and on the GPU itself otherwise."""
        recipe = self.recipe
        seed = int(np.random.SeedSequence([recipe.seed, stage, done]).generate_state(1)[0])
        on_gpu = torch.device(self.device).type == "cuda"
        data = TrainingPairs(recipe.batch, SMALL.image_size, seed, recipe.phantoms, self.device if on_gpu else "cpu")
        source = (
            DataLoader(data, batch_size=None, num_workers=self.workers, prefetch_factor=4)
            if self.workers and not on_gpu
            else data
        )
        for batch in source:
            yield batch.to(self.device)

    def _keep(self, stage: str, optimiser: Optimiser) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "sam": self.sam.state_dict(),
            "losses": self.losses,
            "stage": stage,
            "optimiser": optimiser.state_dict(),
        }
        with replacing(self.unfinished) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> dict | None:
        if not self.unfinished.is_file():
            return None
        try:
            state: Any = load_pickled(self.unfinished)
        except Exception as error:  # whatever a damaged pickle raises
            raise InputError(f"{self.unfinished} is damaged; delete it to begin again.") from error
        now = asdict(self.recipe)
        changed = [name for name in now if state["recipe"].get(name) != now[name]]
        if changed:
            told = ", ".join(f"{name} {state['recipe'].get(name)} → {now[name]}" for name in changed)
            raise InputError(
                f"{self.unfinished} was begun with other settings ({told}); give the same ones, or delete it."
            )
        self.sam.load_state_dict(state["sam"])
        self.losses = dict(state["losses"])
        return state

    def _card(self) -> dict[str, object]:
        figures = {f"{name}_loss": round(float(np.mean(x[-200:])), 4) for name, x in self.losses.items() if x}
        return {"recipe": asdict(self.recipe), "data": "synthetic: phantoms and random shapes", **figures}


def prepared(
    recipe: Recipe, output: str | Path, start: str | Path | None = None, device: str = "auto", workers: int = 1
) -> Training:
    """A training of a new model, or of one that was given (``start``), as recipes and the command want it."""
    torch.manual_seed(recipe.seed)
    sam = new_sam() if start is None else load_sam(start, "cpu").sam
    chosen = choose_device(device)
    return Training(sam.to(chosen).train(), recipe, Path(output), str(chosen), workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the model, .safetensors")
    parser.add_argument("--start", type=Path, help="a model of the same shape to start from")
    for option in fields(Recipe):
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=type(option.default), default=option.default)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that make images, on the CPU")
    parser.add_argument("--minutes", type=float, help="stop after that long; the same command goes on later")
    args = parser.parse_args()
    recipe = Recipe(**{option.name: getattr(args, option.name) for option in fields(Recipe)})
    training = prepared(recipe, args.output, args.start, args.device, args.workers)
    finished = training.run(args.minutes)
    print(json.dumps({"finished": finished, "file": str(args.output if finished else training.unfinished)}))


if __name__ == "__main__":
    main()
