"""The loop over the slices of a volume, for any method that segments one slice from another."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.slicewise.prior_visit import PriorVisit
    from adaptsam.slicewise.slice_images import check_image
    from adaptsam.slicewise.slice_loop import (
        Carried,
        Watch,
        carry,
        unwatched,
    )
    from adaptsam.slicewise.slice_method import SliceJob, SliceMethod, SliceResult
    from adaptsam.slicewise.slice_report import SliceReport, StructureReport
    from adaptsam.slicewise.volume_settings import (
        AcceptanceSettings,
        CleanupSettings,
        ConfidenceSettings,
        FusionSettings,
        MisfitSettings,
        VolumeSettings,
    )

__all__ = [
    "AcceptanceSettings",
    "Carried",
    "CleanupSettings",
    "ConfidenceSettings",
    "FusionSettings",
    "MisfitSettings",
    "PriorVisit",
    "SliceJob",
    "SliceMethod",
    "SliceReport",
    "SliceResult",
    "StructureReport",
    "VolumeSettings",
    "Watch",
    "carry",
    "check_image",
    "unwatched",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "prior_visit": ("PriorVisit",),
    "slice_images": ("check_image",),
    "slice_loop": (
        "Carried",
        "Watch",
        "carry",
        "unwatched",
    ),
    "slice_method": (
        "SliceJob",
        "SliceMethod",
        "SliceResult",
    ),
    "slice_report": (
        "SliceReport",
        "StructureReport",
    ),
    "volume_settings": (
        "AcceptanceSettings",
        "CleanupSettings",
        "ConfidenceSettings",
        "FusionSettings",
        "MisfitSettings",
        "VolumeSettings",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
