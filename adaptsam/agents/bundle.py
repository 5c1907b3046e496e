"""The MONAI bundle training/alignsam, read and changed: what ``adaptsam train alignsam`` runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigParser

from adaptsam.agents.training import AgentTraining
from adaptsam.errors import sentence_in
from adaptsam.finetune.recipe_files import AGENT_BUNDLE, change_settings, recipes_folder

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
    try:
        training: AgentTraining = parser.get_parsed_content("training")
    except Exception as error:
        said = sentence_in(error)
        if said is None:
            raise
        raise said from error
    return training
