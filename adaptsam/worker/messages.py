"""Results as messages, and the function that tells them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from adaptsam.autoprompt import AutoPrompt
from adaptsam.correction import CorrectedSlice
from adaptsam.propagate import Propagation
from adaptsam.volumes.report import StructureReport
from adaptsam.worker import wire


class Emit(Protocol):
    """Tells an event of the request that is being answered."""

    def __call__(self, event: str, **content: Any) -> None: ...


def result_of(propagation: Propagation | AutoPrompt) -> wire.Message:
    """One target's structures and reports as a message."""
    masks = [wire.pack_mask(one.mask) for one in propagation.structures.structures]
    return {
        "structures": [
            {"name": report.name, "mask": mask, "report": _report_of(report)}
            for mask, report in zip(masks, propagation.reports, strict=True)
        ],
        "warnings": list(propagation.warnings),
        "encoded": propagation.encoded,
    }


def _report_of(report: StructureReport) -> wire.Message:
    return {
        "status": report.status,
        "volume_cm3": report.volume_cm3,
        "prior_volume_cm3": report.prior_volume_cm3,
        "centroid_shift_mm": report.centroid_shift_mm,
        "slice_axis": report.slice_axis,
        "slices": [
            {
                "index": one.index,
                "accepted": one.accepted,
                "interpolated": one.interpolated,
                "touches_limit": one.touches_limit,
                "confidence": float(one.confidence),
                "points": np.asarray(one.points, float).round(3).tolist(),
                "labels": np.asarray(one.labels, int).tolist(),
            }
            for one in report.slices
        ],
    }


def slice_of(made: CorrectedSlice) -> wire.Message:
    """A slice that was made anew as a message."""
    return {
        "axis": made.axis,
        "index": made.index,
        "mask": wire.pack_mask(made.mask),
        "points": np.asarray(made.points, float).round(3).tolist(),
        "labels": np.asarray(made.labels, int).tolist(),
        "confidence": float(made.confidence),
    }
