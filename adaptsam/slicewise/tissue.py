"""Tissue by its gray value, inside a structure and around it, and structures whose look changed as a whole.

The vote of ``appearance`` compares places: deep inside a tumour it finds nothing but tumour, and falls silent where the
target shows lung. Whether this patient's gray value is one of the structure or one of its surroundings is known from
the prior all the same: the log-odds of two histograms. They speak where nothing near the place looks alike.

A contrast agent changes the look of a structure that is still there. It is told from replaced tissue by the contour:
where a structure vanished, the edges that the prior shows along its contour are gone; where its blood was coloured,
they stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adaptsam.image.windowing import Window
from adaptsam.slicewise.prior_contour import DistanceField, PriorContour
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.slicewise.tissue_appearance import NOISE, SUREST
from adaptsam.slicewise.volume_settings import LookChangeSettings

#: How far around a structure its surroundings are known, mm, and how many of its slices are looked at.
AROUND_MM, SLICES = 25.0, 12

#: Gray values are smoothed by this many mm before they are compared with the histograms.
SMOOTH_MM = 1.5

#: What a gray value that was never seen counts as, as a share of all.
UNSEEN_SHARE = 2e-4


@dataclass(frozen=True, eq=False)
class Tissue:
    """``odds`` float32 (256,): the log-odds, within ±SUREST, that a gray value is of the structure."""

    odds: np.ndarray

    def of(self, gray: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        """The log-odds (h, w) of gray values 0 to 255 on a slice with pixels of width and height ``pixel`` mm."""
        return np.asarray(self.odds[np.rint(smoothed(gray, pixel, SMOOTH_MM)).astype(int)])


def smoothed(gray: np.ndarray, pixel: tuple[float, float], sigma_mm: float) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(gray.astype(np.float32), (sigma_mm / pixel[1], sigma_mm / pixel[0])))


def tissue_of(contour: PriorContour, field: DistanceField, images: SliceImages, window: Window) -> Tissue:
    """The look of a prior structure and of what lies within :data:`AROUND_MM` of it, slice by slice."""
    inside, outside = np.zeros(256), np.zeros(256)
    box = contour.around(AROUND_MM)
    j, i = np.mgrid[box].astype(float)
    for k in contour.drawn[:: max(1, len(contour.drawn) // SLICES)]:
        gray = smoothed(window.gray(images.volume.array[k][box]), images.pixel, SMOOTH_MM)
        distance = field.sample(np.stack([i, j, np.full_like(i, k)], axis=-1))[0]
        values = np.rint(gray).astype(int)
        inside += np.bincount(values[distance < -1.0], minlength=256)
        outside += np.bincount(values[(distance > 1.0) & (distance <= AROUND_MM)], minlength=256)
    shares = [
        ndimage.gaussian_filter1d(one / max(1.0, one.sum()), NOISE / 2) + UNSEEN_SHARE for one in (inside, outside)
    ]
    if not inside.any() or not outside.any():
        return Tissue(np.zeros(256, np.float32))
    return Tissue(np.clip(np.log(shares[0] / shares[1]), -SUREST, SUREST).astype(np.float32))


#: Of one slice, each (h, w): gray values of target and registered prior, and signed distances in mm to its contour.
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def look_changed(slices: Iterable[Sample], pixel: tuple[float, float], settings: LookChangeSettings) -> bool:
    """Whether what the registered contour holds looks different as a whole, and is there all the same."""
    core: list[np.ndarray] = []
    kept, edges = 0, 0
    band = max(SMOOTH_MM, 0.75 * max(pixel))  # half a pixel from the contour lies the nearest one
    for target, prior, distance in slices:
        if min(target.shape, default=0) < 2:
            continue
        difference = smoothed(target, pixel, SMOOTH_MM) - smoothed(prior, pixel, SMOOTH_MM)
        core.append(np.abs(difference[distance < -settings.core_mm]))
        before, now = (_steepness(one, distance, pixel) for one in (prior, target))
        there = (np.abs(distance) <= band) & (before > settings.edge)
        edges += int(there.sum())
        kept += int((now[there] > 0.5 * before[there]).sum())
    values = np.concatenate(core) if core else np.zeros(0)
    if not values.size or not edges or float((values > settings.difference).mean()) < settings.changed_share:
        return False
    return kept >= settings.kept_edges * edges


def _steepness(gray: np.ndarray, distance: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """Gray values a mm by which the image changes across the contour, whichever side is brighter."""
    slopes = np.gradient(smoothed(gray, pixel, SMOOTH_MM), pixel[1], pixel[0])
    normals = np.gradient(distance, pixel[1], pixel[0])
    return np.abs(np.asarray(slopes[0] * normals[0] + slopes[1] * normals[1]))
