"""AdaptSAM: the Segment Anything Model, adapted to one patient.

    import adaptsam

    planning = adaptsam.read_volume("planning_ct")
    contours = adaptsam.read_structures("planning.dcm", planning)
    [visit] = adaptsam.propagate(planning, contours, "weekly_ct")
    [visit] = adaptsam.propagate(planning, {"GTV": mask}, "weekly_ct")  # a NumPy mask [slice, row, column]

For research use only: nothing that comes out of here was approved by a clinician.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptsam.deprecated_names import install
from adaptsam.lazy_imports import names_on_demand
from adaptsam.library_warnings import hide_known_noise

if TYPE_CHECKING:
    from adaptsam.alignsam import load_agent
    from adaptsam.autoprompting.video_autoprompting import autoprompt_frames
    from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings, autoprompt
    from adaptsam.image import Geometry, Remark, Structure, StructureSet, Volume
    from adaptsam.io import read_frames, read_structures, read_volume, write_structures
    from adaptsam.propagation.video_propagation import propagate_video
    from adaptsam.propagation.video_settings import VideoSettings
    from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
    from adaptsam.sam import load_sam

__version__ = "0.1.0"
__all__ = [
    "AutoPromptSettings",
    "Geometry",
    "PropagationSettings",
    "Remark",
    "Structure",
    "StructureSet",
    "VideoSettings",
    "Volume",
    "__version__",
    "autoprompt",
    "autoprompt_frames",
    "load_agent",
    "load_sam",
    "propagate",
    "propagate_video",
    "read_frames",
    "read_structures",
    "read_volume",
    "write_structures",
]

# On first use: `adaptsam --help` must not wait seconds for torch.
_HOMES = {
    "alignsam": ("load_agent",),
    "autoprompting.video_autoprompting": ("autoprompt_frames",),
    "autoprompting.volume_autoprompting": ("AutoPromptSettings", "autoprompt"),
    "image": ("Geometry", "Remark", "Structure", "StructureSet", "Volume"),
    "io": ("read_frames", "read_structures", "read_volume", "write_structures"),
    "propagation.video_propagation": ("propagate_video",),
    "propagation.video_settings": ("VideoSettings",),
    "propagation.volume_propagation": ("PropagationSettings", "propagate"),
    "sam": ("load_sam",),
}
__getattr__ = names_on_demand(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


hide_known_noise()
install()
