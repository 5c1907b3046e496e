"""A run's reports as a table and a plot of the scene, which follow corrections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from AdaptSAMLib import results, review
from AdaptSAMLib.charts import addLine, newChart
from AdaptSAMLib.results import Outcome

#: Attribute of a run's tables, which a correction updates, too: "results" or "plot".
ROLE = "AdaptSAM.table"


def _ofVideo(outcomes: Sequence[Outcome]) -> bool:
    return any("pixels" in report for outcome in outcomes for report in outcome.reports.values())


def units(outcomes: list[Outcome]) -> tuple:
    """Units of amounts and shifts."""
    return (_("pixels"), _("pixels")) if _ofVideo(outcomes) else (_("cm³"), _("mm"))


def digits(outcomes: list[Outcome]) -> int:
    """Digits of an amount after the point."""
    return 0 if _ofVideo(outcomes) else 2


def numbers(report: dict) -> dict:
    """Figures of one structure in one target: "amount", "change" from the prior in per cent, "shift", mean "confidence"; NaN where there is none."""
    kept = [one["confidence"] for one in report["slices"] if one["accepted"] or one["interpolated"]]
    volume, before = results.amounts(report)
    return {
        "amount": volume,
        "change": 100 * (volume - before) / before if before and np.isfinite(before) else float("nan"),
        "shift": report.get("centroid_shift_pixels", report.get("centroid_shift_mm", float("nan"))),
        "confidence": float(np.mean(kept)) if kept else float("nan"),
    }


def makeTable(outcomes: list[Outcome], names: dict, title: str, prior: bool = True) -> slicer.vtkMRMLTableNode:
    """A table node with one row for each structure of each target; with changes where there is a prior."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(title))
    modifying = node.StartModify()
    for name, values in _columns(outcomes, names, prior).items():
        array = vtk.vtkStringArray() if name in _texts() else vtk.vtkDoubleArray()
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetAttribute(ROLE, "results")
    node.SetLocked(True)
    node.EndModify(modifying)
    return node


def tellAgain(node: slicer.vtkMRMLTableNode, outcomes: list[Outcome], names: dict) -> None:
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


def _texts() -> tuple:
    """The columns that hold words; all others hold numbers, which can be sorted, plotted and computed with."""
    return _("Target"), _("Structure"), _("Status")


def status(report: dict) -> str:
    """State of a structure in words; reports have the worker's own word, which scripts compare."""
    words = {
        "found": _("found"),
        "corrected": _("corrected"),
        "carried": _("carried over, not compared"),
        "gone": _("gone"),
        "not found": _("not found"),
        "too small": _("too small for the model"),
        "outside": _("outside of the image"),
        "partly outside": _("partly outside of the image"),
    }
    return words.get(report["status"], report["status"])


def _columns(outcomes: Sequence[Outcome], names: dict, prior: bool = True) -> dict:
    unit, length = units(outcomes)
    changes = [_("Change from prior (%)"), _("Centroid shift ({unit})").format(unit=length)] if prior else []
    titles = [*_texts(), _("Volume ({unit})").format(unit=unit), *changes, _("Confidence"), _("Slices to review")]
    columns: dict = {title: [] for title in titles}
    for one in review.structures(outcomes, names):
        told = {
            key: round(value, 3)
            for key, value in numbers(one.report).items()
            if prior or key not in ("change", "shift")
        }
        row = [one.outcome.target.title, one.name, status(one.report), *told.values(), float(len(one.slices))]
        for column, value in zip(columns.values(), row):
            column.append(value)
    return columns


def _amounts(outcomes: Sequence[Outcome], segmentId: str) -> list:
    """Amounts of a structure in all targets, NaN where it has no report."""
    reports = [outcome.reports.get(segmentId) for outcome in outcomes]
    return [results.amounts(report)[0] if report else float("nan") for report in reports]


def shown(value: float, digits: int) -> str:
    """A figure as people read it, or a dash where there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def makePlot(outcomes: list[Outcome], names: dict, colors: dict, title: str, priorVolumes: dict | None = None) -> list:
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
