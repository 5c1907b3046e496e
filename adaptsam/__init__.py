"""AdaptSAM: the Segment Anything Model, adapted to one patient.

    import adaptsam

    planning = adaptsam.read_volume("planning_ct")
    contours = adaptsam.read_structures("planning.dcm", planning)
    [visit] = adaptsam.propagate(planning, contours, [adaptsam.read_volume("weekly_ct")])

For research use only: nothing that comes out of here was approved by a clinician.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adaptsam.library_warnings import hide_known_noise

if TYPE_CHECKING:
    from adaptsam.alignsam import load_agent
    from adaptsam.autoprompting.volume_autoprompting import AutoPromptSettings, autoprompt, autoprompt_frames
    from adaptsam.io import read_frames, read_structures, read_volume, write_structures
    from adaptsam.propagation.video_propagation import VideoSettings, propagate_video
    from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
    from adaptsam.sam import load_sam

__version__ = "0.1.0"
__all__ = [
    "AutoPromptSettings",
    "PropagationSettings",
    "VideoSettings",
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
    "AutoPromptSettings": "adaptsam.autoprompting.volume_autoprompting",
    "PropagationSettings": "adaptsam.propagation.volume_propagation",
    "VideoSettings": "adaptsam.propagation.video_propagation",
    "autoprompt": "adaptsam.autoprompting.volume_autoprompting",
    "autoprompt_frames": "adaptsam.autoprompting.volume_autoprompting",
    "load_agent": "adaptsam.alignsam",
    "load_sam": "adaptsam.sam",
    "propagate": "adaptsam.propagation.volume_propagation",
    "propagate_video": "adaptsam.propagation.video_propagation",
    "read_frames": "adaptsam.io",
    "read_structures": "adaptsam.io",
    "read_volume": "adaptsam.io",
    "write_structures": "adaptsam.io",
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
