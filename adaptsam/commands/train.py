"""``adaptsam train``: an agent of AlignSAM on images with masks of one target, or a SAM by a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptsam.commands import train_recipe
from adaptsam.commands.console import (
    ProgressBars,
    add_model_options,
    add_talk_options,
    load_model,
    print_json,
    print_table,
)
from adaptsam.errors import Cancelled, InputError, OutputError

if TYPE_CHECKING:
    from adaptsam.alignsam import Agent, Package, Settings, TrainingImage
    from adaptsam.data.datasets import Sample
    from adaptsam.sam import EmbeddingStore, SamModel

DESCRIPTION = """\
Train an agent that finds one target, from images and masks of it: AlignSAM, with SAM left as it is.

  adaptsam train alignsam --data polyps --target polyp --output polyp.agent.safetensors

`polyps` holds the folders images and masks (PNG, JPEG, NIfTI or NRRD, alike by name), or is a collection that
'adaptsam data --help' knows. Then:

  adaptsam autoprompt --agent polyp.agent.safetensors --target … --output result

  shorter, with the target's standard code, curves for TensorBoard:
  adaptsam train alignsam --data hearts --target Heart --code 80891009,SCT,Heart --modality CT --episodes 10 \\
                          --log curves --output heart.agent.safetensors

After every episode the state is kept beside the output (….training); the same command goes on from there. Some patients
(or pictures) are held back: on them the agent is scored, and from them it learns which evidence is usual.
"""
#: The agent's least evidence: this part of what a tenth of the images with the target do not reach.
USUAL_QUANTILE, USUAL_SHARE = 0.1, 0.8
HELD_BACK = 0.2


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="train an agent, or fine-tune a SAM")
    methods = parser.add_subparsers(title="methods", metavar="METHOD", required=True)
    align = methods.add_parser(
        "alignsam",
        help="an agent that learns where to click",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    align.add_argument("--data", required=True, type=Path, metavar="DIR", help="images and masks")
    align.add_argument("--target", required=True, metavar="NAME", help="what the masks show")
    align.add_argument("--code", metavar="VALUE,SCHEME,MEANING", help="its standard code, as 80891009,SCT,Heart")
    align.add_argument("--components", type=int, default=1, metavar="N", help="its parts, as 2 for lungs; default: 1")
    align.add_argument("--modality", default="", metavar="KIND", help="of the images, as CT; default: any")
    align.add_argument("--episodes", type=int, default=50, metavar="N", help="default: 50, as the paper")
    align.add_argument("--steps", type=int, default=15, metavar="T", help="points an image; default: 15, as the paper")
    align.add_argument("--seed", type=int, default=0, metavar="N")
    align.add_argument("--log", type=Path, metavar="DIR", help="curves for TensorBoard")
    align.add_argument("--output", required=True, type=Path, metavar="FILE", help="the agent: NAME.agent.safetensors")
    align.add_argument("--overwrite", action="store_true", help="replace an agent of that name")
    add_model_options(align)
    add_talk_options(align)
    align.set_defaults(run=run)
    train_recipe.add(methods)


def run(args: argparse.Namespace) -> None:
    from adaptsam.alignsam import Target, save_agent, train
    from adaptsam.data.datasets import open_dataset
    from adaptsam.sam import EmbeddingStore

    target = Target(args.target, _code(args.code), args.components)
    settings = settings_from(args)
    if args.output.exists() and not args.overwrite:
        raise OutputError(f"{args.output.name} is there already; add --overwrite, or give another name.")
    state = args.output.with_name(args.output.name + ".training")
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressBars(args.quiet))
        scalars = stack.enter_context(_writer(args.log)) if args.log else None
        dataset = open_dataset(args.data, progress=progress)
        dataset.check_usable()
        parts = dataset.split(args.seed, (1 - HELD_BACK, HELD_BACK, 0.0))
        learnt, held = (_read(parts[part]) for part in ("train", "validation"))
        model = load_model(args)
        store = EmbeddingStore(model)
        try:
            trained = train(store, learnt, settings, checkpoint=state, progress=progress, scalars=scalars)
        except KeyboardInterrupt:
            raise Cancelled("stopped; finished episodes are kept, and the same command goes on from there.") from None
        scores, least = judge(store, trained.agent, held or learnt)
    record = {
        "data": dataset.kind,
        "images": len(learnt),
        "held_back": len(held),
        "history": [asdict(episode) for episode in trained.history],
    }
    package = _package(trained.agent, model, target, args.modality, learnt, record)
    package = replace(package, scores=scores | {"held_back": bool(held)}, least_evidence=least)
    save_agent(args.output, package)
    state.unlink(missing_ok=True)
    if args.json:
        print_json({"output": args.output.resolve(), **package.describe()})
    else:
        words = {"images": len(learnt), "scored on": len(held or learnt), **scores, "least evidence": least}
        print_table([{"": name, "value": value} for name, value in words.items() if not isinstance(value, list)])


def settings_from(args: argparse.Namespace) -> Settings:
    """The implicit branch as published, with the schedule that was asked for."""
    from adaptsam.alignsam import EnvironmentSettings, Settings, TrainingSettings

    return Settings(
        environment=EnvironmentSettings(steps=args.steps),
        training=TrainingSettings(episodes=args.episodes, seed=args.seed),
    )


def judge(store: EmbeddingStore, agent: Agent, images: Sequence[TrainingImage]) -> tuple[dict[str, Any], float]:
    """The agent's scores on images of which it is not told the truth, and the least evidence that it shall accept."""
    import numpy as np

    from adaptsam.alignsam import prompt, score

    results = prompt(store, agent, [one.image for one in images])
    scores = score(results, [one.mask for one in images])
    evidence = [result.evidence.total for result in results]
    least = USUAL_SHARE * float(np.quantile(evidence, USUAL_QUANTILE))
    return {"iou": scores.iou[-1], "mean_return": scores.mean_return, "iou_after_each_step": list(scores.iou)}, least


def _package(
    agent: Agent, model: SamModel, target: Any, modality: str, images: Sequence[TrainingImage], record: dict[str, Any]
) -> Package:
    from adaptsam.alignsam import Package, Shown

    color = any(bool((one.image[..., :1] != one.image).any()) for one in images)
    shown = Shown(modality=modality.upper(), color=color)
    return Package(agent, target, model.kind, model.sha256, shown, training=record)


def _read(samples: Sequence[Sample]) -> list[TrainingImage]:
    from adaptsam.alignsam import TrainingImage

    return [TrainingImage(*sample.read()) for sample in samples]


def _code(text: str | None) -> tuple[str, str, str] | None:
    if text is None:
        return None
    value, scheme, meaning, *_ = [*(part.strip() for part in text.split(",", 2)), "", ""]
    if not (value and scheme and meaning):
        raise InputError(f"A code is VALUE,SCHEME,MEANING, as 80891009,SCT,Heart, and not {text!r}.")
    return value, scheme, meaning


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError('--log needs TensorBoard; install it with pip install "adaptsam[align]".') from None
    return SummaryWriter(str(folder))
