"""The slices of one volume as the model sees them: turned, windowed, cut to a view; a few in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock

import numpy as np
from scipy import ndimage

from adaptsam.errors import InputError
from adaptsam.image.body import coarsen, in_plane_box
from adaptsam.image.cropping import View
from adaptsam.image.orientation import Orientation, canonical_orientation
from adaptsam.image.volume import Geometry, Volume
from adaptsam.image.windowing import Window


class SliceImages:
    """A volume in canonical order, and its slices as uint8 images.

    Args:
        volume: gray (K, J, I) or colour (K, J, I, 3) of uint8.
        plane: the world axis along which slices run; see :mod:`adaptsam.image.orientation`.
        kept: how many images are remembered, so that structures with the same view share one object.

    Attributes:
        orientation: from the stored array to canonical order and back.
        volume: the canonical volume; its array is a view of the stored one.
        geometry: the canonical grid.
    """

    def __init__(self, volume: Volume, plane: int, kept: int = 16) -> None:
        self.stored = volume.geometry
        self.orientation: Orientation = canonical_orientation(volume.geometry, plane)
        self.geometry: Geometry = self.orientation.geometry(volume.geometry)
        self.volume = Volume(self.orientation.apply(volume.array), self.geometry, volume.modality)
        self._kept = kept
        self._images: OrderedDict[tuple[int, View, Window], np.ndarray] = OrderedDict()
        self._drawing = Lock()

    def image(self, k: int, view: View, window: Window) -> np.ndarray:
        """Slice ``k`` in a view and window, uint8 (h, w, 3)."""
        key = (k, view, window)
        with self._drawing:
            if key not in self._images:
                self._images[key] = view.image(window.rgb(self.volume.array[k]))
                if len(self._images) > self._kept:
                    self._images.popitem(last=False)
            self._images.move_to_end(key)
            return self._images[key]

    def stored_slice(self, k: int) -> tuple[int, int]:
        """The stored array's axis along which slices run, and the index of canonical slice ``k`` there."""
        return self.orientation.order[0], self.orientation.stored_slice(k, self.stored.shape)

    def sample(self, index: np.ndarray) -> np.ndarray:
        """Gray values, float32, at canonical indices (..., 3) i, j, k, linearly; the border's beyond it."""
        low = np.clip(np.floor(index.reshape(-1, 3).min(axis=0)), 0, np.array(self.geometry.shape[::-1]) - 1).astype(
            int
        )
        high = np.clip(np.ceil(index.reshape(-1, 3).max(axis=0)) + 1, low + 1, self.geometry.shape[::-1]).astype(int)
        part = self.volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        at = np.moveaxis((index - low)[..., ::-1], -1, 0)
        return np.asarray(ndimage.map_coordinates(part.astype(np.float32), at, order=1, mode="nearest"))

    @property
    def is_color(self) -> bool:
        return self.volume.array.ndim == 4

    @property
    def is_flat(self) -> bool:
        """Whether there is no third dimension to look along: colour (a picture or a video), or a single slice."""
        return self.is_color or self.geometry.shape[0] == 1

    @property
    def in_plane(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self.geometry.shape[1], self.geometry.shape[2]

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel in mm."""
        return self.geometry.spacing[0], self.geometry.spacing[1]


def body_square(images: SliceImages, margin: float) -> tuple[tuple[float, float], float]:
    """Centre (x, y in pixels) and side in mm of a square around the body on all slices; whole slices of flat images.

    ``margin`` is the square's side as a multiple of the body's, at most the slice's longer one.
    """
    geometry = images.geometry
    longest = max(geometry.shape[1] * geometry.spacing[1], geometry.shape[2] * geometry.spacing[0])
    middle = np.array([(geometry.shape[2] - 1) / 2, (geometry.shape[1] - 1) / 2, (geometry.shape[0] - 1) / 2])
    world, side = geometry.world(middle), longest
    if not images.is_flat:
        world, extent = in_plane_box(coarsen(images.volume))
        side = min(longest, margin * max(extent))
    index = geometry.index(world)
    return (float(index[0]), float(index[1])), float(side)


def check_image(volume: Volume, what: str) -> None:
    """Raise InputError for an image that cannot be segmented: of wrong shape, with NaN or infinity, or constant.

    ``what`` names it in the message, as "The prior image". The array is read slice by slice.
    """
    array = volume.array
    color = array.ndim == 4 and array.shape[3] == 3
    if array.ndim != 3 and not color:
        raise InputError(
            f"{what} has the shape {array.shape}; needed are slices, rows, columns, and 3 channels if colour."
        )
    if color and array.dtype != np.uint8:
        raise InputError(f"{what} is in colour but of type {array.dtype}; colour images must have 8 bits.")
    if array.shape[:3] != volume.geometry.shape or array.size == 0:
        raise InputError(f"{what} has {array.shape[:3]} voxels, but its grid {volume.geometry.shape}.")
    low, high = np.inf, -np.inf
    for lowest, highest in _ranges(array):
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise InputError(f"{what} holds values that are not numbers (NaN or infinity); repair it.")
        low, high = min(low, lowest), max(high, highest)
    if low == high:
        raise InputError(f"{what} has the same value ({low:g}) everywhere; there is nothing to see in it.")


def _ranges(array: np.ndarray) -> Iterator[tuple[float, float]]:
    for one in array:
        yield float(one.min()), float(one.max())
