"""The recipes of ``training/``: MONAI bundles, found by name, changed by key=value, and run.

``adaptsam train`` and ``python -m monai.bundle run`` read the same files: a recipe's own settings over the common ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from traceback import clear_frames
from typing import Any

import torch
from monai.bundle import ConfigParser

from adaptsam.errors import AdaptSAMError, InputError, OutputError, TrainingError, sentence_in
from adaptsam.finetune.recipe_folders import change_settings, plain_settings, recipe_files
from adaptsam.finetune.training_state import TrainingFiles
from adaptsam.finetune.training_transforms import sample_error

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "Cannot allocate memory", "bad_alloc")


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
    """Settings of a recipe that can be changed, with their values."""
    return plain_settings(parser.get())


def run_recipe(parser: ConfigParser) -> TrainingFiles:
    """Train as a recipe says; goes on where an earlier run of the same settings was stopped.

    Returns:
        What came out.

    Raises:
        InputError: data, model or settings cannot be used.
        TrainingError: the loss is not finite, or the memory does not suffice.
        OutputError: the folder cannot be written.
    """
    files: TrainingFiles | None = None
    try:
        files = parser.get_parsed_content("train#files")
        for stage in ("initialize", "run", "finalize"):
            for number in range(len(parser[stage])):
                parser.get_parsed_content(f"{stage}#{number}")
    except Exception as error:
        said = _said(error)
        if said is None:
            raise
        if isinstance(said, TrainingError) and files is not None:
            for cause in _causes(error):
                clear_frames(cause.__traceback__)  # where memory lacks, the step that failed still holds it
            with suppress(MemoryError):
                files.save_models()
        raise said from error
    return files


def _said(error: BaseException) -> AdaptSAMError | None:
    """The sentence for the user inside an error that MONAI, ignite or a worker process has wrapped."""
    told = sentence_in(error) or sample_error(error)
    if told is not None:
        return told
    chain = list(_causes(error))
    for cause in chain:
        lacking = any(words in str(cause) for words in _OUT_OF_MEMORY)
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or lacking:
            return TrainingError(
                "The device has too little memory; raise accumulate, or set checkpointed=true, amp=true or a smaller "
                "batch."
            )
        if "DataLoader worker (pid" in str(cause):
            return TrainingError(
                "A process that reads samples was ended from outside, most often for want of memory; lower workers or "
                "cache, and give the same command again."
            )
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno is not None:
            where = f" at {cause.filename}" if cause.filename else ""
            return OutputError(
                f"The training cannot go on: {cause.strerror}{where}; what was kept before is whole, and the same "
                "command goes on from there."
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
