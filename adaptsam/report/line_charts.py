"""Curves over phases or frames, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

FAINT, LINE = "#5d6b78", "#d3d9df"
SHADES = ("#0f6e84", "#c2572b", "#5b4bb5")


@dataclass(frozen=True, eq=False)
class Panel:
    """Curves that share an axis: ``title`` with the unit, and by label one value for each place; NaN leaves a gap."""

    title: str
    curves: Sequence[tuple[str, np.ndarray]]
    limits: tuple[float, float] | None = None


def draw_curves(panels: Sequence[Panel], places: Sequence[str] | None, xlabel: str) -> bytes:
    """Panels below each other over the same places, as PNG.

    Args:
        places: what each value is called, for example the phases; ``None`` numbers them from 0.
        xlabel: what the places are.
    """
    figure = Figure(figsize=(9.2, 0.5 + 1.7 * len(panels)), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for one, panel in zip(axes, panels, strict=True):
        for (label, values), shade in zip(panel.curves, SHADES, strict=False):
            marker = "o" if len(values) <= 60 else None
            one.plot(
                np.arange(len(values)), values, color=shade, linewidth=1.3, marker=marker, markersize=3, label=label
            )
        one.set_title(panel.title, fontsize=8.5, color=FAINT, loc="left")
        one.grid(axis="y", color=LINE, linewidth=0.6)
        one.tick_params(length=0, labelsize=8, labelcolor=FAINT)
        one.spines[["top", "right", "left"]].set_visible(False)
        one.spines["bottom"].set_color(LINE)
        if panel.limits:
            one.set_ylim(*panel.limits)
        if len(panel.curves) > 1:
            one.legend(fontsize=8, frameon=False, ncols=len(panel.curves), loc="lower right", bbox_to_anchor=(1, 0.98))
    axes[-1].set_xlabel(xlabel, fontsize=8, color=FAINT)
    if places is None:
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes[-1].set_xticks(range(len(places)), places)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
