"""Learning curves of AlignSAM on synthetic patients: return and overlap on unseen ones, against random actions.

    python Testing/experiments/alignsam_learning.py --task heart --seeds 3 --output heart.jsonl --pictures pictures

50 training images, one a patient; as many unseen patients for the scores. The schedule is a reduced one: 6 episodes of
10 epochs at three times the paper's learning rate, in place of 50 of 20. One line of JSON an evaluation; seeds that are
complete in the file are not trained again. "random" draws the actions evenly and keeps the same recalibration module;
"paper" draws them from the policy, as often as they come; "agent" is the default, without repetitions; "repeated" takes
the likeliest again and again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adaptsam.alignsam import (
    PAPER_USE,
    Agent,
    EnvironmentSettings,
    Prompted,
    Settings,
    Trained,
    TrainingImage,
    TrainingSettings,
    UseSettings,
    prompt,
    score,
    train,
)
from adaptsam.finetune.phantom_slices import draw_target
from adaptsam.sam import EmbeddingStore, load_sam

TASKS = {
    "lungs": ("Lung-Left", "Lung-Right"),
    "heart": ("Heart",),
    "spine": ("Spine",),
    "tumour": ("GTV-1",),
}
USES = {
    "agent": UseSettings(),
    "paper": PAPER_USE,
    "repeated": UseSettings(mask_taken=False),
    "random": PAPER_USE,
}
FIRST_UNSEEN = 1_000_000


def images(task: str, first: int, count: int) -> list[TrainingImage]:
    """One slice of each of ``count`` patients."""
    return [TrainingImage(*draw_target(seed, TASKS[task])) for seed in range(first, first + count)]


def evaluate(
    store: EmbeddingStore, agent: Agent, unseen: list[TrainingImage], seed: int
) -> tuple[dict[str, object], dict[str, list[Prompted]]]:
    """The scores of every use on unseen images, and what was done."""
    figures: dict[str, object] = {}
    results: dict[str, list[Prompted]] = {}
    own = agent.settings
    for name, use in USES.items():
        agent.settings = replace(own, policy="random") if name == "random" else own
        results[name] = prompt(store, agent, [one.image for one in unseen], replace(use, seed=seed))
        figures[name] = asdict(score(results[name], [one.mask for one in unseen]))
    agent.settings = own
    return figures, results


def learn(args: argparse.Namespace, store: EmbeddingStore, seed: int) -> None:
    """One training, with an evaluation before it and after every episode that asks for one."""
    settings = Settings(
        environment=EnvironmentSettings(mask_taken=args.mask_taken),
        training=TrainingSettings(args.episodes, args.epochs, learning_rate=args.rate, seed=seed),
    )
    unseen = images(args.task, FIRST_UNSEEN, args.unseen)
    spent = [time.process_time(), 0.0]

    def after(number: int, trained: Trained) -> None:
        spent[1] += time.process_time() - spent[0]
        if number % args.every == 0 or number == args.episodes:
            figures, results = evaluate(store, trained.agent, unseen, seed)
            line = {
                "task": args.task,
                "seed": seed,
                "episode": number,
                "training_cpu_minutes": round(spent[1] / 60, 2),
                "train": asdict(trained.history[-1]) if trained.history else None,
                "unseen": figures,
            }
            with args.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if number == args.episodes and args.pictures:
                draw_prompts(args.pictures / f"{args.task}_{seed}.png", unseen, results["agent"])
        spent[0] = time.process_time()

    after(0, Trained(Agent(settings, store.model.embed_dim, seed), ()))
    train(store, images(args.task, 0, args.images), settings, after_episode=after)


def draw_prompts(path: Path, unseen: list[TrainingImage], results: list[Prompted], count: int = 5) -> None:
    """The first images with prompts so far and mask after 0, 1, 3, 7 and 15 steps; the truth is outlined."""
    steps = (0, 1, 3, 7, 15)
    figure = Figure(figsize=(2.3 * len(steps), 2.3 * count), facecolor="#0b0f13")
    for row, (one, result) in enumerate(zip(unseen[:count], results[:count], strict=True)):
        assert result.step_masks is not None
        for column, step in enumerate(steps):
            axes = figure.add_axes((column / len(steps), 1 - (row + 1) / count, 0.985 / len(steps), 0.985 / count))
            axes.set_axis_off()
            axes.imshow(one.image, cmap="gray")
            index = min(step, len(result.step_masks) - 1)
            mask = result.step_masks[index]
            axes.imshow(np.ma.masked_where(~mask, mask), cmap="autumn", alpha=0.35, vmin=0, vmax=1)
            axes.contour(one.mask, [0.5], colors="#5ab0ff", linewidths=0.8)
            shown = result.first + index
            x, y = result.points[:shown].T
            colours = np.where(result.labels[:shown] > 0, "#7cfc9a", "#ff5a5a")
            axes.scatter(x, y, s=14, c=colours, edgecolors="black", linewidths=0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))


def draw_curves(path: Path, lines: list[dict]) -> None:
    """Mean return and final overlap on unseen patients over the episodes; one thin line a seed, the mean thick."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = (
        ("mean return of 15", lambda one: one["mean_return"]),
        ("IoU after the last step", lambda one: one["iou"][-1]),
    )
    for number, (title, read) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, number, title=title, xlabel="episodes")
        for colour, use in zip(("#0f6e84", "#7a4fb5", "#d08020", "#8a96a3"), USES, strict=True):
            curves: dict[int, list[float]] = {}
            for seed in sorted({line["seed"] for line in lines}):
                own = [(line["episode"], read(line["unseen"][use])) for line in lines if line["seed"] == seed]
                axes.plot(*zip(*own, strict=True), color=colour, linewidth=0.6)
                for episode, value in own:
                    curves.setdefault(episode, []).append(value)
            axes.plot(list(curves), [np.mean(values) for values in curves.values()], color=colour, label=use)
        axes.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TASKS), default="heart")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--unseen", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--every", type=int, default=2, help="episodes between two evaluations")
    parser.add_argument("--mask-taken", action="store_true", help="train without repetitions, too")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for curves and prompts")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    store = EmbeddingStore(load_sam(args.checkpoint, "cpu"), memory_bytes=2**30)
    for seed in range(args.seeds):
        done = [json.loads(line) for line in args.output.read_text().splitlines()] if args.output.exists() else []
        if not any(line["seed"] == seed and line["episode"] == args.episodes for line in done):
            others = [line for line in done if line["seed"] != seed]
            args.output.write_text("".join(json.dumps(line) + "\n" for line in others))
            learn(args, store, seed)
    lines = [json.loads(line) for line in args.output.read_text().splitlines()]
    for line in lines:
        shown = {use: (round(one["mean_return"], 2), round(one["iou"][-1], 3)) for use, one in line["unseen"].items()}
        print(line["seed"], line["episode"], line["training_cpu_minutes"], shown)
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        draw_curves(args.pictures / f"{args.task}_curves.png", lines)


if __name__ == "__main__":
    main()
