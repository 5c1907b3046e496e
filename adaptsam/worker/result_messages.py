"""Results as messages, and the function that tells them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from adaptsam.autoprompting.volume_autoprompting import AutoPrompt
from adaptsam.image.remarks import rows_of
from adaptsam.propagation.click_evidence import CorrectedSlice
from adaptsam.propagation.volume_propagation import Propagation
from adaptsam.slicewise.slice_report import StructureReport
from adaptsam.worker import wire_format as wire


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
        "remarks": rows_of(propagation.remarks),
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
                "interpolated": one.interpolated or one.carried,  # not found there, and filled
                "touches_limit": one.touches_limit,
                "confidence": float(one.confidence),
                **prompts_of(one),
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
        **prompts_of(made),
        "confidence": float(made.confidence),
    }


class Prompted(Protocol):
    """A slice or frame with its points (n, 2), faster axis first, and labels (n,)."""

    @property
    def points(self) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray: ...


def prompts_of(one: Prompted) -> wire.Message:
    """The prompts of a slice as part of a message, to a thousandth of a voxel."""
    points, labels = np.asarray(one.points, float), np.asarray(one.labels, int)
    return {"points": points.round(3).tolist(), "labels": labels.tolist()}


def asked_prompts(request: wire.Message) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Points (n, 2), labels (n,), and which of them a person placed, or None where the client does not say."""
    points, labels = np.array(request["points"], float).reshape(-1, 2), np.array(request["labels"], int)
    return points, labels, np.array(request["clicked"], bool) if "clicked" in request else None
