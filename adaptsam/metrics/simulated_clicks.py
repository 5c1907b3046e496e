"""A person who clicks: prompts made from the truth, and what a model, or a rule of thumb, makes of them.

A click is placed where a person would: in the middle of the largest region that is still wrong, first of the structure
itself. Two rules of thumb stand beside every model. The ellipse that fills the box is what a box is worth without the
image. Region growing from the first click has the best of several tolerances, which no one would know beforehand: an
upper limit of what intensities give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from adaptsam.metrics.volume_metrics import dice
from adaptsam.sam import DecodeRequest, Embedding, SamModel

CLICKS = (1, 3, 5)
TOLERANCES = (10, 20, 40, 80, 160, 320)

Mask = NDArray[np.bool_]


def click(wrong: Mask) -> tuple[int, int]:
    """x and y of the pixel farthest from the edge of the largest connected region of a mask (H, W)."""
    regions, count = ndimage.label(wrong)
    largest = 1 + int(np.argmax(ndimage.sum_labels(wrong, regions, range(1, count + 1))))
    depth = ndimage.distance_transform_edt(np.pad(regions == largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def clicked(model: SamModel, embedding: Embedding, truth: Mask, counts: Sequence[int] = CLICKS) -> dict[int, float]:
    """Dice after each of some numbers of clicks, for a truth (H, W) that is not empty."""
    points, labels, logits = [], [], None
    scores: dict[int, float] = {}
    found = np.zeros_like(truth)
    for number in range(1, max(counts) + 1):
        missed, excess = truth & ~found, found & ~truth
        wrong = missed if number == 1 or missed.sum() >= excess.sum() else excess
        if wrong.any():
            points.append(click(wrong))
            labels.append(int(wrong is missed))
        [decoded] = model.decode(
            [DecodeRequest(embedding, points=np.array(points), labels=np.array(labels), mask_input=logits)]
        )
        logits = decoded.logits[0]
        found = (model.upscale(logits[None], embedding)[0] > 0).cpu().numpy()
        if number in counts:
            scores[number] = dice(found, truth)
    return scores


def box_around(truth: Mask) -> NDArray[np.int64]:
    """The first and last column and row of a mask (H, W): x0, y0, x1, y1 in pixels."""
    rows, columns = np.nonzero(truth)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def boxed(model: SamModel, embedding: Embedding, truth: Mask) -> float:
    """Dice of the mask for the truth's own box."""
    [decoded] = model.decode([DecodeRequest(embedding, box=box_around(truth))])
    return dice((model.upscale(decoded.logits[:1], embedding)[0] > 0).cpu().numpy(), truth)


def ellipse(truth: Mask) -> float:
    """Dice of the ellipse that fills the truth's own box."""
    left, top, right, bottom = box_around(truth)
    y, x = np.ogrid[: truth.shape[0], : truth.shape[1]]
    across = (x - (left + right) / 2) / ((right - left + 1) / 2)
    along = (y - (top + bottom) / 2) / ((bottom - top + 1) / 2)
    return dice(across**2 + along**2 <= 1, truth)


def grown(image: NDArray[np.generic], truth: Mask) -> float:
    """The best Dice of region growing from the first click on a gray image (H, W), over all tolerances."""
    x, y = click(truth)
    best = 0.0
    for tolerance in TOLERANCES:
        regions, _ = ndimage.label(np.abs(image.astype(float) - float(image[y, x])) <= tolerance)
        best = max(best, dice(regions == regions[y, x], truth))
    return best
