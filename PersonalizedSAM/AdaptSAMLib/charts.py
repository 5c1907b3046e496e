"""Charts over the columns of a table node."""

import slicer


def newChart(title: str, name: str, xAxis: str, yAxis: str):
    """An empty chart in the scene; ``name`` is the node's."""
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", slicer.mrmlScene.GenerateUniqueName(name))
    chart.SetTitle(title)
    chart.SetXAxisTitle(xAxis)
    chart.SetYAxisTitle(yAxis)
    return chart


def addLine(chart, table, xColumn: str, yColumn: str, color, labelColumn: str = ""):
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
