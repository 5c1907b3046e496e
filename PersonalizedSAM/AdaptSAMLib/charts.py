"""Charts over the columns of a table node."""

from __future__ import annotations

from collections.abc import Sequence

import slicer


def newChart(title: str, name: str, xAxis: str, yAxis: str) -> slicer.vtkMRMLPlotChartNode:
    """An empty chart in the scene; ``name`` is the node's."""
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", slicer.mrmlScene.GenerateUniqueName(name))
    chart.SetTitle(title)
    chart.SetXAxisTitle(xAxis)
    chart.SetYAxisTitle(yAxis)
    return chart


def addLine(
    chart: slicer.vtkMRMLPlotChartNode,
    table: slicer.vtkMRMLTableNode,
    xColumn: str,
    yColumn: str,
    color: Sequence[float],
    labelColumn: str = "",
) -> slicer.vtkMRMLPlotSeriesNode:
    """One column over another as a line of the chart; returns its node."""
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", yColumn)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(xColumn)
    series.SetYColumnName(yColumn)
    if labelColumn:
        series.SetLabelColumnName(labelColumn)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(color)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series
