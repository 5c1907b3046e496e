"""The recipes of ``training/``: MONAI bundles, found by name, changed by key=value, and run.

``adaptsam train`` and ``python -m monai.bundle run`` read the same files: a recipe's own settings over the common ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from monai.bundle import ConfigParser

from adaptsam.errors import AdaptSAMError, InputError, TrainingError
from adaptsam.finetune.recipe_files import recipe_files
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
    parser.read_config([str(path) for path in recipe_files(name)])
    known = recipe_settings(parser)
    for key, value in (changes or {}).items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"The recipe has no setting {key!r}; it has {', '.join(known)}.{hint}")
        _check_kind(key, known[key], value)
        parser[key] = value
    return parser


def recipe_settings(parser: ConfigParser) -> dict[str, Any]:
    """What can be changed, with its values."""
    return {key: value for key, value in parser.get().items() if key not in (*_PARTS_OF_THE_BUNDLE, *_BUILT)}


def _check_kind(key: str, before: Any, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(before, bool) and not isinstance(value, bool):
        raise InputError(f"{key} is true or false, not {value!r}.")
    if isinstance(before, int | float) and not isinstance(before, bool):
        if not number or (isinstance(before, int) and value != int(value)):
            kind = "a whole number" if isinstance(before, int) else "a number"
            raise InputError(f"{key} is {kind}, not {value!r}.")
        if value < 0 or (key in ("epochs", "batch", "rounds", "val_interval", "accumulate") and value < 1):
            raise InputError(f"{key} is too small with {value}; the recipe has {before}.")


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
        said = _said(error)
        if said is None:
            raise
        raise said from error
    return files


def _said(error: BaseException) -> AdaptSAMError | None:
    """The sentence for the user inside an error that MONAI, ignite or a worker process has wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AdaptSAMError) and "\n" not in str(cause):
            return cause
        cause = cause.__cause__ or cause.__context__
    return sample_error(error)
