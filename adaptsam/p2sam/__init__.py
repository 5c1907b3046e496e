"""P²SAM: a structure outlined on one image is found on another, with a promptable model and no training.

Zhao and Shen, "Part-aware Personalized Segment Anything Model for Patient-Specific Segmentation" (TMLR 2025).
The steps, one module each: the prior's part features (``part_features``, Eq. 1), their places on the target
(``prompt_selection``, Eq. 2), the masks (``cascade``), the distances between features (``feature_distances``), the
choice among candidates (``retrieval``), and all of it (``pair_segmentation``).

    prior = Prior.from_mask(model, embedding, mask)
    (result,) = segment(model, [Job(prior, target)])
    result.mask, result.points, result.distance
"""

from adaptsam.deprecated_names import RENAMED_CLASSES
from adaptsam.lazy_imports import names_on_demand
from adaptsam.p2sam.feature_distances import hungarian, jensen_shannon, wasserstein
from adaptsam.p2sam.p2sam_settings import (
    NATURAL,
    PAPER,
    PERSAM,
    RELEASED_LUNG,
    RELEASED_PERSEG,
    RELEASED_POLYP,
    P2SamSettings,
    ablation_settings,
)
from adaptsam.p2sam.pair_segmentation import Candidate, Job, Result, segment, segment_points
from adaptsam.p2sam.part_features import Prior
from adaptsam.p2sam.retrieval import EMPTY_DISTANCE

__all__ = [
    "EMPTY_DISTANCE",
    "NATURAL",
    "PAPER",
    "PERSAM",
    "RELEASED_LUNG",
    "RELEASED_PERSEG",
    "RELEASED_POLYP",
    "Candidate",
    "Job",
    "P2SamSettings",
    "Prior",
    "Result",
    "ablation_settings",
    "hungarian",
    "jensen_shannon",
    "segment",
    "segment_points",
    "wasserstein",
]

__getattr__ = names_on_demand(__name__, {}, RENAMED_CLASSES["p2sam"])
