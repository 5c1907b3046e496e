"""List of what to look at before a result is used: structures that jumped, and the slices of least confidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import slicer
from slicer.i18n import tr as _

from AdaptSAMLib import geometry, results
from AdaptSAMLib.results import Outcome

#: Slices trusted less than this are to be looked at, and empty ones that are surer to be so than this are not.
TRUSTED, SURELY_EMPTY = 0.7, 0.5

#: Per cent of the volume, and millimetres of the centre, beyond which a structure is flagged as a whole.
VOLUME_JUMP, SHIFT_JUMP = 30.0, 10.0

#: Letters of the world's axes as Slicer's slice views write them, below and above 0.
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass
class Review:
    """A slice to look at; ``index`` counts along ``axis`` of the array (0 for k), ``at`` is where to look, (i, j, k).

    ``whole``: it stands for the structure as a whole, which is shown on this slice.
    """

    target: object
    segmentId: str
    axis: int
    index: int
    confidence: float
    reason: str
    at: tuple
    whole: bool = False

    @property
    def key(self) -> tuple:
        """Key of it among the slices of a run; a structure as a whole is none of its slices."""
        return self.target.key, self.segmentId, -1 if self.whole else self.index

    @property
    def ras(self) -> tuple:
        """The place in the world, in millimetres."""
        return tuple(float(value) for value in geometry.worldOfVoxel(self.target.volumeNode, self.at))

    @property
    def place(self) -> str:
        """The slice, and its position in the world as slice views write it: "slice 45, S 34.5 mm"."""
        across = np.abs(geometry.ijkToWorld(self.target.volumeNode)[:3, 2 - self.axis])
        position, letters = self.ras[int(across.argmax())], _LETTERS[int(across.argmax())]
        return _("slice {index}, {letter} {position:.1f} mm").format(
            index=self.index, letter=letters[position >= 0], position=abs(position)
        )


@dataclass
class Structure:
    """A structure of one target with its slices to look at; ``flags`` say what is odd about it as a whole."""

    outcome: object
    segmentId: str
    name: str
    report: dict
    whole: Review
    flags: list = field(default_factory=list)
    slices: list = field(default_factory=list)

    @property
    def reviews(self) -> list:
        """Items to tick: the structure as a whole where it is flagged, and its slices."""
        return ([self.whole] if self.flags else []) + self.slices


def structures(outcomes: list[Outcome], names: dict) -> list:
    """The structures of all targets, in order."""
    return [
        _structure(outcome, segmentId, names[segmentId], report)
        for outcome in outcomes
        for segmentId, report in outcome.reports.items()
    ]


def _structure(outcome: Outcome, segmentId: str, name: str, report: dict) -> Structure:
    flags = _flags(report)
    middle = _middle(report, outcome.target)
    whole = _review(outcome.target, segmentId, report, middle, ", ".join(flags))
    whole.whole = True
    found = Structure(outcome, segmentId, name, report, whole, flags)
    for one in report["slices"]:
        reason = _reason(one, report)
        if reason:
            found.slices.append(_review(outcome.target, segmentId, report, one, reason))
    found.slices.sort(key=lambda one: one.confidence)
    return found


def _holds(one: dict) -> bool:
    return one["accepted"] or one["interpolated"]


def _reason(one: dict, report: dict) -> str:
    """Reason why a slice should be looked at, or ""."""
    if one["interpolated"]:
        return _("filled in between its neighbours")
    if one["accepted"]:
        if one["touches_limit"]:
            return _("runs into the limit of the search")
        return _("low confidence") if one["confidence"] < TRUSTED else ""
    return _whyEmpty(one, report)


def _whyEmpty(one: dict, report: dict) -> str:
    """An empty slice may be wrong in a gap, at an end of the structure, and where nothing at all was found."""
    held = [other["index"] for other in report["slices"] if _holds(other)]
    if not held:
        surest = max(report["slices"], key=lambda other: (-other["confidence"], -other["index"]))
        return _("empty, as all slices are") if one is surest else ""
    if min(held) < one["index"] < max(held):
        return _("empty, between slices that are not")
    beside = one["index"] in (min(held) - 1, max(held) + 1)
    return _("empty, beside the last one that is not") if beside and one["confidence"] < SURELY_EMPTY else ""


def _flags(report: dict) -> list:
    """Reasons to look at a structure as a whole, in words."""
    outside = {"outside": _("outside of the image"), "partly outside": _("partly outside of the image")}
    if "pixels" in report or report["status"] in outside:
        return [outside[report["status"]]] if report["status"] in outside else []
    volume, before = results.amounts(report)
    found = []
    change = 100 * (volume - before) / before if before and np.isfinite(before) else 0.0
    if abs(change) > VOLUME_JUMP:
        found.append(_("volume {change:+.0f} %").format(change=change))
    shift = report.get("centroid_shift_mm", float("nan"))
    if np.isfinite(shift) and shift > SHIFT_JUMP:
        found.append(_("moved by {shift:.0f} mm").format(shift=shift))
    return found


def _middle(report: dict, target: results.Target) -> dict:
    """The middle one of the slices that hold the structure."""
    held = sorted((one for one in report["slices"] if _holds(one)), key=lambda one: one["index"])
    if held:
        return held[len(held) // 2]
    length = target.volumeNode.GetImageData().GetDimensions()[2 - report["slice_axis"]]
    return {"index": length // 2, "confidence": 0.0, "points": [], "labels": []}


def _review(target: results.Target, segmentId: str, report: dict, one: dict, reason: str) -> Review:
    axis = report["slice_axis"]
    dimensions = target.volumeNode.GetImageData().GetDimensions()
    at = [(length - 1) / 2 for length in dimensions]
    points = _positive(one) or _positive(_nearest(report, one["index"]))
    if points:
        at = list(np.insert(np.mean(points, axis=0), 2 - axis, 0.0))
    at[2 - axis] = one["index"]
    return Review(target, segmentId, axis, one["index"], one["confidence"], reason, tuple(at))


def _positive(one: dict) -> list:
    return [point for point, label in zip(one.get("points", ()), one.get("labels", ())) if label == 1]


def _nearest(report: dict, index: int) -> dict:
    """The slice with the structure that lies next to another one."""
    held = [one for one in report["slices"] if _holds(one)]
    return min(held, key=lambda one: abs(one["index"] - index)) if held else {}


def jump(review: Review) -> None:
    """Show a slice in all slice views, and its image where a view shows another one."""
    shown = results.bringUp(review.target).GetID()
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        if shown not in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()):
            view.SetBackgroundVolumeID(shown)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *review.ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
