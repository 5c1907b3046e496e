"""Dice of a model on synthetic images that it was not trained on: phantoms structure by structure, and random shapes.

    python Testing/tools/experiments/synthetic_scores.py --checkpoint adaptsam_small.safetensors --pairs 24

Each structure of each image is asked for by one point inside, by three inside and three outside, by its box, and by its
box with SAM's noise. It needs what training needs and runs on a GPU. The seeds belong to this script alone.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from adaptsam.finetune.differentiable_decoding import decode_batch
from adaptsam.pretrain.batch_prompts import BatchPrompts, boxes_around, noisy_boxes, random_pixels
from adaptsam.pretrain.pair_mixture import TrainingPairs
from adaptsam.pretrain.prompt_targets import shrunk
from adaptsam.pretrain.sam_pretraining import embed
from adaptsam.sam import SamModel, load_sam
from adaptsam.synthetic.device_random import generator
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES

SEED = 930_401
PROMPTS = ("point", "points", "box", "noisy box")
_LOW, _FEWEST_PIXELS, _LARGEST_SHARE = 128, 20, 0.9


def prompted(rng: torch.Generator, masks: torch.Tensor, kind: str) -> BatchPrompts:
    """A prompt for each of masks bool (B, S, S)."""
    count = {"point": (1, 0), "points": (3, 3)}.get(kind, (0, 0))
    inside, outside = (random_pixels(rng, area, n)[0] for area, n in zip((masks, ~masks), count, strict=True))
    labels = torch.tensor([1] * count[0] + [0] * count[1], dtype=torch.int64, device=masks.device).expand(
        len(masks), -1
    )
    box = noisy_boxes(rng, masks)[0] if kind == "noisy box" else boxes_around(masks)[0]
    boxed = torch.full((len(masks),), "box" in kind, device=masks.device)
    return BatchPrompts(torch.cat([inside, outside], 1), labels, box, boxed)


@torch.no_grad()
def scores(model: SamModel, pairs: TrainingPairs, batches: int) -> dict[str, dict[str, list[float]]]:
    """Dice by structure's place among the masks and by prompt, of all that is large enough for the decoder."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, batch in zip(range(batches), pairs.starting(0), strict=False):
        rng = generator(model.device, SEED, number)
        masks = batch.masks.flatten(0, 1)
        features = embed(model.sam, batch.images.flatten(0, 1))
        area = shrunk(masks.flatten(0, 1), _LOW).sum((-2, -1)).view(masks.shape[:2])
        rows, kinds = ((area >= _FEWEST_PIXELS) & (area < _LARGEST_SHARE * _LOW**2)).nonzero().T
        for some in torch.arange(len(rows), device=rows.device).split(64):
            truth = masks[rows[some], kinds[some]]
            for prompt in PROMPTS:
                tokens = prompted(rng, truth, prompt).tokens()
                logits, _ = decode_batch(model.sam, features[rows[some]], *tokens, None, False)
                mask = functional.interpolate(logits, truth.shape[-2:], mode="bilinear")[:, 0] > 0
                dice = 2 * (mask & truth).sum((-2, -1)) / (mask.sum((-2, -1)) + truth.sum((-2, -1)))
                for kind, value in zip(kinds[some].tolist(), dice.tolist(), strict=True):
                    found[str(kind)][prompt].append(value)
    return found


def means(found: dict[str, list[float]]) -> dict[str, float]:
    return {prompt: round(float(np.mean(values)), 3) for prompt, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--pairs", type=int, default=24, help="of phantoms, and of scenes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="the lines, in a file too")
    args = parser.parse_args()
    model = load_sam(args.checkpoint, args.device)
    lines = []
    for name, share in (("phantoms", 1.0), ("shapes", 0.0)):
        pairs = TrainingPairs(4, model.image_size, (SEED,), share, str(model.device))
        found = scores(model, pairs, -(-args.pairs // 4))
        if name == "phantoms":
            rows = sorted(found.items(), key=lambda item: int(item[0]))
            lines += [{"structure": STRUCTURES[int(kind)]} | means(values) for kind, values in rows]
        together = {prompt: [x for values in found.values() for x in values[prompt]] for prompt in PROMPTS}
        lines.append({"all of": name, "masks": len(together["box"])} | means(together))
    text = "\n".join(json.dumps(line) for line in lines)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
