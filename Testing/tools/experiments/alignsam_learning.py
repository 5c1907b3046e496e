"""Learning curves of AlignSAM on synthetic patients: return and overlap on unseen ones, against random actions.

    python Testing/tools/experiments/alignsam_learning.py --task "left lung" --seeds 3 \\
           --output left_lung --pictures pictures

50 training images, one a patient; 30 unseen patients for the scores. A third of the images shows a part magnified, and
with --whole none does, as when an agent is used on a scan. "polyp" learns from frames of synthetic endoscopies, one a
video, and what is beside the polyp is an image without it. The schedule is a reduced
one: 6 episodes of 10 epochs at three times the paper's learning rate, in place of 50 of 20. One line of JSON an
evaluation; seeds that are complete in the file are not trained again. "random" draws the actions evenly and keeps the
same recalibration module; "paper" draws them from the policy, as often as they come; "agent" is the default, without
repetitions. With --text the task takes the explicit branch, with the bundled CLIP. The agents are kept as packages,
whose least evidence tells images with the target from images without.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from adaptsam.alignsam import (
    PAPER_USE,
    Agent,
    AlignSamSettings,
    EnvironmentSettings,
    Package,
    Prompted,
    Shown,
    Target,
    Trained,
    TrainingImage,
    TrainingSettings,
    UseSettings,
    prompt,
    save_agent,
    score,
    train,
)
from adaptsam.alignsam.agent_scoring import overlap
from adaptsam.alignsam.clip import load_clip
from adaptsam.autoprompting.agent_thumbnail import agent_picture
from adaptsam.autoprompting.agent_training import judge
from adaptsam.autoprompting.prompt_drawing import draw_prompts
from adaptsam.autoprompting.text_maps import attention_of, clip_record
from adaptsam.pretrain.phantom_slices import draw_target, draw_without
from adaptsam.sam import EmbeddingStore, load_sam
from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings, endoscopy_frames

#: What of the phantom is the target, its package's target, a patch's side on the canvas, the least share of an image.
TASKS = {
    "left lung": (("Lung-Left",), Target("Lung-Left", ("44029006", "SCT", "Left lung")), 80, 0.004),
    "right lung": (("Lung-Right",), Target("Lung-Right", ("3341006", "SCT", "Right lung")), 80, 0.004),
    "lungs": (("Lung-Left", "Lung-Right"), Target("Lungs", ("39607008", "SCT", "Lung"), 2), 80, 0.004),
    "heart": (("Heart",), Target("Heart", ("80891009", "SCT", "Heart")), 80, 0.004),
    "spine": (("Spine",), Target("Spine", ("421060004", "SCT", "Vertebral column")), 40, 0.004),
    "tumour": (("GTV-1",), Target("GTV-1", ("126713003", "SCT", "Neoplasm of lung")), 40, 0.002),
    "polyp": ((), Target("Polyp", ("68496003", "SCT", "Polyp of colon")), 80, 0.004),
}
USES = {"agent": UseSettings(), "paper": PAPER_USE, "random": PAPER_USE}
#: Phantoms as `autoprompt` will show patients: the body in the papers' window, which most of them were drawn in.
SCANS, FRAMES = Shown(window="papers", view="body", modality="CT"), Shown(color=True)
FIRST_UNSEEN, FIRST_WITHOUT, FIRST_ABSENT = 1_000_000, 2_000_000, 3_000_000

Attention = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def shown_of(task: str) -> Shown:
    return FRAMES if task == "polyp" else SCANS


def images(task: str, first: int, count: int, whole: bool) -> list[TrainingImage]:
    """One slice of each of ``count`` patients."""
    structures, _, _, least = TASKS[task]
    seeds = range(first, first + count)
    if task == "polyp":
        return [TrainingImage(*polyp_frame(seed, least)) for seed in seeds]
    return [TrainingImage(*draw_target(seed, structures, least=least, whole=whole)) for seed in seeds]


def polyp_frame(seed: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """A frame (H, W, 3) of a video of its own, and the polyp, bool (H, W), on no less than a share of it."""
    settings = EndoscopySettings(radius=float(np.random.default_rng(seed).uniform(4, 12)))
    shown = [(frame, mask) for frame, mask in endoscopy_frames(seed, 12, settings) if mask.mean() >= least]
    return shown[seed % len(shown)] if shown else polyp_frame(seed + 500_000, least)


def beside_polyp(seed: int, least: float) -> np.ndarray:
    """The largest corner of such a frame that does not show the polyp, at the frame's size."""
    frame, mask = polyp_frame(seed, least)
    size = len(frame)
    for side in range(size - 1, 0, -1):
        for rows in (slice(0, side), slice(size - side, size)):
            for columns in (slice(0, side), slice(size - side, size)):
                if not mask[rows, columns].any():
                    return np.asarray(Image.fromarray(frame[rows, columns]).resize((size, size)))
    raise ValueError(f"The polyp of video {seed} fills its frame.")


def absent(args: argparse.Namespace, first: int, count: int) -> list[np.ndarray]:
    """One slice of each of so many patients, without the target."""
    structures, _, _, least = TASKS[args.task]
    seeds = range(first, first + count)
    if args.task == "polyp":
        return [beside_polyp(seed, least) for seed in seeds]
    # Every whole slice shows the spine.
    return [draw_without(seed, structures, args.whole and args.task != "spine") for seed in seeds]


