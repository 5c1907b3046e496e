"""The recipes of ``training/``: MONAI bundles, found by name, changed by key=value, and run.

``adaptsam train`` and ``python -m monai.bundle run`` read the same files: a recipe's own settings over the common ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.bundle import ConfigParser

from adaptsam.errors import InputError, TrainingError, sentence_in
from adaptsam.finetune.recipe_files import change_settings, recipe_files
from adaptsam.finetune.samples import sample_error
from adaptsam.finetune.training_files import TrainingFiles

#: What may be set: plain values of the common configuration, and what a recipe adds.
_PARTS_OF_THE_BUNDLE = ("bundle_root", "imports", "settings", "parts", "base", "how", "torch_device", "network_def")
_BUILT = ("network", "optimizer", "iterations", "lr_scheduler", "early_stop", "train", "validate", "initialize", "run")


def read_recipe(name: str, changes: Mapping[str, Any] | None = None) -> ConfigParser:
    """A recipe with changed settings, not yet built.

    Args:
        name: of a recipe, or the folder of one's own bundle.
        changes: by the keys that :func:`recipe_settings` gives.

    Raises:
        InputError: no such recipe, or no such setting.
    """
    parser = ConfigParser()
    files = [str(path) for path in recipe_files(name)]
    try:
        parser.read_config(files)
    except Exception as error:  # MONAI and json raise whatever the file leads them to
        raise InputError(
            f"The recipe {name} cannot be read: its configs/train.json is not JSON as MONAI's bundles have it "
            f"({type(error).__name__}); correct it, or get it again."
        ) from error
    change_settings(parser, recipe_settings(parser), changes or {})
    return parser


def recipe_settings(parser: ConfigParser) -> dict[str, Any]:
    """What can be changed, with its values."""
    return {key: value for key, value in parser.get().items() if key not in (*_PARTS_OF_THE_BUNDLE, *_BUILT)}


def run_recipe(parser: ConfigParser) -> TrainingFiles:
    """Train as a recipe says; goes on where an earlier run of the same settings was stopped.

    Raises:
        InputError: data, model or settings cannot be used.
        TrainingError: the loss is not finite, or the memory does not suffice.
        OutputError: the folder cannot be written.
    """
    try:
        files: TrainingFiles = parser.get_parsed_content("train#files")
        for number in range(len(parser["initialize"])):
            parser.get_parsed_content(f"initialize#{number}")
        parser.get_parsed_content("train#trainer").run()
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "The device has too little memory; raise accumulate, or set checkpointed=true, amp=true or a smaller batch."
        ) from error
    except Exception as error:
        said = sentence_in(error) or sample_error(error)
        if said is None:
            raise
        raise said from error
    return files
