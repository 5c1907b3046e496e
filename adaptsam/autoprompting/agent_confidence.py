"""Confidence of a slice or frame that an agent prompted."""

from __future__ import annotations

import numpy as np

from adaptsam.alignsam import Evidence
from adaptsam.slicewise.acceptance import Threshold
from adaptsam.slicewise.confidence import Continuity, accepted_confidence, rejected_confidence
from adaptsam.slicewise.volume_settings import ConfidenceSettings


def slice_confidence(
    evidence: Evidence,
    mask: np.ndarray,
    limit: Threshold,
    alike: Continuity | None,
    usual: Continuity,
    rules: ConfidenceSettings,
) -> float:
    """Confidence of a slice, 0 to 1; of an empty one, how clearly it was rejected.

    Args:
        evidence: what speaks for the mask; 1 - its total is the distance that ``limit`` judges.
        mask: bool (H, W), what was kept.
        limit: what is accepted.
        alike: the mask beside its neighbours; None where there are none.
        usual: how alike neighbours are as a rule.
        rules: how all of it is put together.
    """
    distance = 1.0 - evidence.total
    if not mask.any():
        return rejected_confidence(distance, limit.limit, rules)
    return accepted_confidence(distance, limit.limit, evidence.predicted_iou, alike, usual, rules)
