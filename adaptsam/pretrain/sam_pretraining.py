"""Training the bundled model on synthetic images alone: ``python -m adaptsam.pretrain.sam_pretraining --output FILE``.

Three stages, because a decoder that starts from nothing learns slowly and an encoder is expensive:

1. The encoder alone: a structure's patches at one visit must find it at the other (:mod:`.contrast`).
2. The encoder is frozen, a pool of pairs is encoded once, and prompt encoder and mask decoder learn from prompts.
3. All together, at a lower rate.

A training that was stopped goes on where it was when the same command is given again; on another machine, if the files
beside the output are brought along. ``--start`` takes up a finished model instead of a new one; with 0 steps for the
first two stages it is only refined. ``--recipe gpu`` has the numbers for a GPU; every other option changes one of them.

What is written is a moving average of the weights: at the end of the cosine it is hardly better than the last weights,
but a training may be cut off before, and then it is (Polyak and Juditsky, 1992).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adaptsam.errors import InputError
from adaptsam.pretrain.contrastive_loss import visit_contrast
from adaptsam.pretrain.optimiser import Optimiser
from adaptsam.pretrain.pair_mixture import TrainingPairs
from adaptsam.pretrain.pretraining_recipe import RECIPES, Recipe
from adaptsam.pretrain.prompt_targets import draw_targets
from adaptsam.pretrain.prompted_loss import Rounds, prompt_loss
from adaptsam.pretrain.split_checkpoint import forget_state, keep_state, kept_state, narrowed
from adaptsam.sam import SMALL, build_sam, choose_device, encode, load_sam, save_checkpoint
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.visit_pairs import VisitPairs

_AVERAGED_EVERY = 10
_MULTIMASK_SHARE = 0.2
_LOW = 4 * SMALL.grid_size


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

    def draw(self, rng: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features float32 (count, C, h, w), a target of each, bool (count, S, S), and whether it has one."""
        rows = torch.randint(len(self.features), (count,), generator=rng, device=self.features.device)
        return self.features[rows].float(), *draw_targets(rng, self.masks[rows], 1, _LOW)


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
    """The three stages over one model, with files beside the output that keep what was done.

    Args:
        sam: is trained in place, on the device where it is; that is also where images are made.
        recipe: how.
        output: the finished model; ``output`` with the suffix ``.training`` keeps an unfinished one.
        workers: processes that make phantoms.
        keep_minutes: how often the unfinished model is saved.
    """

    STAGES = ("encoder", "decoder", "joint")

    def __init__(self, sam: Sam, recipe: Recipe, output: Path, workers: int = 0, keep_minutes: float = 5.0) -> None:
        self.sam, self.recipe, self.output, self.workers = sam, recipe, output, workers
        self.device = sam.device
        self.keep_seconds = 60 * keep_minutes
        self.unfinished = output.with_suffix(".training")
        self.losses: dict[str, list[float]] = {}
        self.average = AveragedModel(sam, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))

    def run(self, minutes: float | None = None) -> bool:
        """Train, at most for that long; True if the model is finished and was written to ``output``.

        Raises:
            InputError: the time is none.
        """
        if minutes is not None and (not isinstance(minutes, int | float) or minutes < 0):
            raise InputError(f"A training lasts for so many minutes, at least 0, not {minutes!r}.")
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
        self.write()
        forget_state(self.unfinished)
        return True

    def write(self) -> None:
        """The averaged model as it is, to ``output``."""
        if not self.average.n_averaged:
            self.average.update_parameters(self.sam)
        save_checkpoint(self.output, self.average.module, SMALL, metadata=self._card())

    def write_unfinished(self) -> None:
        """The averaged model of a stopped training, which can still go on.

        Raises:
            InputError: there is no such training, or it was begun with other settings.
        """
        if self._resume() is None:
            raise InputError(f"There is no unfinished training at {self.unfinished}; begin one, or check the path.")
        self.write()

    def _train(self, stage: str, optimiser: Optimiser) -> bool:
        """The steps of one stage that are left; False if time ran out."""
        if optimiser.finished:
            return True
        losses = {"encoder": self._encoder_losses, "decoder": self._decoder_losses, "joint": self._joint_losses}[stage]
        for loss in losses(optimiser.done):
            optimiser.step(loss)
            if optimiser.done % _AVERAGED_EVERY == 0:
                self.average.update_parameters(self.sam)
            if optimiser.finished:
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
        pool = fill_pool(self.sam, self._pairs(1, 0), self.recipe.pool)
        for step in count(done):
            rng = generator(self.device, self.recipe.seed, 1, step)
            yield self._prompt_loss(rng, 1, step, *pool.draw(rng, self.recipe.prompts))

    def _joint_losses(self, done: int) -> Iterator[Tensor]:
        recipe = self.recipe
        for step, batch in enumerate(self._pairs(2, done), start=done):
            rng = generator(self.device, recipe.seed, 2, step)
            features = self._embed_pairs(batch)
            targets = draw_targets(rng, batch.masks.flatten(0, 1), recipe.prompts_an_image, _LOW)
            each = features.flatten(0, 1).repeat_interleave(recipe.prompts_an_image, 0)
            prompted = self._prompt_loss(rng, 2, step, each, *targets)
            yield prompted + recipe.contrast_weight * visit_contrast(features, batch.masks, recipe.temperature)

    def _prompt_loss(
        self, rng: torch.Generator, stage: int, step: int, features: Tensor, masks: Tensor, there: Tensor
    ) -> Tensor:
        multimask = bool(np.random.default_rng([self.recipe.seed, stage, step]).random() < _MULTIMASK_SHARE)
        how = Rounds(self.recipe.rounds, self.recipe.boxes)
        return prompt_loss(rng, self.sam, features, masks, there, how, multimask)

    def _embed_pairs(self, batch: VisitPairs) -> Tensor:
        return embed(self.sam, batch.images.flatten(0, 1)).unflatten(0, batch.images.shape[:2])

    def _optimiser(self, stage: str) -> Optimiser:
        sam, recipe = self.sam, self.recipe
        encoder = list(sam.image_encoder.parameters())
        decoder = [*sam.prompt_encoder.parameters(), *sam.mask_decoder.parameters()]
        sam.image_encoder.requires_grad_(stage != "decoder")
        chosen, steps, minutes, rate = {
            "encoder": (encoder, recipe.encoder_steps, recipe.encoder_minutes, recipe.encoder_rate),
            "decoder": (decoder, recipe.decoder_steps, recipe.decoder_minutes, recipe.decoder_rate),
            "joint": (encoder + decoder, recipe.joint_steps, recipe.joint_minutes, recipe.joint_rate),
        }[stage]
        return Optimiser(stage, chosen, steps, rate, recipe.warm_up, recipe.weight_decay, 60 * minutes)

    def _pairs(self, stage: int, first: int) -> Iterator[VisitPairs]:
        recipe = self.recipe
        seed = (recipe.seed, stage)
        pairs = TrainingPairs(
            recipe.batch, SMALL.image_size, seed, recipe.phantoms, str(self.device), workers=self.workers
        )
        return pairs.starting(first)

    def _keep(self, stage: str, optimiser: Optimiser) -> None:
        """Keep moments and average in half the bytes on a GPU, whose sums come out differently every time."""
        done, average = optimiser.state_dict(), self.average.state_dict()
        if self.device.type == "cuda":
            done["adam"], average = narrowed(done["adam"], torch.bfloat16), narrowed(average, torch.float16)
        state = {
            "recipe": asdict(self.recipe),
            "sam": self.sam.state_dict(),
            "average": average,
            "losses": self.losses,
            "stage": stage,
            "optimiser": done,
        }
        keep_state(self.unfinished, state)

    def _resume(self) -> dict | None:
        state = kept_state(self.unfinished)
        if state is None:
            return None
        now = asdict(self.recipe)
        changed = [name for name in now if state["recipe"].get(name) != now[name]]
        if changed:
            told = ", ".join(f"{name} {state['recipe'].get(name)} → {now[name]}" for name in changed)
            raise InputError(
                f"{self.unfinished} was begun with other settings ({told}); give the same ones, or delete it."
            )
        self.sam.load_state_dict(state["sam"])
        self.average.load_state_dict(state["average"])
        self.losses = dict(state["losses"])
        return state

    def _card(self) -> dict[str, object]:
        figures = {f"{name}_loss": round(float(np.mean(x[-200:])), 4) for name, x in self.losses.items() if x}
        steps = {f"{name}_steps_done": len(x) for name, x in self.losses.items()}
        return {"recipe": asdict(self.recipe), "data": "synthetic: phantoms and random shapes", **steps, **figures}


