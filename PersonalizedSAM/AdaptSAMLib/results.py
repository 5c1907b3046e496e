"""What a run leaves beside the segmentations: a table, a plot over visits or phases, and the slices to review."""

from dataclasses import dataclass, field

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from AdaptSAMLib import geometry
from AdaptSAMLib.charts import addLine, newChart

#: Slices trusted less than this are to be reviewed.
REVIEW_BELOW = 0.7

#: What marks a run's tables, so that a correction is told in them, too: "results" or "plot".
ROLE = "AdaptSAM.table"


@dataclass
class Target:
    """An image to segment: a volume of the scene, or one item of a sequence."""

    key: str
    title: str
    volumeNode: object
    sequenceNode: object = None
    browserNode: object = None
    item: int = -1
    dimensions: tuple = ()


@dataclass
class Outcome:
    """What came of one target: a segmentation, and for each segment ID the report of the worker."""

    target: Target
    segmentationNode: object
    reports: dict = field(default_factory=dict)
    warnings: list = field(default_factory=list)


@dataclass
class Review:
    """A slice to look at; ``index`` counts along ``axis`` of the array (0 for k), ``at`` is where to look, (i, j, k)."""

    target: Target
    segmentId: str
    name: str
    axis: int
    index: int
    confidence: float
    reason: str
    at: tuple

    @property
    def ras(self) -> tuple:
        """The place in the world, in millimetres."""
        return tuple(float(value) for value in geometry.worldOfVoxel(self.target.volumeNode, self.at))


def there(target: Target) -> bool:
    """Whether a target is still in the scene, with the voxels that it had when the run began."""
    nodes = [target.sequenceNode, target.browserNode] if target.sequenceNode is not None else [target.volumeNode]
    image = target.volumeNode.GetImageData()
    same = image is not None and target.dimensions in ((), image.GetDimensions())
    return same and all(one is None or one.GetScene() is slicer.mrmlScene for one in nodes)


def check(target: Target) -> None:
    """Raises InputProblem where a target is gone, or has other voxels than its result."""
    if not there(target):
        raise geometry.InputProblem(
            _("{name} was removed from the scene or resampled since the run; press Apply again.").format(
                name=target.title
            )
        )


def setAmount(report: dict, count: int, volumeNode) -> None:
    """How many voxels a structure has after it was changed by hand; nobody knows then how far it has moved."""
    report["status"] = "corrected"
    if "pixels" in report:
        report["pixels"], report["centroid_shift_pixels"] = count, float("nan")
        return
    voxel = abs(np.linalg.det(geometry.ijkToWorld(volumeNode)[:3, :3]))
    report["volume_cm3"], report["centroid_shift_mm"] = count * voxel / 1000, float("nan")


def setSlice(report: dict, event: dict, accepted: bool) -> None:
    """What the worker told of a slice that was made anew, into the report of its structure."""
    known = next((one for one in report["slices"] if one["index"] == event["index"]), None)
    if known is None:
        known = {"index": event["index"]}
        report["slices"].append(known)
    known.update(accepted=accepted, interpolated=False, touches_limit=False, confidence=event["confidence"])
    known.update(points=event["points"], labels=event["labels"], clicked=event.get("clicked", []))


def reviews(outcomes, names: dict) -> list:
    """The slices to review of all targets, the least trusted first."""
    found = []
    for outcome in outcomes:
        for segmentId, report in outcome.reports.items():
            for one in report["slices"]:
                reason = _reason(one)
                if reason:
                    found.append(_review(outcome.target, segmentId, names[segmentId], report, one, reason))
    return sorted(found, key=lambda one: one.confidence)


def _reason(one: dict) -> str:
    if one["interpolated"]:
        return _("filled in between its neighbours")
    if one["touches_limit"]:
        return _("runs into the limit of the search")
    return _("low confidence") if one["accepted"] and one["confidence"] < REVIEW_BELOW else ""


def _review(target: Target, segmentId: str, name: str, report: dict, one: dict, reason: str) -> Review:
    axis = report["slice_axis"]
    dimensions = target.volumeNode.GetImageData().GetDimensions()
    at = [(length - 1) / 2 for length in dimensions]
    positive = [point for point, label in zip(one["points"], one["labels"]) if label == 1]
    if positive:
        at = list(np.insert(np.mean(positive, axis=0), 2 - axis, 0.0))
    at[2 - axis] = one["index"]
    return Review(target, segmentId, name, axis, one["index"], one["confidence"], reason, tuple(at))


def amounts(report: dict) -> tuple:
    """How much there is, and was in the prior: in cm³, or on a frame of a video in pixels."""
    if "pixels" in report:
        return report["pixels"], report["prior_pixels"]
    return report["volume_cm3"], report["prior_volume_cm3"]


def _ofVideo(outcomes) -> bool:
    return any("pixels" in report for outcome in outcomes for report in outcome.reports.values())


def units(outcomes) -> tuple:
    """What amounts and shifts are counted in."""
    return (_("pixels"), _("pixels")) if _ofVideo(outcomes) else (_("cm³"), _("mm"))


