"""``adaptsam train RECIPE``: a recipe of training/, with some of its settings changed."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from adaptsam.commands.console import print_json, print_table
from adaptsam.errors import Cancelled, InputError
from adaptsam.finetune.recipe_folders import change_settings, plain_recipe, plain_settings, recipe_files, recipe_names
from adaptsam.nested_settings import parse

DESCRIPTION = """\
{what}

  {example}

  adaptsam train {name} --show     what can be set, and how it is
{more}
The same command again goes on where a training was stopped. The output: best and last model (.safetensors, for
--checkpoint), their adapter files with every trained tensor, curves.json, TensorBoard's files, and state.pt, from which
a training goes on.
The recipe's files also run with `python -m monai.bundle run`; training/README.md says how.
"""

#: What each recipe does, an example of its own, and where it takes a folder of images, another one.
_FOLDER = "  adaptsam train {name} dataset_dir=pictures dataset_kind=folder epochs=10 output_dir=trained\n"
_RECIPES = {
    "kvasir_lora": (
        "Fine-tune a SAM on polyps in colonoscopy (Kvasir-SEG) with LoRA: few of the weights change.",
        "adaptsam train kvasir_lora dataset_dir=Kvasir-SEG checkpoint=vit_b device=cuda output_dir=polyps",
        _FOLDER,
    ),
    "kvasir_full": (
        "Fine-tune all weights of a SAM on polyps in colonoscopy (Kvasir-SEG).",
        "adaptsam train kvasir_full dataset_dir=Kvasir-SEG checkpoint=vit_b device=cuda output_dir=polyps",
        _FOLDER,
    ),
    "nsclc_lora": (
        "Fine-tune a SAM on lung tumours in CT (NSCLC-Radiomics, GTV-1) with LoRA: few of the weights change.",
        "adaptsam train nsclc_lora dataset_dir=NSCLC-Radiomics checkpoint=vit_b device=cuda output_dir=tumours",
        "  adaptsam train {name} dataset_dir=NSCLC-Radiomics structure=Lung-Left output_dir=lungs\n",
    ),
    "nsclc_full": (
        "Fine-tune all weights of a SAM on lung tumours in CT (NSCLC-Radiomics, GTV-1).",
        "adaptsam train nsclc_full dataset_dir=NSCLC-Radiomics checkpoint=vit_b device=cuda output_dir=tumours",
        "  adaptsam train {name} dataset_dir=NSCLC-Radiomics structure=Lung-Left output_dir=lungs\n",
    ),
}

_OTHER = ("Fine-tune a SAM by a recipe.", "adaptsam train RECIPE dataset_dir=FOLDER output_dir=trained", "")

#: How the settings end that are paths or names, whatever these look like.
_TEXTS = ("_dir", "checkpoint", "structure")
_NOTHING = ("none", "null")
_PROMPTS = {"none": "no prompt", "point": "one point", "box": "box"}


def add(methods: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    try:
        names = recipe_names()
    except InputError:  # an installation without them still has its other commands
        return
    for name in names:
        parser = methods.add_parser(
            name,
            help=_summary(name),
            usage=f"adaptsam train {name} [key=value ...] [--show] [--json]",
            description=description(name),
        )
        parser.add_argument("changes", nargs="*", metavar="key=value", help="settings of the recipe")
        parser.add_argument("--show", action="store_true", help="print the settings, and train nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, for programs")
        parser.set_defaults(run=run, recipe=name)


def _summary(name: str) -> str:
    what = _RECIPES.get(name, _OTHER)[0].split(":")[0].rstrip(".")
    return f"a recipe: {what[:1].lower()}{what[1:]}"


def description(name: str) -> str:
    """Description of a recipe, beginning with its own example."""
    what, example, more = _RECIPES.get(name, _OTHER)
    return DESCRIPTION.format(what=what, example=example, name=name, more=more.format(name=name))


def run(args: argparse.Namespace) -> None:
    if args.show:
        _show(args)
        return
    try:
        from adaptsam.finetune.recipes import read_recipe, recipe_settings, run_recipe
    except ImportError as error:
        raise InputError(f"Training needs more packages ({error.name}); run: pip install 'adaptsam[train]'") from error
    parser = read_recipe(args.recipe, changes(args.changes))
    settings = recipe_settings(parser)
    if not settings["output_dir"] or str(settings["output_dir"]).startswith("$"):
        raise InputError("A training needs a folder for what comes out; give it with output_dir=FOLDER.")
    folder = Path(settings["output_dir"])
    _say_what_happens(args.json)
    try:
        files = run_recipe(parser)
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command goes on from what was kept last.") from None
    if not files.writes:
        return
    if args.json:
        print_json({"output": folder.resolve(), "scores": files.scores, "losses": files.losses})
        return
    print_table([{key: round(value, 4) for key, value in row.items()} for row in files.scores], "Dice in validation")
    if max(files.scores, key=lambda row: row["dice"])["epoch"] == 0:
        print("\nNo epoch was better than the model before the training: that one is the best.")
    if (folder / "best.safetensors").is_file():
        print(f"\nThe models are in {folder}; use one with --checkpoint {folder / 'best.safetensors'}.")
    else:
        print(f"\nWhat was trained is in {folder}: files of adapters that cannot be merged into a plain SAM.")


def _show(args: argparse.Namespace) -> None:
    """The settings, without the libraries that a training needs."""
    recipe = plain_recipe(recipe_files(args.recipe))
    change_settings(recipe, plain_settings(recipe), changes(args.changes))
    settings = plain_settings(recipe)
    rows = [{"setting": key, "value": str(value)} for key, value in settings.items()]
    print_json(settings) if args.json else print_table(rows, args.recipe)


def changes(words: list[str]) -> dict[str, Any]:
    """key=value as a dictionary; values are read as numbers, true, false, none or JSON where they look so.

    Raises:
        InputError: a word without "=".
    """
    changed: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InputError(f"Settings are given as key=value, not {word!r}; --show lists them.")
        # A shell may leave the ~ of key=~/folder as it is.
        changed[key] = os.path.expanduser(value) if key.endswith(_TEXTS) and value not in _NOTHING else _read(value)
    return changed


def _read(text: str) -> object:
    """JSON, none, a Python literal such as (1, 4), or the word itself."""
    try:
        return None if text in _NOTHING else json.loads(text)
    except ValueError:
        return parse(text)


class EpochLines(logging.Formatter):
    """Log lines of a training, with MONAI's line of an epoch's scores in words."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not (found := re.match(r"Epoch\[(\d+)\] Metrics -- (.*)", text)):
            return text
        scores = dict(re.findall(r"(\w+): ([\d.]+)", found[2]))
        rest = [f"{word} {scores[name]}" for name, word in _PROMPTS.items() if name in scores]
        return f"epoch {found[1]}: Dice in validation {scores.get('dice', '–')} ({', '.join(rest)})"


def _say_what_happens(as_json: bool) -> None:
    """MONAI's lines of progress, without those that only say that an engine runs, and tracebacks of told errors."""
    import sys

    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.WARNING if as_json else logging.INFO)  # MONAI sets the logger's own level
    shown.addFilter(lambda record: record.levelno < logging.ERROR and not record.getMessage().startswith("Key metric:"))
    shown.setFormatter(EpochLines())
    logging.getLogger("adaptsam.train").handlers = [shown]
    for quiet in ("ignite", "ignite.engine.engine.SupervisedTrainer", "monai"):
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
