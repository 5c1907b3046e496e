"""What a step of the bundled model's training costs a GPU, counted on a CPU: arithmetic, memory traffic, launches.

    python Testing/tools/experiments/pretrain_count.py --recipe gpu

One joint step runs with few pairs and every operation that PyTorch is asked for is noted: the bytes that it reads and
writes (each operand once, as a GPU moves them that fuses nothing), the floating-point operations, and that it is one
launch. Bytes and operations grow with the batch, launches do not. The time is told from the rates of an H100: 3.0 TB/s
(a copy), 400 TFLOP/s (half of what large bfloat16 products reach), 7 microseconds a launch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from adaptsam.pretrain.contrastive_loss import visit_contrast
from adaptsam.pretrain.phantom_slices import draw_pairs
from adaptsam.pretrain.pretraining_recipe import RECIPES
from adaptsam.pretrain.prompt_targets import draw_targets
from adaptsam.pretrain.prompted_loss import Rounds, prompt_loss
from adaptsam.pretrain.sam_pretraining import Training, embed, new_sam
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.random_scenes import draw_scenes

BYTES_A_SECOND, FLOP_A_SECOND, SECONDS_A_LAUNCH = 3.0e12, 4.0e14, 7e-6
PAIRS = 2


class _Traffic(TorchDispatchMode):
    """Bytes of all operands and results, and how many operations there were; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            moved = [x for x in tree_flatten((args, kwargs, out))[0] if isinstance(x, Tensor)]
            # A tensor that repeats itself (an expanded one) is read once.
            self.bytes += sum(min(x.numel() * x.element_size(), x.untyped_storage().nbytes()) for x in moved)
            self.launches += 1
        return out


@contextmanager
def counted(name: str, figures: dict[str, dict[str, float]]) -> Iterator[None]:
    with FlopCounterMode(display=False) as flop, _Traffic() as traffic:
        yield
    figures[name] = {"GFLOP": flop.get_total_flops() / 1e9, "GB": traffic.bytes / 1e9, "launches": traffic.launches}


def counts(recipe_name: str) -> dict[str, Any]:
    recipe = replace(RECIPES[recipe_name], batch=PAIRS)
    training = Training(new_sam().train(), recipe, Path("nothing.safetensors"))
    optimiser = training._optimiser("joint")
    rng = generator("cpu", 1)
    figures: dict[str, dict[str, float]] = {}
    with counted("scenes", figures):
        batch = draw_scenes(rng, PAIRS, 256)
    with counted("encoder, forward", figures), autocast():
        features = embed(training.sam, batch.images.flatten(0, 1)).unflatten(0, (PAIRS, 2))
    with counted("targets", figures):
        targets = draw_targets(rng, batch.masks.flatten(0, 1), recipe.prompts_an_image, 128)
    with counted("prompts, decoder, losses, forward", figures), autocast():
        each = features.flatten(0, 1).repeat_interleave(recipe.prompts_an_image, 0)
        loss = prompt_loss(rng, training.sam, each, *targets, Rounds(recipe.rounds, recipe.boxes), False)
    with counted("contrast, forward", figures):
        loss = loss + recipe.contrast_weight * visit_contrast(features, batch.masks)
    with counted("backward, optimiser", figures):
        optimiser.step(loss)
    scenes = 1 - RECIPES[recipe_name].phantoms
    images = 2 * PAIRS
    for name, row in figures.items():
        share = scenes if name == "scenes" else 1.0
        row |= {key: share * row[key] / images for key in ("GFLOP", "GB")}
    return told(figures, 2 * RECIPES[recipe_name].batch) | phantoms(recipe_name)


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def told(figures: dict[str, dict[str, float]], images: int) -> dict[str, Any]:
    """Figures an image and, for a batch of ``images``, seconds."""
    total = {key: sum(row[key] for row in figures.values()) for key in ("GFLOP", "GB", "launches")}
    seconds = {
        "moving bytes": total["GB"] * 1e9 * images / BYTES_A_SECOND,
        "arithmetic": total["GFLOP"] * 1e9 * images / FLOP_A_SECOND,
        "launching, beside both": total["launches"] * SECONDS_A_LAUNCH,
    }
    rounded = {name: {key: round(value, 3) for key, value in row.items()} for name, row in figures.items()}
    return {
        "an image": rounded,
        "a step [s]": {name: round(value, 4) for name, value in seconds.items()} | {"images": images},
    }


def phantoms(recipe_name: str, pairs: int = 8) -> dict[str, Any]:
    """CPU seconds that a pair of phantom slices takes a worker, and how many pairs a step wants."""
    rng = np.random.default_rng(0)
    start = time.process_time()
    draw_pairs(rng, pairs, 256)
    recipe = RECIPES[recipe_name]
    return {
        "a phantom pair [CPU s]": round((time.process_time() - start) / pairs, 4),
        "phantom pairs a step": recipe.phantoms * recipe.batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="gpu")
    print(json.dumps(counts(parser.parse_args().recipe), indent=2))


if __name__ == "__main__":
    main()
