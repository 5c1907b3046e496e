"""The MONAI bundle training/alignsam, read and changed: what ``adaptsam train alignsam`` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from adaptsam.autoprompting.agent_training import AgentTraining
from adaptsam.errors import InputError, sentence_in
from adaptsam.finetune.recipe_folders import AGENT_BUNDLE, change_settings, recipes_folder

#: Settings that are lists where they are given: what an example looks like.
_LISTS: dict[str, list[object]] = {"window": [-160, 240], "code": ["80891009", "SCT", "Heart"]}
_BUILT = ("bundle_root", "training_data", "goal", "settings", "training", "run")


def agent_training(changes: Mapping[str, Any]) -> AgentTraining:
    """The training that the bundle describes, with changed settings.

    Args:
        changes: by the bundle's keys, plain values.

    Raises:
        InputError: there is no such setting, or a value means nothing.
    """
    parser = ConfigParser()
    parser.read_config(str(recipes_folder() / AGENT_BUNDLE / "configs" / "train.json"))
    known = {key: value for key, value in parser.get().items() if key not in _BUILT}
    change_settings(parser, known, changes)
    for key, wanted in _LISTS.items():
        _check_list(key, changes.get(key), wanted)
    try:
        training: AgentTraining = parser.get_parsed_content("training")
    except Exception as error:
        said = sentence_in(error)
        if said is None:
            raise
        raise said from error
    return training


def _check_list(key: str, value: object, example: Sequence[object]) -> None:
    if value is not None and (not isinstance(value, list | tuple) or len(value) != len(example)):
        raise InputError(f"{key} is a list such as {example}, not {value!r}.")
