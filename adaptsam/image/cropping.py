"""Crops of a slice for SAM, and the way back from their pixels to the slice's.

Pixel positions are (x, y), column before row, with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The logit of every pixel that a view does not show.
UNSEEN = -20.0


@dataclass(frozen=True)
class View:
    """An upright rectangle of a slice: view pixel (x, y) shows slice position ``origin + step * (x, y)``.

    ``size`` is (rows, columns) of the view. With unit step and whole-number origin it is an exact crop, padded with
    zeros beyond the slice, so that equal slices give equal bytes; otherwise pixels are interpolated linearly.
    """

    size: tuple[int, int]
    origin: tuple[float, float] = (0.0, 0.0)
    step: tuple[float, float] = (1.0, 1.0)

    @property
    def is_crop(self) -> bool:
        return self.step == (1.0, 1.0) and all(float(value).is_integer() for value in self.origin)

    @property
    def centre(self) -> tuple[float, float]:
        """The slice position (x, y) in its middle: what to register, so that rounding to whole pixels is stable."""
        rows, columns = self.size
        return self.origin[0] + self.step[0] * (columns - 1) / 2, self.origin[1] + self.step[1] * (rows - 1) / 2

    def image(self, image: np.ndarray) -> np.ndarray:
        """The view of a slice, uint8 (H, W, 3) to uint8 (h, w, 3)."""
        if self.is_crop:
            return self._crop(image)
        channels = [np.rint(self._sample(image[..., c].astype(np.float32))) for c in range(image.shape[2])]
        return np.stack(channels, axis=2).astype(np.uint8)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """The view of a mask, bool (H, W) to bool (h, w)."""
        return self._crop(mask) if self.is_crop else self._sample(mask.astype(np.float32)) > 0.5

    def values(self, field: np.ndarray, outside: float) -> np.ndarray:
        """The view of a field of numbers, float32 (H, W) to (h, w); ``outside`` where there is no slice."""
        if self.is_crop:
            return np.asarray(self._crop(field - outside) + outside, np.float32)
        return _interpolate(field, (self.step[1], self.step[0]), (self.origin[1], self.origin[0]), self.size, outside)

    def restore(self, logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Logits (h, w) of the view on the slice of ``shape`` (H, W); :data:`UNSEEN` where the view does not reach."""
        if self.is_crop:
            slice_part, view_part = self._overlap(shape)
            restored = np.full(shape, UNSEEN, np.float32)
            restored[slice_part] = logits[view_part]
            return restored
        scale = (1.0 / self.step[1], 1.0 / self.step[0])
        offset = (-self.origin[1] / self.step[1], -self.origin[0] / self.step[0])
        return _interpolate(logits.astype(np.float32), scale, offset, shape, UNSEEN)

    def to_slice(self, points: np.ndarray) -> np.ndarray:
        """Slice positions (n, 2) of view positions (n, 2), both x, y."""
        return np.asarray(points, float).reshape(-1, 2) * self.step + self.origin

    def _crop(self, array: np.ndarray) -> np.ndarray:
        shape = (array.shape[0], array.shape[1])
        if self.size == shape and self.origin == (0.0, 0.0):
            return array
        slice_part, view_part = self._overlap(shape)
        crop = np.zeros(self.size + array.shape[2:], array.dtype)
        crop[view_part] = array[slice_part]
        return crop

    def _overlap(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Overlap of slice and view, in rows and columns of the one and of the other."""
        in_slice, in_view = [], []
        for length, size, origin in zip(shape, self.size, (int(self.origin[1]), int(self.origin[0])), strict=True):
            start = min(max(origin, 0), length)
            stop = max(min(origin + size, length), start)
            in_slice.append(slice(start, stop))
            in_view.append(slice(start - origin, stop - origin) if stop > start else slice(0, 0))
        return (in_slice[0], in_slice[1]), (in_view[0], in_view[1])

    def _sample(self, image: np.ndarray) -> np.ndarray:
        scale = (self.step[1], self.step[0])
        return _interpolate(image, scale, (self.origin[1], self.origin[0]), self.size, 0.0)


def _interpolate(
    image: np.ndarray,
    scale: tuple[float, float],
    offset: tuple[float, float],
    shape: tuple[int, int],
    outside: float,
) -> np.ndarray:
    """Linear interpolation of ``image`` (H, W) at ``scale * (row, column) + offset``; half a pixel beyond it counts."""
    rows = np.arange(shape[0]) * scale[0] + offset[0]
    columns = np.arange(shape[1]) * scale[1] + offset[1]
    weights = [_linear_weights(rows, image.shape[0]), _linear_weights(columns, image.shape[1])]
    (r0, r1, rw, r_in), (c0, c1, cw, c_in) = weights
    by_row = image[r0] * (1 - rw)[:, None] + image[r1] * rw[:, None]
    result = by_row[:, c0] * (1 - cw) + by_row[:, c1] * cw
    return np.where(r_in[:, None] & c_in, result, np.float32(outside)).astype(np.float32)


def _linear_weights(position: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    inside = (position >= -0.5) & (position <= length - 0.5)
    clamped = np.clip(position, 0, length - 1)
    low = np.floor(clamped).astype(int)
    return low, np.minimum(low + 1, length - 1), (clamped - low).astype(np.float32), inside


def full_view(shape: tuple[int, int], spacing: tuple[float, float], image_size: int) -> View:
    """The whole slice (H, W), as in the papers; unequal ``spacing`` (x, y in mm) is made equal."""
    if _equal(spacing):
        return View(shape)
    extent = (shape[0] * spacing[1], shape[1] * spacing[0])
    pixel = _pixel(spacing, max(extent), image_size)
    size = (max(1, round(extent[0] / pixel)), max(1, round(extent[1] / pixel)))
    step = (pixel / spacing[0], pixel / spacing[1])
    return View(size, ((step[0] - 1) / 2, (step[1] - 1) / 2), step)


def square_view(centre: tuple[float, float], side_mm: float, spacing: tuple[float, float], image_size: int) -> View:
    """A square of ``side_mm`` around slice position ``centre`` (x, y), whose origin lies on a whole pixel.

    Pixels of equal spacing are never resampled: SAM's own resizing is the only one. Of unequal ones the finer gives the
    pixel size, unless the square would then have more pixels than the model's ``image_size``.
    """
    equal = _equal(spacing)
    pixel = spacing[0] if equal else _pixel(spacing, side_mm, image_size)
    side = max(1, round(side_mm / pixel))
    step = (1.0, 1.0) if equal else (pixel / spacing[0], pixel / spacing[1])
    origin = tuple(float(np.floor(c - (side - 1) * s / 2 + 0.5)) for c, s in zip(centre, step, strict=True))
    return View((side, side), (origin[0], origin[1]), step)


def _equal(spacing: tuple[float, float]) -> bool:
    return abs(spacing[0] - spacing[1]) <= 1e-4 * spacing[0]


def _pixel(spacing: tuple[float, float], side_mm: float, image_size: int) -> float:
    finest = min(spacing)
    return finest if side_mm / finest <= image_size else min(max(spacing), side_mm / image_size)
