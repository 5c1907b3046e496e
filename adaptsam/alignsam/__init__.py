"""AlignSAM: an agent learns where to put points on an image so that SAM segments one target, without clicks.

Huang et al., "AlignSAM: Aligning Segment Anything Model to Open Context via Reinforcement Learning" (CVPR 2024).
The parts, one module each: the actions (``actions``, Eq. 3), the state (``state``, Eq. 4), the game
(``environment``, ``gymnasium_env``), the segmenter that is prompted (``segmenter``), actor and critic
(``agent_network``, Eq. 5), their training (``ppo``, Eq. 6 to 10; ``policy_training``, Algorithm 1), the labels of the
points (``recalibration``, Eq. 11 to 13), the use on new images (``agent_inference``), the kind of images that an agent
knows (``novelty``), and the file of an agent (``agent_file``), of which the head (``agent_header``,
``agent_description``, ``agent_target``) and the list of agents (``agent_listing``) need no PyTorch. ``clip`` makes the
text attention maps of the explicit branch; no module here imports it: maps, or a function that makes them, are passed
in.

    store = EmbeddingStore(load_sam())
    agent = train(store, [TrainingImage(image, mask), ...]).agent
    [result] = prompt(store, agent, [new_image])
    result.mask, result.points, result.labels
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptsam.deprecated_names import RENAMED_CLASSES
from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.alignsam.agent_file import Package, load_agent, save_agent
    from adaptsam.alignsam.agent_inference import (
        PAPER_USE,
        Evidence,
        Prompted,
        UseSettings,
        go_on,
        prompt,
        prompt_cases,
    )
    from adaptsam.alignsam.agent_network import Agent
    from adaptsam.alignsam.agent_scoring import Scores, score
    from adaptsam.alignsam.agent_target import Shown, Target
    from adaptsam.alignsam.alignsam_settings import (
        AlignSamSettings,
        EnvironmentSettings,
        TrainingSettings,
        ablation_settings,
    )
    from adaptsam.alignsam.environment import AgentImage, Environment, Scorer
    from adaptsam.alignsam.gymnasium_env import AlignEnv, AlignVectorEnv
    from adaptsam.alignsam.novelty import Novelty
    from adaptsam.alignsam.policy_training import Episode, Trained, TrainingImage, train
    from adaptsam.alignsam.segmenter import Segmenter, Session

__all__ = [
    "PAPER_USE",
    "Agent",
    "AgentImage",
    "AlignEnv",
    "AlignSamSettings",
    "AlignVectorEnv",
    "Environment",
    "EnvironmentSettings",
    "Episode",
    "Evidence",
    "Novelty",
    "Package",
    "Prompted",
    "Scorer",
    "Scores",
    "Segmenter",
    "Session",
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

# On demand: the list of agents needs no PyTorch, and using one not the extra "align".
_HOMES = {
    "agent_file": ("Package", "load_agent", "save_agent"),
    "agent_inference": ("PAPER_USE", "Evidence", "Prompted", "UseSettings", "go_on", "prompt", "prompt_cases"),
    "agent_network": ("Agent",),
    "agent_scoring": ("Scores", "score"),
    "agent_target": ("Shown", "Target"),
    "alignsam_settings": ("AlignSamSettings", "EnvironmentSettings", "TrainingSettings", "ablation_settings"),
    "environment": ("AgentImage", "Environment", "Scorer"),
    "gymnasium_env": ("AlignEnv", "AlignVectorEnv"),
    "novelty": ("Novelty",),
    "policy_training": ("Episode", "Trained", "TrainingImage", "train"),
    "segmenter": ("Segmenter", "Session"),
}
__getattr__ = names_on_demand(__name__, _HOMES, RENAMED_CLASSES["alignsam"])


def __dir__() -> list[str]:
    return sorted(__all__)
