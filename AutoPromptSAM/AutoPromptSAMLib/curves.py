"""The curves of a training as a table and charts of the scene, which grow with every episode."""

from __future__ import annotations

import slicer
import vtk
from AdaptSAMLib.charts import addLine, newChart
from slicer.i18n import tr as _

#: Columns of the table: their titles, and how they are read from an episode.
COLUMNS = {
    "return": (_("Return"), lambda one: one["mean_return"]),
    "first": (_("IoU after the first pair"), lambda one: one["iou"][0]),
    "last": (_("IoU after the last step"), lambda one: one["iou"][-1]),
    "labels": (_("Labels that are right"), lambda one: one["label_accuracy"]),
    "actor": (_("Loss of the actor"), lambda one: one["loss_actor"]),
    "critic": (_("Loss of the critic"), lambda one: one["loss_critic"]),
    "recalibration": (_("Loss of the recalibration"), lambda one: one["loss_recalibration"]),
}

#: Charts by what they show: title of the axis, columns.
CHARTS = {
    "return": (_("Return"), ("return",)),
    "overlap": (_("Overlap, and share of right labels"), ("first", "last", "labels")),
    "losses": (_("Loss"), ("actor", "critic", "recalibration")),
}
COLORS = ((0.06, 0.43, 0.52), (0.86, 0.24, 0.2), (0.48, 0.31, 0.71))


class Curves:
    """One training's curves.

    Args:
        name: of the agent.

    Attributes:
        table, charts: nodes, from the first episode on; charts by the keys of CHARTS.
        summary: the last episode in a few words.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.table, self.charts, self.summary = None, {}, ""

    def show(self, episodes: list[dict]) -> list:
        """All episodes so far; returns the nodes that were made for it."""
        made = self._make() if self.table is None or self.table.GetScene() is not slicer.mrmlScene else []
        modifying = self.table.StartModify()
        values = {_("Episode"): [float(number + 1) for number in range(len(episodes))]}
        values |= {title: [read(one) for one in episodes] for title, read in COLUMNS.values()}
        for title, numbers in values.items():
            array = self.table.GetTable().GetColumnByName(title)
            array.SetNumberOfValues(len(numbers))
            for row, number in enumerate(numbers):
                array.SetValue(row, number)
            array.Modified()
        self.table.GetTable().Modified()
        self.table.Modified()
        self.table.EndModify(modifying)
        last = episodes[-1]
        self.summary = _("return {score:.1f}, IoU {first:.2f} to {last:.2f}").format(
            score=last["mean_return"], first=last["iou"][0], last=last["iou"][-1]
        )
        return made

    def _make(self) -> list:
        scene = slicer.mrmlScene
        title = _("Training of {name}").format(name=self._name)
        self.table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(title))
        self.table.SetLocked(True)
        for column in (_("Episode"), *(title for title, _read in COLUMNS.values())):
            array = vtk.vtkDoubleArray()
            array.SetName(column)
            self.table.AddColumn(array)
        made = [self.table]
        for key, (axis, columns) in CHARTS.items():
            chart = self.charts[key] = newChart(title, f"{title}: {axis}", _("Episode"), axis)
            made.append(chart)
            for color, column in zip(COLORS, columns):
                made.append(addLine(chart, self.table, _("Episode"), COLUMNS[column][0], color))
        return made
