"""Pictures of masks beside the truth: the prior on the left, the answer in colour and the truth in white."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from adaptsam.evaluation.evaluation_cases import PictureTask, VolumeTask
from adaptsam.image.cropping import full_view
from adaptsam.image.windowing import choose_window
from adaptsam.report.mask_overlay import draw_overlay

_HEIGHT = 320
_COLOR = {"found": (255, 140, 40), "prior": (90, 200, 120)}
#: Of a volume's slice, so much around the structure is shown, in shares of its own extent.
_AROUND = 1.5
_LEAST_MM = 60.0


def draw_picture(task: PictureTask, mask: np.ndarray) -> bytes:
    """A picture's prior and answer, bool (H, W), side by side, as JPEG."""
    return _pair(task.pair.prior.image, task.pair.prior.mask, task.pair.image, mask, task.truth)


def draw_volume(task: VolumeTask, name: str, mask: np.ndarray) -> bytes:
    """The slice of a mask (K, J, I) on which most is wrong, beside the prior's largest one, as JPEG."""
    pair = task.pair
    prior, target = pair.prior_slices, pair.target_slices
    drawn = prior.orientation.apply(next(one.mask for one in pair.structures.structures if one.name == name))
    truth = target.orientation.apply(next(one.mask for one in task.truth.structures if one.name == name))
    found = target.orientation.apply(mask)
    first = int(np.argmax(drawn.sum(axis=(1, 2))))
    wrong = (found ^ truth).sum(axis=(1, 2))
    k = int(np.argmax(wrong)) if wrong.any() else int(np.argmax(truth.sum(axis=(1, 2))))
    size = max(prior.in_plane)
    views = [full_view(images.in_plane, images.pixel, size) for images in (prior, target)]
    pictures = [
        images.image(number, view, choose_window(images.volume, pair.window, name))
        for images, view, number in ((prior, views[0], first), (target, views[1], k))
    ]
    masks = views[0].mask(drawn[first]), views[1].mask(found[k]), views[1].mask(truth[k])
    boxes = [
        _around(np.asarray(shown), images.pixel[1] * view.step[1])
        for shown, images, view in ((masks[0], prior, views[0]), (masks[1] | masks[2], target, views[1]))
    ]
    (rows, columns), (below, beside) = boxes
    return _pair(
        pictures[0][rows, columns],
        masks[0][rows, columns],
        pictures[1][below, beside],
        masks[1][below, beside],
        masks[2][below, beside],
    )


def _around(mask: np.ndarray, pixel_mm: float) -> tuple[slice, slice]:
    """A square around a mask (H, W), as far as the image goes."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return slice(None), slice(None)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    half = int(np.ceil(max(_AROUND * extent, _LEAST_MM / pixel_mm) / 2)) + 2
    middle = (int(rows.min() + rows.max()) // 2, int(columns.min() + columns.max()) // 2)
    first, second = (slice(max(0, at - half), min(n, at + half)) for at, n in zip(middle, mask.shape, strict=True))
    return first, second


def _pair(prior: np.ndarray, drawn: np.ndarray, image: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> bytes:
    # Enlarged first, so that lines are thin whatever the size of the image.
    left, (drawn_large,) = _sized(prior, drawn)
    right, (found, true) = _sized(image, mask, truth)
    left = draw_overlay(left, {"prior": drawn_large}, _COLOR)
    right = draw_overlay(right, {"found": found}, _COLOR, reference={"truth": true})
    gap = np.full((_HEIGHT, 4, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([left, gap, right], axis=1)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _sized(image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    width = max(1, round(image.shape[1] * _HEIGHT / image.shape[0]))
    size = (width, _HEIGHT)
    large = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BILINEAR))
    enlarged = [
        np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize(size, Image.Resampling.NEAREST)) for mask in masks
    ]
    return large, enlarged
