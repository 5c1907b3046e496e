"""``adaptsam train``: an agent of AlignSAM on images with masks of one target, or a SAM by a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptsam.commands import recipe_command as train_recipe
from adaptsam.commands.command_parser import section
from adaptsam.commands.console import (
    ProgressBars,
    add_model_options,
    add_talk_options,
    load_model,
    print_json,
    print_table,
)
from adaptsam.errors import Cancelled, InputError

if TYPE_CHECKING:
    from adaptsam.autoprompting.agent_training import AgentTraining

DESCRIPTION = """\
Train an agent that finds one target, from images and masks of it: AlignSAM, with SAM left as it is.

  adaptsam train alignsam --data polyps --target polyp --output polyp.agent.safetensors

`polyps` holds the folders images and masks (PNG, JPEG, NIfTI or NRRD, alike by name), or is a collection that
'adaptsam data --help' knows. Then:

  adaptsam autoprompt --agent polyp.agent.safetensors --target … --output result

  shorter, with the target's standard code, curves and pictures for TensorBoard:
  adaptsam train alignsam --data hearts --target Heart --code 80891009,SCT,Heart --modality CT --episodes 10 \\
                          --log curves --output heart.agent.safetensors

  DICOM, one folder a patient, with RTSTRUCT or SEG:
  adaptsam train alignsam --data patients --kind nsclc-radiomics --structure Heart --target Heart --modality CT \\
                          --output heart.agent.safetensors

  what words describe, with CLIP's help (explicit branch):
  adaptsam train alignsam --data dogs --target dog --branch explicit --text dog --clip FOLDER --output …

After every episode the state is kept beside the output (….training); the same command goes on from there. Some patients
(or pictures) are held back: on them the agent is scored, and from them it learns which evidence is enough. All settings
stand in the MONAI bundle training/alignsam, which `python -m monai.bundle run` takes too; --set changes any of them.
"""

METHODS = """\
Train an agent for one target (alignsam), or fine-tune a SAM by a recipe.

  adaptsam train kvasir_lora dataset_dir=Kvasir-SEG checkpoint=vit_b output_dir=polyps

  adaptsam train alignsam --data hearts --target Heart --output heart.agent.safetensors
  adaptsam train kvasir_lora --show         what a recipe's settings are
"""

#: The options that the bundle calls alike.
_SAME_NAMES = (
    *("structure", "label", "images", "target", "components", "modality", "branch", "text", "clip"),
    *("episodes", "epochs", "steps", "rate", "seed"),
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="train an agent, or fine-tune a SAM", description=METHODS)
    methods = parser.add_subparsers(title="methods", metavar="METHOD", required=True)
    align = methods.add_parser(
        "alignsam",
        help="an agent that learns where to click",
        description=DESCRIPTION,
    )
    _add_data(align.add_argument_group("data"))
    _add_schedule(align.add_argument_group("schedule"))
    output = section(align, "output")
    output.add_argument("--log", type=Path, metavar="DIR", help="curves and pictures for TensorBoard")
    output.add_argument("--output", required=True, type=Path, metavar="FILE", help="the agent: NAME.agent.safetensors")
    output.add_argument("--overwrite", action="store_true", help="replace an agent of that name")
    add_model_options(align)
    add_talk_options(align)
    align.set_defaults(run=run)
    train_recipe.add(methods)


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data", required=True, type=Path, metavar="DIR", help="images and masks")
    group.add_argument("--kind", metavar="KIND", help="what it is; default: as its folders' names tell")
    group.add_argument("--structure", metavar="NAME", help="which structure (DICOM), or class (PASCAL VOC)")
    group.add_argument("--label", type=int, metavar="N", help="the masks' value that counts; default: all above 0")
    group.add_argument(
        "--window", metavar="LOW,HIGH", help="of intensities: of volumes, or that pictures were made with"
    )
    group.add_argument("--images", type=int, metavar="N", help="at most so many; default: 50, as the paper; 0: all")
    group.add_argument("--target", required=True, metavar="NAME", help="what the masks show")
    group.add_argument("--code", metavar="VALUE,SCHEME,MEANING", help="its standard code, as 80891009,SCT,Heart")
    group.add_argument("--components", type=int, metavar="N", help="its parts, as 2 for lungs; default: 1")
    group.add_argument("--modality", metavar="KIND", help="of the images, as CT; default: any")


def _add_schedule(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--branch", choices=("implicit", "explicit"), help="default: implicit")
    group.add_argument("--text", metavar="WORDS", help="what CLIP is asked for, in the explicit branch")
    group.add_argument("--clip", metavar="SOURCE", help="a CLIP: a folder or a file")
    group.add_argument("--episodes", type=int, metavar="N", help="default: 50, as the paper")
    group.add_argument("--epochs", type=int, metavar="K", help="of an episode; default: 20, as the paper")
    group.add_argument("--steps", type=int, metavar="T", help="points an image; default: 15, as the paper")
    group.add_argument("--rate", type=float, metavar="X", help="of learning; default: 1e-4, as the paper")
    group.add_argument("--seed", type=int, metavar="N", help="default: 0")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other setting of the bundle"
    )


def run(args: argparse.Namespace) -> None:
    training = training_from(args)
    with ProgressBars(args.quiet) as progress:
        try:
            package = training.run(progress, lambda: load_model(args))
        except KeyboardInterrupt:
            raise Cancelled("stopped; finished episodes are kept, and the same command goes on from there.") from None
    if args.json:
        print_json({"output": args.output.resolve(), **package.describe()})
        return
    scores = {name: value for name, value in package.scores.items() if not isinstance(value, list | dict)}
    counts = {name: package.training[name] for name in ("images", "held_back")}
    beside = {f"iou, {name}": value for name, value in package.scores.get("comparators", {}).items()}
    words = {**counts, **scores, **beside, "least evidence": package.least_evidence}
    print_table([{"": name.replace("_", " "), "value": value} for name, value in words.items()])


def training_from(args: argparse.Namespace) -> AgentTraining:
    """The training that the options ask for.

    Raises:
        InputError: a value means nothing, or a package is missing.
    """
    try:
        from adaptsam.autoprompting.training_bundle import agent_training
    except ImportError as error:
        raise InputError(f"Training needs more packages ({error.name}); run: pip install 'adaptsam[align]'") from error
    return agent_training(settings_from(args))


def settings_from(args: argparse.Namespace) -> dict[str, Any]:
    """Settings that differ from the bundle's defaults, by name."""
    given: dict[str, Any] = {name: getattr(args, name) for name in _SAME_NAMES}
    given |= {
        "dataset_dir": str(args.data),
        "dataset_kind": args.kind,
        "window": _window(args.window),
        "code": _code(args.code),
        "output": str(args.output),
        "log": None if args.log is None else str(args.log),
        "overwrite": args.overwrite or None,
        "checkpoint": None if args.checkpoint is None else str(args.checkpoint),
        "device": args.device,
    }
    given |= train_recipe.changes(args.set)
    return {name: value for name, value in given.items() if value is not None}


def _window(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--window is LOW,HIGH, such as -160,240, and not {text!r}.") from None
    return [low, high]


def _code(text: str | None) -> list[str] | None:
    if text is None:
        return None
    value, scheme, meaning, *_ = [*(part.strip() for part in text.split(",", 2)), "", ""]
    if not (value and scheme and meaning):
        raise InputError(f"A code is VALUE,SCHEME,MEANING, as 80891009,SCT,Heart, and not {text!r}.")
    return [value, scheme, meaning]
