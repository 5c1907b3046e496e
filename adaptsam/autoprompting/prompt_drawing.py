"""Drawings of an agent's steps on images: its prompts so far and the mask that followed, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

if TYPE_CHECKING:
    from adaptsam.alignsam import Prompted

#: The colours of points for and against, in all pictures.
POSITIVE, NEGATIVE = "#7CFC9A", "#FF5A5A"
STEPS = (0, 1, 3, 7, 15)


def draw_prompts(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray | None],
    results: Sequence[Prompted],
    steps: Sequence[int] = STEPS,
    side: float = 2.0,
) -> bytes:
    """One row an image: after the first pair, and after so many steps; truth outlined, positive points green.

    Args:
        images: uint8 (H, W) or (H, W, 3).
        truths: bool (H, W), or None.
        results: with their step masks.
        steps: which; later ones than were made show the last.
        side: of one picture, in inches of 100 pixels.

    Returns:
        PNG.
    """
    columns, rows = len(steps), len(images)
    figure = Figure(figsize=(side * columns, side * rows), dpi=100, facecolor="#0b0f13")
    for row, (image, truth, result) in enumerate(zip(images, truths, results, strict=True)):
        assert result.step_masks is not None
        for column, step in enumerate(steps):
            index = min(step, len(result.step_masks) - 1)
            axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 0.985 / columns, 0.985 / rows))
            axes.set_axis_off()
            axes.imshow(image, cmap="gray")
            mask = result.step_masks[index]
            axes.imshow(np.ma.masked_where(~mask, mask), cmap="autumn", alpha=0.35, vmin=0, vmax=1)
            if truth is not None and truth.any() and not truth.all():
                axes.contour(truth, [0.5], colors="#5ab0ff", linewidths=0.8)
            given = result.first + index
            colours = np.where(result.labels[:given] > 0, POSITIVE, NEGATIVE)
            x, y = result.points[:given].T
            axes.scatter(x, y, s=14, c=colours, edgecolors="black", linewidths=0.5)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def as_pixels(png: bytes) -> np.ndarray:
    """A PNG as uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
