"""AdaptSAM: the Segment Anything Model, adapted to one patient.

    import adaptsam

    planning = adaptsam.read_volume("planning_ct")
    contours = adaptsam.read_structures("planning.dcm", planning)
    [visit] = adaptsam.propagate(planning, contours, "weekly_ct")
    [visit] = adaptsam.propagate(planning, {"GTV": mask}, "weekly_ct")  # a NumPy mask [slice, row, column]

For research use only: nothing that comes out of here was approved by a clinician.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adaptsam.noise import hide_known_noise

if TYPE_CHECKING:
    from adaptsam.alignsam import load_agent
    from adaptsam.autoprompt import AutoPromptSettings, autoprompt, autoprompt_frames
    from adaptsam.data import (
        Geometry,
        Remark,
        Structure,
        StructureSet,
        Volume,
        read_frames,
        read_structures,
        read_volume,
        write_structures,
    )
    from adaptsam.propagate import PropagationSettings, propagate
    from adaptsam.propagate_video import VideoSettings, propagate_video
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

_HOMES = {
    "AutoPromptSettings": "adaptsam.autoprompt",
    "Geometry": "adaptsam.data",
    "Remark": "adaptsam.data",
    "Structure": "adaptsam.data",
    "StructureSet": "adaptsam.data",
    "Volume": "adaptsam.data",
    "PropagationSettings": "adaptsam.propagate",
    "VideoSettings": "adaptsam.propagate_video",
    "autoprompt": "adaptsam.autoprompt",
    "autoprompt_frames": "adaptsam.autoprompt",
    "load_agent": "adaptsam.alignsam",
    "load_sam": "adaptsam.sam",
    "propagate": "adaptsam.propagate",
    "propagate_video": "adaptsam.propagate_video",
    "read_frames": "adaptsam.data",
    "read_structures": "adaptsam.data",
    "read_volume": "adaptsam.data",
    "write_structures": "adaptsam.data",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `adaptsam --help` must not wait seconds for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``adaptsam.propagate`` the function, where Python would put the module of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
hide_known_noise()
