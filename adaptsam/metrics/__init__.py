"""Agreement of a segmentation with its reference, and the motion and size of structures."""

from typing import TYPE_CHECKING

from adaptsam.lazy_imports import names_on_demand

if TYPE_CHECKING:
    from adaptsam.metrics.image_metrics import Counts
    from adaptsam.metrics.volume_metrics import (
        Agreement,
        added_path_length,
        bounding_box,
        centroid,
        compare,
        compare_structures,
        dice,
        slice_dice,
    )

__all__ = [
    "Agreement",
    "Counts",
    "added_path_length",
    "bounding_box",
    "centroid",
    "compare",
    "compare_structures",
    "dice",
    "slice_dice",
]

# On demand: no part needs the libraries of another.
_HOMES = {
    "image_metrics": ("Counts",),
    "volume_metrics": (
        "Agreement",
        "added_path_length",
        "bounding_box",
        "centroid",
        "compare",
        "compare_structures",
        "dice",
        "slice_dice",
    ),
}

__getattr__ = names_on_demand(__name__, _HOMES)
