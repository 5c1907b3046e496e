"""Plots of an evaluation: every case's figure by method, and confidence against Dice; PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adaptsam.evaluation.case_statistics import Calibration
from adaptsam.evaluation.evaluation_cases import Measure
from adaptsam.report.line_charts import FAINT, LINE, SHADES


def draw_cases(values: Mapping[str, Mapping[str, float]], measure: Measure) -> bytes:
    """One line a method (title → case → figure): every case as a dot, a box of the quartiles, the mean as a tick."""
    titles = [title for title, cases in values.items() if cases]
    figure = Figure(figsize=(9.2, 0.9 + 0.36 * len(titles)), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    scale = 100 if measure.percent else 1
    for place, title in enumerate(reversed(titles)):
        numbers = scale * np.array([value for value in values[title].values() if np.isfinite(value)])
        if not len(numbers):
            continue
        low, high = np.percentile(numbers, [25, 75])
        axes.barh(place, high - low, left=low, height=0.5, color=SHADES[0], alpha=0.18)
        spread = rng.uniform(-0.16, 0.16, len(numbers))
        axes.scatter(numbers, place + spread, s=16, color=SHADES[0], alpha=0.6, linewidths=0)
        axes.plot([numbers.mean()] * 2, [place - 0.3, place + 0.3], color=SHADES[1], linewidth=2)
    axes.margins(x=0.03)
    axes.set_yticks(range(len(titles)), list(reversed(titles)))
    axes.set_title(f"{measure.title} of every case; the red line is the mean", fontsize=8.5, color=FAINT, loc="left")
    _plain(axes, "x")
    return _png(figure)


def draw_calibration(found: Mapping[str, Calibration]) -> bytes:
    """Confidence against Dice of every slice, a panel a method; the line is the mean of tenths."""
    figure = Figure(figsize=(9.2, 3.4), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(1, max(2, len(found)), squeeze=False)[0]
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    for axes, (title, one) in zip(panels, found.items(), strict=False):
        confidence, dice = one.points.T
        axes.scatter(confidence, dice, s=7, color=SHADES[0], alpha=0.35, linewidths=0)
        groups = [part for part in np.array_split(np.argsort(confidence, kind="stable"), 10) if len(part)]
        axes.plot(
            [confidence[p].mean() for p in groups], [dice[p].mean() for p in groups], color=SHADES[1], linewidth=2
        )
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.7, linestyle=(0, (4, 4)))
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="Dice of the slice")
        axes.set_title(title, fontsize=8.5, color=FAINT, loc="left")
        _plain(axes, "both")
    return _png(figure)


def _plain(axes: Axes, grid: Literal["x", "both"]) -> None:
    axes.grid(axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, labelcolor=FAINT)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.xaxis.label.set(fontsize=8, color=FAINT)
    axes.yaxis.label.set(fontsize=8, color=FAINT)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
