"""What an agent's training gives over several seeds: first pair, last step, labels and which images are accepted.

    python Testing/tools/experiments/alignsam_seeds.py --task heart --seeds 3 --data ../shared/data --output heart.json
    python Testing/tools/experiments/alignsam_seeds.py --task "left lung" --whole --absence --output lung.json

The means are taken on phantoms that nobody learnt from, on slices of real chests, and on slices of a thigh, where the
target is not. The schedule is a small one, so that three seeds take minutes on a processor. Embeddings are kept in
--cache, so that a second run, of other settings or another version of the code, encodes nothing again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from alignsam_learning import FIRST_ABSENT, FIRST_UNSEEN, FIRST_WITHOUT, TASKS, absent, images, shown_of
from real_cases import spread, unpacked

from adaptsam.alignsam import (
    AlignSamSettings,
    EnvironmentSettings,
    Shown,
    TrainingImage,
    TrainingSettings,
    prompt,
    score,
    train,
)
from adaptsam.autoprompting.agent_slices import AgentSlices
from adaptsam.autoprompting.agent_training import judge
from adaptsam.image.volume import Volume
from adaptsam.io import read_structures, read_volume
from adaptsam.sam import EmbeddingStore, load_sam

#: Real chests that hold the task's structure: case, image, contours, structure.
CHESTS = {
    "left lung": [("ct-lung1-001", "images", "labels/rtstruct.dcm", "Lung-Left")],
    "right lung": [("ct-lung1-001", "images", "labels/rtstruct.dcm", "Lung-Right")],
    "heart": [("ct-lung1-003", "LUNG1-003.zip", "LUNG1-003.zip", "Heart")],
}
THIGH = "ctmr-sts-001/images/CT"


def slices_of(volume: Volume, shown: Shown, size: int, rows: list[int]) -> list[np.ndarray]:
    slices = AgentSlices(volume, shown, size)
    return [slices.image(int(k)) for k in rows]


def real_slices(
    root: Path, task: str, size: int, count: int
) -> dict[str, tuple[list[TrainingImage], list[np.ndarray]]]:
    """Slices with and without the target, evenly spread, of every real scan of the task."""
    found = {}
    for case, image, contours, name in CHESTS[task]:
        with unpacked(root / case / image) as folder:
            volume = read_volume(folder)
            file = folder if contours == image else root / case / contours
            [mask] = [one.mask for one in read_structures(file, volume).structures if one.name == name]
        slices = AgentSlices(volume, shown_of(task), size)
        there = slices.images.orientation.apply(mask).any(axis=(1, 2))
        with_it, without = (spread(np.flatnonzero(flag), count) for flag in (there, ~there))
        shown = [TrainingImage(slices.image(int(k)), slices.mask(mask, int(k))) for k in with_it]
        found[case] = (shown, [slices.image(int(k)) for k in without])
    if (root / THIGH).exists():
        volume = read_volume(root / THIGH)
        depth = AgentSlices(volume, shown_of(task), size).images.geometry.shape[0]
        found["ctmr-sts-001, CT"] = ([], slices_of(volume, shown_of(task), size, spread(range(depth), count)))
    return found


def figures(store: EmbeddingStore, agent, least: float, shown: list[TrainingImage], without: list[np.ndarray]) -> dict:
    told: dict[str, float] = {}
    if shown:
        results = prompt(store, agent, [one.image for one in shown])
        scores = score(results, [one.mask for one in shown])
        told |= {"first pair": scores.iou[0], "last step": scores.iou[-1], "labels right": scores.label_accuracy}
        told["accepted with"] = float(np.mean([one.evidence.total >= least for one in results]))
    if without:
        empty = prompt(store, agent, without, keep_steps=False)
        told["accepted without"] = float(np.mean([one.evidence.total >= least for one in empty]))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TASKS), default="heart")
    parser.add_argument("--whole", action="store_true", help="the whole body in every image")
    parser.add_argument("--absence", action="store_true", help="learn from images without the target, too")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the game, as reward=overlap"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--unseen", type=int, default=20)
    parser.add_argument("--slices", type=int, default=8, help="of each kind of each real scan")
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--data", type=Path, help="real cases")
    parser.add_argument("--cache", type=Path, help="folder of embeddings")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    store = EmbeddingStore(load_sam(None, "cpu"), memory_bytes=2**30, folder=args.cache)
    learnt, unseen = (
        images(args.task, 0, args.images, args.whole),
        images(args.task, FIRST_UNSEEN, args.unseen, args.whole),
    )
    taught = absent(args, FIRST_ABSENT, args.images) if args.absence else []
    without = absent(args, FIRST_WITHOUT, args.unseen)
    real = real_slices(args.data, args.task, store.model.image_size, args.slices) if args.data else {}
    changes = dict(one.split("=", 1) for one in args.set)
    table: list[dict] = []
    for seed in range(args.seeds):
        game = EnvironmentSettings(patch=TASKS[args.task][2], **changes)
        plan = TrainingSettings(
            args.episodes, args.epochs, learning_rate=args.rate, learn_absence=args.absence, seed=seed
        )
        agent = train(store, learnt, AlignSamSettings(game, plan), without=taught).agent
        _, least = judge(store, agent, unseen[: args.unseen // 2], without[: args.unseen // 2])
        sets = {"phantoms": (unseen[args.unseen // 2 :], without[args.unseen // 2 :]), **real}
        row = {name: figures(store, agent, least, *pair) for name, pair in sets.items()}
        table.append({"seed": seed, "least evidence": least, **row})
        print(json.dumps(table[-1]), flush=True)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, "seeds": table}))
    for name in table[0]:
        if isinstance(table[0][name], dict):
            means = {k: round(float(np.mean([row[name][k] for row in table])), 3) for k in table[0][name]}
            print(name, means, flush=True)


if __name__ == "__main__":
    main()
