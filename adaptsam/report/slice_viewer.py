"""All slices of a structure in the report: prior and target side by side, with a slider, and keys for flagged slices.

The pictures are small JPEGs within the page. The page's only script is ``templates/slice_viewer.js``; the page
allows that one by its hash and nothing else. Without scripts, and on paper, the report's still pictures are shown.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from adaptsam.image.orientation import canonical_orientation
from adaptsam.image.volume import Volume
from adaptsam.report import html_page as page
from adaptsam.report.slice_pictures import NEGATIVE, POSITIVE, Pane

#: What all viewers of a page may hold, in bytes of JPEG; as text in the page it is a third more.
PAGE_BYTES = 4_500_000
#: Of a side of one pane in pixels; a JPEG has about so many bytes a pixel.
LARGEST, SMALLEST, BYTES_A_PIXEL = 320, 128, 0.14
QUALITY = 72
#: Below this confidence a slice is flagged.
FLAGGED = 0.5


@dataclass(frozen=True)
class ViewedSlice:
    """One position of the slider: both panes, what is said below them, and whether a person should look at it."""

    prior: Pane | None
    target: Pane
    words: str
    flagged: bool


def viewer(key: str, name: str, slices: Sequence[ViewedSlice], field_of_view: float, most_bytes: int) -> Markup:
    """The HTML of one structure's slices.

    Args:
        key: the viewer's name on the page; links to a slice are ``#key`` with ``data-slice``.
        slices: in the order of the slider.
        field_of_view: the side in mm of the square that is shown.
        most_bytes: of all its JPEGs; slices are drawn smaller, and where that is not enough, every second one is left
            out that is not flagged.
    """
    if not slices:
        return Markup()
    pictures = _within(slices, field_of_view, most_bytes)
    shown = [number for number, picture in enumerate(pictures) if picture]
    data = [
        {
            "slice": slices[number].target.slice,
            "words": slices[number].words,
            "flagged": slices[number].flagged,
            "jpeg": base64.b64encode(pictures[number]).decode(),
        }
        for number in shown
    ]
    thinned = "" if len(shown) == len(slices) else f" ({len(shown)} of {len(slices)}, to keep this file small)"
    what = "prior and target side by side" if slices[0].prior else "as it is, and with what was found"
    label = f"All slices of {name}{thinned}: {what}"
    # "<" is written so that no text can end the element.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return page.viewer(key, name, label, len(shown) - 1, Markup(text))


def _within(slices: Sequence[ViewedSlice], field_of_view: float, most_bytes: int) -> list[bytes]:
    """A JPEG for each slice, together no larger than requested; empty for those that were left out."""
    panes = 2 * len(slices)
    side = int(min(max(math.sqrt(most_bytes / (panes * BYTES_A_PIXEL)), SMALLEST), LARGEST))
    places = _Places(slices)
    pictures = [_jpeg(one, places, field_of_view, side) for one in slices]
    step = 2
    while sum(map(len, pictures)) > most_bytes and step < 2 * len(slices):
        pictures = [
            picture if number % step == 0 or (slices[number].flagged and step < 8) else b""
            for number, picture in enumerate(pictures)
        ]
        step *= 2
    return pictures


class _Places:
    """Places of both panes, the same for all slices, so that the picture stands still while the slider moves."""

    def __init__(self, slices: Sequence[ViewedSlice]) -> None:
        self.target = _middle([one.target for one in slices])
        self.prior = _middle([one.prior for one in slices if one.prior is not None])


def _middle(panes: Sequence[Pane]) -> tuple[float, float]:
    """The middle in mm of what is contoured on any of the slices, of the whole slice where nothing is."""
    if not panes:
        return (0.0, 0.0)
    volume = panes[0].volume
    orientation = canonical_orientation(volume.geometry, panes[0].plane)
    dx, dy = orientation.geometry(volume.geometry).spacing[:2]
    drawn = orientation.apply(panes[0].contours[0][0]) if panes[0].contours else np.zeros((1, 1, 1), bool)
    flat = drawn.any(axis=0)
    if not flat.any():
        height, width = orientation.apply(volume.array).shape[1:3]
        return ((width - 1) / 2 * dx, (height - 1) / 2 * dy)
    rows, columns = np.nonzero(flat)
    return (float(columns.min() + columns.max()) / 2 * dx, float(rows.min() + rows.max()) / 2 * dy)


def _jpeg(one: ViewedSlice, places: _Places, field_of_view: float, side: int) -> bytes:
    panes = [_draw(one.target, places.target, field_of_view, side)]
    if one.prior is not None:
        panes.insert(0, _draw(one.prior, places.prior, field_of_view, side))
    picture = Image.new("RGB", (len(panes) * side + 4 * (len(panes) - 1), side), (11, 15, 19))
    for number, pane in enumerate(panes):
        picture.paste(pane, (number * (side + 4), 0))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _draw(pane: Pane, middle: tuple[float, float], field_of_view: float, side: int) -> Image.Image:
    """One pane of ``side`` pixels around ``middle`` in mm of the canonical slice."""
    geometry = pane.volume.geometry
    orientation = canonical_orientation(geometry, pane.plane)
    index = orientation.stored_slice(pane.slice, geometry.shape)
    dx, dy = orientation.geometry(geometry).spacing[:2]
    scale = field_of_view / side
    left, top = ((centre - field_of_view / 2) / step + 0.5 for centre, step in zip(middle, (dx, dy), strict=True))
    place = (scale / dx, 0.0, left, 0.0, scale / dy, top)

    def shown(array: np.ndarray) -> Image.Image:
        image = Image.fromarray(array)
        return image.transform((side, side), Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)

    picture = np.array(shown(pane.window.rgb(orientation.apply(pane.volume.array)[index])))
    for mask, color in reversed(pane.contours):
        if color is not None:
            inside = np.array(shown(orientation.apply(mask)[index].astype(np.uint8) * 255)) > 127
            picture[_border(inside)] = color
    drawn = Image.fromarray(picture)
    _draw_points(ImageDraw.Draw(drawn), pane, middle, scale, side)
    return drawn


def _border(inside: np.ndarray) -> np.ndarray:
    padded = np.pad(inside, 1, mode="edge")
    eroded = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~eroded


def _draw_points(draw: ImageDraw.ImageDraw, pane: Pane, middle: tuple[float, float], scale: float, side: int) -> None:
    """Positive prompts as discs, negative ones as crosses."""
    if len(pane.points) == 0:
        return
    geometry = pane.volume.geometry
    orientation = canonical_orientation(geometry, pane.plane)
    canonical = orientation.geometry(geometry)
    stored = np.insert(np.asarray(pane.points, float), 2 - orientation.order[0], pane.slice, axis=1)
    places = canonical.index(geometry.world(stored))[:, :2] * canonical.spacing[:2]
    for (x, y), label in zip((places - middle) / scale + side / 2, pane.labels, strict=True):
        if label == 1:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=POSITIVE, outline="black")
        else:
            draw.line((x - 4, y - 4, x + 4, y + 4), fill=NEGATIVE, width=2)
            draw.line((x - 4, y + 4, x + 4, y - 4), fill=NEGATIVE, width=2)


def has_slices(volume: Volume) -> bool:
    """Whether the volume can be shown slice by slice: gray volumes only."""
    return volume.array.ndim == 3
