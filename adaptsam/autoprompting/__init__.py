"""AlignSAM's agents on volumes and videos, and their training from data sets.

In use: what an agent sees of a volume (``agent_slices``), the settings (``autoprompt_settings``), batches of images
(``agent_batches``, with ``text_maps`` for agents that read words), one agent on a whole volume (``agent_volume``), its
prompts in order (``prompt_steps``), and a slice from changed prompts
(``prompt_replay``). ``volume_autoprompting`` and ``video_autoprompting`` hold the public functions.

In training: from a data set to an agent's file (``agent_training``), the same from a MONAI bundle
(``training_bundle``), from volumes in memory (``training_volumes``), the thumbnail of an agent (``agent_thumbnail``),
and drawings of its prompts (``prompt_drawing``).
"""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.autoprompting.agent_training import AgentTraining
    from adaptsam.autoprompting.autoprompt_settings import AutoPromptSettings
    from adaptsam.autoprompting.video_autoprompting import autoprompt_frames
    from adaptsam.autoprompting.volume_autoprompting import AutoPrompt, autoprompt

__all__ = [
    "AgentTraining",
    "AutoPrompt",
    "AutoPromptSettings",
    "autoprompt",
    "autoprompt_frames",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "agent_training": ("AgentTraining",),
    "autoprompt_settings": ("AutoPromptSettings",),
    "video_autoprompting": ("autoprompt_frames",),
    "volume_autoprompting": (
        "AutoPrompt",
        "autoprompt",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