def evaluate(
    store: EmbeddingStore, agent: Agent, unseen: list[TrainingImage], seed: int, attention: Attention | None
) -> tuple[dict[str, object], dict[str, list[Prompted]]]:
    """The scores of every use on unseen images, and what was done."""
    figures: dict[str, object] = {}
    results: dict[str, list[Prompted]] = {}
    own, each = agent.settings, {}
    for name, use in USES.items():
        agent.settings = replace(own, policy="random") if name == "random" else own
        results[name] = prompt(
            store, agent, [one.image for one in unseen], replace(use, seed=seed), attention=attention
        )
        figures[name] = asdict(score(results[name], [one.mask for one in unseen]))
        each[name] = [overlap(result.mask, one.mask) for result, one in zip(results[name], unseen, strict=True)]
    agent.settings = own
    gain = np.subtract(each["agent"], each["random"])
    figures["gain"] = {"mean": float(gain.mean()), "se": float(gain.std(ddof=1) / len(gain) ** 0.5)}
    return figures, results


def learn(args: argparse.Namespace, store: EmbeddingStore, seed: int) -> None:
    """One training, with an evaluation before it and after every episode that asks for one."""
    _, target, patch, _ = TASKS[args.task]
    settings = AlignSamSettings(
        environment=EnvironmentSettings(patch=args.patch or patch, mask_taken=args.mask_taken),
        training=TrainingSettings(
            args.episodes, args.epochs, learning_rate=args.rate, learn_absence=args.absence, seed=seed
        ),
        branch="explicit" if args.text else "implicit",
    )
    clip = load_clip("phantom_clip", device="cpu") if args.text else None
    attention = attention_of(clip, shown_of(args.task), args.text) if clip is not None else None
    unseen = images(args.task, FIRST_UNSEEN, args.unseen, args.whole)
    spent = [time.process_time(), 0.0]

    def after(number: int, trained: Trained) -> None:
        spent[1] += time.process_time() - spent[0]
        if number % args.every == 0 or number == args.episodes:
            figures, results = evaluate(store, trained.agent, unseen, seed, attention)
            line = {
                "task": args.task,
                "branch": settings.branch,
                "seed": seed,
                "episode": number,
                "training_cpu_minutes": round(spent[1] / 60, 2),
                "train": asdict(trained.history[-1]) if trained.history else None,
                "unseen": figures,
            }
            with args.lines.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if number == args.episodes and args.pictures:
                five = unseen[:5]
                args.pictures.mkdir(parents=True, exist_ok=True)
                png = draw_prompts([x.image for x in five], [x.mask for x in five], results["agent"][:5])
                (args.pictures / f"{args.output.name}_{seed}.png").write_bytes(png)
        spent[0] = time.process_time()

    after(0, Trained(Agent(settings, store.model.embed_dim, seed), ()))
    learnt = images(args.task, 0, args.images, args.whole)
    empty = absent(args, FIRST_ABSENT, args.images) if args.absence else []
    trained = train(store, learnt, settings, attention=attention, without=empty, after_episode=after)
    scores, least = judge(store, trained.agent, unseen, absent(args, FIRST_WITHOUT, args.unseen), attention)
    record = {
        "data": "domain-randomised phantoms, seeds 0 to 49; scored on seeds from 1000000",
        "images": args.images,
        "history": [asdict(episode) for episode in trained.history],
    }
    model = store.model
    named = clip_record(clip) if clip is not None else ""
    text = args.text or ""
    picture = agent_picture([one.image for one in learnt], [one.mask for one in learnt])
    package = Package(
        trained.agent,
        target,
        model.kind,
        model.sha256,
        shown_of(args.task),
        text,
        named,
        least,
        record,
        scores,
        picture,
    )
    save_agent(args.output.with_name(f"{args.output.name}_{seed}.agent.safetensors"), package)


def draw_curves(path: Path, lines: list[dict]) -> None:
    """Mean return and final overlap on unseen patients over the episodes; one thin line a seed, the mean thick."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = (
        ("mean return of 15", lambda one: one["mean_return"]),
        ("IoU after the last step", lambda one: one["iou"][-1]),
    )
    for number, (title, read) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, number, title=title, xlabel="episodes")
        for colour, use in zip(("#0f6e84", "#7a4fb5", "#8a96a3"), USES, strict=True):
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
    parser.add_argument("--text", help="what CLIP is asked for: the explicit branch")
    parser.add_argument("--whole", action="store_true", help="the whole body in every image")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--unseen", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--patch", type=int, help="side of a patch on the canvas of 800; default: by task")
    parser.add_argument("--every", type=int, default=2, help="episodes between two evaluations")
    parser.add_argument("--mask-taken", action="store_true", help="train without repetitions, too")
    parser.add_argument("--absence", action="store_true", help="learn from as many images without the target, too")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for curves and prompts")
    parser.add_argument(
        "--output", type=Path, required=True, help="FILE.jsonl and FILE_SEED.agent.safetensors are made"
    )
    args = parser.parse_args()
    args.lines = args.output.with_name(f"{args.output.name}.jsonl")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    store = EmbeddingStore(load_sam(args.checkpoint, "cpu"), memory_bytes=2**30)
    for seed in range(args.seeds):
        done = read_lines(args.lines)
        if not any(line["seed"] == seed and line["episode"] == args.episodes for line in done):
            others = [line for line in done if line["seed"] != seed]
            args.lines.write_text("".join(json.dumps(line) + "\n" for line in others))
            learn(args, store, seed)
    lines = read_lines(args.lines)
    for line in lines:
        shown = {
            use: (round(line["unseen"][use]["mean_return"], 2), round(line["unseen"][use]["iou"][-1], 3))
            for use in USES
        }
        gain = line["unseen"]["gain"]
        print(
            line["seed"], line["episode"], line["training_cpu_minutes"], shown, f"{gain['mean']:.3f} ± {gain['se']:.3f}"
        )
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        draw_curves(args.pictures / f"{args.output.name}_curves.png", lines)


def read_lines(path: Path) -> list[dict]:
    """The evaluations so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