def digits(outcomes) -> int:
    """Of an amount, after the point."""
    return 0 if _ofVideo(outcomes) else 2


def figures(report: dict, places: int) -> list:
    """Of one structure in one target, as texts: amount, change from the prior, shift, mean confidence, slices to review.

    ``places`` of the amount stand after the point; what there is not is a dash.
    """
    kept = [one["confidence"] for one in report["slices"] if one["accepted"] or one["interpolated"]]
    volume, before = amounts(report)
    shift = report.get("centroid_shift_pixels", report.get("centroid_shift_mm", float("nan")))
    return [
        shown(volume, places),
        shown(100 * (volume - before) / before if before and np.isfinite(before) else None, 1),
        shown(shift if np.isfinite(shift) else None, 1),
        shown(float(np.mean(kept)) if kept else None, 2),
        str(sum(bool(_reason(one)) for one in report["slices"])),
    ]


def makeTable(outcomes, names: dict, title: str, prior: bool = True):
    """A table node with one row for each structure of each target; with changes where there is a prior."""
    columns = _columns(outcomes, names, prior)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(title))
    modifying = node.StartModify()
    for name, values in columns.items():
        array = vtk.vtkStringArray()
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetAttribute(ROLE, "results")
    node.SetLocked(True)
    node.EndModify(modifying)
    return node


def tellAgain(node, outcomes, names: dict) -> None:
    """A table that :func:`makeTable` or :func:`makePlot` made, with what the reports say now."""
    if node.GetAttribute(ROLE) == "results":
        columns = _columns(outcomes, names)
    else:
        columns = {name: _amounts(outcomes, segmentId) for segmentId, name in names.items()}
    modifying = node.StartModify()
    for name, values in columns.items():
        array = node.GetTable().GetColumnByName(name)
        first = array.GetNumberOfValues() - len(values) if array is not None else 0  # a plot may begin with the prior
        for row, value in enumerate(values if array is not None else []):
            array.SetValue(first + row, value)
    node.GetTable().Modified()
    node.Modified()
    node.EndModify(modifying)


def _columns(outcomes, names: dict, prior: bool = True) -> dict:
    unit, length = units(outcomes)
    titles = [_("Target"), _("Structure"), _("Status"), _("Volume ({unit})").format(unit=unit)]
    change, shift = _("Change from prior (%)"), _("Centroid shift ({unit})").format(unit=length)
    columns: dict = {title: [] for title in [*titles, change, shift, _("Confidence"), _("Slices to review")]}
    for outcome in outcomes:
        for segmentId, report in outcome.reports.items():
            values = [outcome.target.title, names[segmentId], report["status"], *figures(report, digits(outcomes))]
            for column, value in zip(columns.values(), values):
                column.append(value)
    if not prior:
        del columns[change], columns[shift]
    return columns


def _amounts(outcomes, segmentId: str) -> list:
    """How much there is of a structure in all targets, NaN where it has no report."""
    reports = [outcome.reports.get(segmentId) for outcome in outcomes]
    return [amounts(report)[0] if report else float("nan") for report in reports]


def shown(value, digits: int) -> str:
    """A figure as people read it, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def makePlot(outcomes, names: dict, colors: dict, title: str, priorVolumes=None) -> list:
    """Volumes over the prior (if there is one) and all targets, one line a structure; returns the nodes it made."""
    scene = slicer.mrmlScene
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(title + " " + _("data")))
    first = [_("prior")] if priorVolumes else []
    labels, numbers = vtk.vtkStringArray(), vtk.vtkDoubleArray()
    labels.SetName(_("Image"))
    numbers.SetName(_("Number"))
    for number, label in enumerate([*first, *(one.target.title for one in outcomes)]):
        labels.InsertNextValue(label)
        numbers.InsertNextValue(number)
    table.AddColumn(labels)
    table.AddColumn(numbers)
    chart = newChart(title, title, _("Image"), _("Volume ({unit})").format(unit=units(outcomes)[0]))
    table.SetAttribute(ROLE, "plot")
    made = [table, chart]
    for segmentId, name in names.items():
        values = vtk.vtkDoubleArray()
        values.SetName(name)
        if priorVolumes:
            values.InsertNextValue(priorVolumes[segmentId])
        for amount in _amounts(outcomes, segmentId):
            values.InsertNextValue(amount)
        table.AddColumn(values)
        made.append(addLine(chart, table, numbers.GetName(), name, colors[segmentId], labels.GetName()))
    return made


def bringUp(target: Target):
    """The volume of a target as it can be seen: of a sequence, its browser is moved to the item first."""
    check(target)
    if target.browserNode is None:
        return target.volumeNode
    target.browserNode.SetSelectedItemNumber(target.item)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(target.browserNode)
    return target.browserNode.GetProxyNode(target.sequenceNode)


def jump(review: Review) -> None:
    """Show a slice in all slice views, and its image where a view shows another one."""
    shown = bringUp(review.target).GetID()
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        if shown not in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()):
            view.SetBackgroundVolumeID(shown)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *review.ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
