"""Propagation of contours from one visit or frame to others with P²SAM, and their correction."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.propagation.click_evidence import CorrectedSlice, CorrectionSettings
    from adaptsam.propagation.slice_correction import correct_slice, follow_slice
    from adaptsam.propagation.video_propagation import propagate_video
    from adaptsam.propagation.video_settings import VideoSettings
    from adaptsam.propagation.volume_propagation import (
        Propagation,
        PropagationSettings,
        Propagator,
        papers_protocol,
        propagate,
        propagate_each,
    )

__all__ = [
    "CorrectedSlice",
    "CorrectionSettings",
    "Propagation",
    "PropagationSettings",
    "Propagator",
    "VideoSettings",
    "correct_slice",
    "follow_slice",
    "papers_protocol",
    "propagate",
    "propagate_each",
    "propagate_video",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "click_evidence": ("CorrectedSlice", "CorrectionSettings"),
    "slice_correction": ("correct_slice", "follow_slice"),
    "video_propagation": ("propagate_video",),
    "video_settings": ("VideoSettings",),
    "volume_propagation": (
        "Propagation",
        "PropagationSettings",
        "Propagator",
        "papers_protocol",
        "propagate",
        "propagate_each",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