def prepared(
    recipe: Recipe, output: str | Path, start: str | Path | None = None, device: str = "auto", workers: int = 1
) -> Training:
    """A training of a new model, or of one that was given (``start``), as recipes and the command want it."""
    torch.manual_seed(recipe.seed)
    sam = new_sam() if start is None else load_sam(start, "cpu").sam
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    return Training(sam.to(chosen).train(), recipe, Path(output), workers)


def main() -> None:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--recipe", choices=tuple(RECIPES), default="cpu", help="the numbers that options change")
    base = RECIPES[first.parse_known_args()[0].recipe]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[first]
    )
    parser.add_argument("--output", type=Path, required=True, help="the model, .safetensors")
    parser.add_argument("--start", type=Path, help="a model of the same shape to start from")
    for option in fields(Recipe):
        value = getattr(base, option.name)
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes that make phantoms")
    parser.add_argument("--minutes", type=float, help="stop after that long; the same command goes on later")
    parser.add_argument("--as-it-is", action="store_true", help="write the model that a stopped training has, and stop")
    args = parser.parse_args()
    recipe = Recipe(**{option.name: getattr(args, option.name) for option in fields(Recipe)})
    training = prepared(recipe, args.output, args.start, args.device, args.workers)
    if args.as_it_is:
        training.write_unfinished()
        return
    finished = training.run(args.minutes)
    print(json.dumps({"finished": finished, "file": str(args.output if finished else training.unfinished)}))


if __name__ == "__main__":
    main()
