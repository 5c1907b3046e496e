"""A prior and a target slice side by side, and the confidence of each slice, as PNG.

Slices are shown as a radiologist expects them, whatever the order of the array: axial with the patient's right on the
left and the front on top, and in true proportions.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from PIL import Image

from adaptsam.autoprompting.prompt_drawing import NEGATIVE, POSITIVE
from adaptsam.image.orientation import PLANES, Orientation, canonical_orientation
from adaptsam.image.volume import Volume
from adaptsam.image.windowing import Window

Color = tuple[int, int, int]

#: The patient's sides along world axes 0, 1 and 2 (LPS): toward the negative and toward the positive end.
SIDES = (("R", "L"), ("A", "P"), ("I", "S"))
INK, FAINT, REJECTED = "#1c2733", "#8a96a3", "#d3d9df"


@dataclass(frozen=True)
class Pane:
    """One slice of a volume as it is drawn.

    ``slice`` counts along the array axis on which the slices run: k, unless a tool has turned the volume. ``contours``
    are masks on the grid of ``volume`` with their colours;
    without a colour, a mask only says where to look. ``points`` (n, 2) are the array's two in-slice indices, the
    faster one first: (i, j) where slices run along k. ``labels`` are 1 for a positive and 0 for a negative prompt.
    """

    volume: Volume
    window: Window
    plane: int
    slice: int
    title: str
    contours: Sequence[tuple[np.ndarray, Color | None]] = ()
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


def draw_pair(prior: Pane, target: Pane, field_of_view: float) -> bytes:
    """Two slices side by side at one scale, each centred on its first contour, as PNG.

    Args:
        field_of_view: the side of the square that is shown, in mm.
    """
    figure = Figure(figsize=(9.2, 4.88), dpi=100, facecolor="#0b0f13")
    for number, pane in enumerate((prior, target)):
        axes = figure.add_axes((0.004 + 0.499 * number, 0.006, 0.493, 0.93))
        _draw(axes, pane, field_of_view)
        figure.text(0.012 + 0.499 * number, 0.951, pane.title, color="#e8edf1", fontsize=9.5)
    return _png(figure)


def draw_confidence(slices: Sequence[tuple[int, float, bool]], color: Color) -> bytes:
    """The confidence, 0 to 1, of each slice as bars, as PNG; rejected slices in grey.

    Args:
        slices: the slice, its confidence, and whether its contour was accepted.
    """
    figure = Figure(figsize=(9.2, 1.5), dpi=100, facecolor="white")
    axes = figure.add_axes((0.045, 0.27, 0.945, 0.66))
    shade = "#" + "".join(f"{value:02x}" for value in color)
    for accepted, fill in ((False, REJECTED), (True, shade)):
        chosen = [(index, confidence) for index, confidence, taken in slices if taken == accepted]
        axes.bar([index for index, _ in chosen], [max(c, 0.015) for _, c in chosen], width=0.82, color=fill)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    indices = [index for index, *_ in slices] or [0]
    axes.set_xlim(min(indices) - 1, max(max(indices) + 1, min(indices) + 12))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.axhline(0.5, color=FAINT, linewidth=0.6, linestyle=(0, (4, 4)), zorder=0)
    axes.tick_params(length=0, labelsize=8, labelcolor=FAINT)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.spines["bottom"].set(visible=True, color=REJECTED)
    axes.set_xlabel("slice of the target", fontsize=8, color=FAINT, labelpad=1)
    return _png(figure)


def _draw(axes: Axes, pane: Pane, field_of_view: float) -> None:
    geometry = pane.volume.geometry
    orientation = canonical_orientation(geometry, pane.plane)
    canonical = orientation.geometry(geometry)
    index = orientation.stored_slice(pane.slice, geometry.shape)  # a flip is its own inverse
    dx, dy = canonical.spacing[:2]
    image = pane.window.rgb(orientation.apply(pane.volume.array)[index])
    height, width = image.shape[:2]
    axes.imshow(image, extent=(-dx / 2, (width - 0.5) * dx, (height - 0.5) * dy, -dy / 2), interpolation="bilinear")
    masks = [(orientation.apply(mask)[index], color) for mask, color in pane.contours]
    x, y = np.arange(width) * dx, np.arange(height) * dy
    for mask, color in reversed(masks):
        if color is not None and mask.any():
            # A rim of nothing closes the contour of a structure that is cut by the image's border.
            axes.contour(
                np.concatenate([[x[0] - dx], x, [x[-1] + dx]]),
                np.concatenate([[y[0] - dy], y, [y[-1] + dy]]),
                np.pad(mask, 1).astype(float),
                levels=[0.5],
                colors=[tuple(value / 255 for value in color)],
                linewidths=1.3,
            )
    _draw_points(axes, pane, orientation, (dx, dy))
    _frame(axes, _centre(masks, (dx, dy), (height, width)), (width * dx, height * dy), field_of_view)
    if pane.volume.array.ndim == 3:
        _letters(axes, pane.plane)
        _scale_bar(axes)


def _draw_points(axes: Axes, pane: Pane, orientation: Orientation, spacing: tuple[float, float]) -> None:
    """The prompts: positive ones as filled circles, negative ones as crosses, so that colour is not all that tells."""
    if len(pane.points) == 0:
        return
    geometry = pane.volume.geometry
    stored = np.insert(np.asarray(pane.points, float), 2 - orientation.order[0], pane.slice, axis=1)
    place = orientation.geometry(geometry).index(geometry.world(stored))[:, :2] * spacing
    for positive, marker, color in ((True, "o", POSITIVE), (False, "X", NEGATIVE)):
        chosen = place[(np.asarray(pane.labels) == 1) == positive]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=64, marker=marker, c=color, edgecolors="black", linewidths=0.9, zorder=3
        )


def _centre(
    masks: Sequence[tuple[np.ndarray, Color | None]], spacing: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    for mask, _ in masks:
        if mask.any():
            rows, columns = np.nonzero(mask)
            return float(columns.min() + columns.max()) / 2 * spacing[0], float(rows.min() + rows.max()) / 2 * spacing[
                1
            ]
    return (shape[1] - 1) / 2 * spacing[0], (shape[0] - 1) / 2 * spacing[1]


def _frame(axes: Axes, centre: tuple[float, float], size: tuple[float, float], field_of_view: float) -> None:
    """Show a square of ``field_of_view`` mm, moved so that it does not show more emptiness than it must."""
    limits = []
    for middle, length in zip(centre, size, strict=True):
        half = field_of_view / 2
        middle = length / 2 if field_of_view >= length else min(max(middle, half), length - half)
        limits.append((middle - half, middle + half))
    axes.set_xlim(*limits[0])
    axes.set_ylim(limits[1][1], limits[1][0])
    axes.set_aspect("equal")
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def _letters(axes: Axes, plane: int) -> None:
    """Letters of the patient's sides at the edges of the picture."""
    (row_axis, row_sign), (column_axis, column_sign) = PLANES[plane][1:]
    top, bottom = SIDES[row_axis][::row_sign]
    left, right = SIDES[column_axis][::column_sign]
    style: dict[str, Any] = {"transform": axes.transAxes, "color": "#e8edf1", "fontsize": 9}
    style |= {"ha": "center", "va": "center", "path_effects": [withStroke(linewidth=2, foreground="black")]}
    for x, y, letter in ((0.5, 0.97, top), (0.5, 0.03, bottom), (0.025, 0.5, left), (0.975, 0.5, right)):
        axes.text(x, y, letter, **style)


def _scale_bar(axes: Axes) -> None:
    left, right = axes.get_xlim()
    length = next(mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm <= (right - left) / 4 or mm == 1)
    share = length / (right - left)
    style: dict[str, Any] = {"color": "#e8edf1", "transform": axes.transAxes}
    outline = [withStroke(linewidth=3, foreground="black")]
    axes.plot([0.04, 0.04 + share], [0.045, 0.045], linewidth=1.6, path_effects=outline, **style)
    label = f"{length / 10:g} cm" if length >= 10 else f"{length} mm"
    axes.text(0.04, 0.06, label, fontsize=8, path_effects=outline, **style)


def _png(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
