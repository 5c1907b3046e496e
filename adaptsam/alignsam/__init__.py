"""AlignSAM: an agent learns where to put points on an image so that SAM segments one target, with nobody clicking.

Huang et al., "AlignSAM: Aligning Segment Anything Model to Open Context via Reinforcement Learning" (CVPR 2024).
The parts, one module each: the actions (``actions``, Eq. 3), the state (``state``, Eq. 4), the game (``environment``,
``gym_env``), actor and critic (``agent``, Eq. 5), their training (``ppo``, Eq. 6 to 10; ``training``, Algorithm 1), the
labels of the points (``recalibration``, Eq. 11 to 13), the use on new images (``prompting``), and the
file of an agent (``package``). ``clip`` makes the text attention maps of the explicit branch; nothing here imports it:
maps, or a function that makes them, are handed in.

    store = EmbeddingStore(load_sam())
    agent = train(store, [TrainingImage(image, mask), ...]).agent
    [result] = prompt(store, agent, [new_image])
    result.mask, result.points, result.labels
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adaptsam.alignsam.agent_file import Package, Shown, Target, load_agent, save_agent
from adaptsam.alignsam.agent_inference import PAPER_USE, Evidence, Prompted, UseSettings, go_on, prompt, prompt_cases
from adaptsam.alignsam.agent_network import Agent
from adaptsam.alignsam.agent_scoring import Scores, score
from adaptsam.alignsam.alignsam_settings import EnvironmentSettings, Settings, TrainingSettings, ablation_settings
from adaptsam.alignsam.environment import Case, Environment, Scorer

if TYPE_CHECKING:
    from adaptsam.alignsam.gymnasium_env import AlignEnv, AlignVectorEnv
    from adaptsam.alignsam.policy_training import Episode, Trained, TrainingImage, train

__all__ = [
    "PAPER_USE",
    "Agent",
    "AlignEnv",
    "AlignVectorEnv",
    "Case",
    "Environment",
    "EnvironmentSettings",
    "Episode",
    "Evidence",
    "Package",
    "Prompted",
    "Scorer",
    "Scores",
    "Settings",
    "Shown",
    "Target",
    "Trained",
    "TrainingImage",
    "TrainingSettings",
    "UseSettings",
    "ablation_settings",
    "go_on",
    "load_agent",
    "prompt",
    "prompt_cases",
    "save_agent",
    "score",
    "train",
]

# These need the extra "align", which using an agent does not.
_HOMES = {
    "AlignEnv": "gymnasium_env",
    "AlignVectorEnv": "gymnasium_env",
    "Episode": "policy_training",
    "Trained": "policy_training",
    "TrainingImage": "policy_training",
    "train": "policy_training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
