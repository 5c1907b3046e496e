"""Faults of X-ray projections: noise, scatter, hardening, rings, few views, a narrow detector.

The errors arise where they do in a scanner, in the line integrals of each slice, and reach the image by filtered
back-projection, so that noise has its grain and streaks, scatter its cupping, a bad detector element its ring. Only the
difference between the faulty and the perfect measurement is reconstructed: without faults the image stays as it is.
The beam is parallel and each slice is its own; a cone beam's blur along the body is not part of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array

from adaptsam.errors import InputError

WATER = 0.02
"""Attenuation of water, 1/mm, at about 65 keV."""
_FEWEST_PHOTONS = 3.0
# How far beside the detector line integrals are continued, mm: too short for most patients, hence the bright rim.
_FADE = 12.0


@dataclass(frozen=True)
class Beam:
    """The faults of a measurement; the defaults are none.

    Attributes:
        photons: that reach one detector element of one view where nothing is in their way; 0 is no noise.
        scatter: scattered light as a share of what the patient takes out of the direct beam.
        hardening: relative loss of a line integral for each unit of it.
        rings: standard deviation of the gain errors of the detector's elements.
        views: projections over half a turn that the reconstruction would need.
        views_kept: one of how many of them is measured; the rest is missing, as in a phase of a 4D cone-beam scan.
        field: width of the detector in the patient, mm; ``None`` covers everything.
    """

    photons: float = 0.0
    scatter: float = 0.0
    hardening: float = 0.0
    rings: float = 0.0
    views: int = 180
    views_kept: int = 1
    field: float | None = None

    def __post_init__(self) -> None:
        if min(self.photons, self.scatter, self.hardening, self.rings) < 0:
            raise InputError("Photons, scatter, hardening and rings of a beam are 0 or more.")
        if self.views < 8 or not 1 <= self.views_kept <= self.views // 4:
            raise InputError(
                f"A reconstruction needs at least 8 views and one of at most {max(1, self.views // 4)} measured, "
                f"not {self.views} views with one of {self.views_kept} measured."
            )
        if self.field is not None and self.field < 50:
            raise InputError(f"A field of view is at least 50 mm wide, not {self.field:g} mm.")


def with_faults(image: np.ndarray, spacing: tuple[float, float], beam: Beam, rng: np.random.Generator) -> np.ndarray:
    """Slices as a faulty measurement shows them.

    Args:
        image: (K, J, I) in HU, without noise.
        spacing: (i, j) in mm.
        beam: the faults.
        rng: for noise and rings.

    Returns:
        (K, J, I) float32 in HU.
    """
    slices, rows, columns = image.shape
    pitch = max(spacing)
    x, y = _axes((rows, columns), spacing)
    elements = int(np.ceil(2 * np.hypot(x[-1], y[-1]) / pitch)) + 4
    tissue = np.maximum(image + 1000.0, 0).astype(np.float32).reshape(slices, -1).T * (WATER / 1000)
    gains = rng.normal(0, beam.rings, (elements, slices)).astype(np.float32)
    change = np.zeros((rows * columns, slices), np.float32)
    for number, projector in enumerate(_projectors(x, y, pitch, elements, beam.views)):
        perfect = projector @ tissue * (spacing[0] * spacing[1] / pitch)
        difference = -perfect
        if number % beam.views_kept == 0:
            difference += _measured(perfect, beam, pitch, gains, rng) * beam.views_kept
        change += projector.T @ _ramp(difference, pitch)
    return image + (change.T * np.float32(np.pi / beam.views * 1000 / WATER)).reshape(image.shape)


def outside_field(shape: tuple[int, int], spacing: tuple[float, float], field: float) -> np.ndarray:
    """Pixels (J, I) of a slice outside of a field of view of ``field`` mm."""
    x, y = _axes(shape, spacing)
    return np.hypot(x[None, :], y[:, None]) > field / 2


def _axes(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The x of each column and the y of each row, mm from the middle."""
    rows, columns = shape
    x = (np.arange(columns) - (columns - 1) / 2) * spacing[0]
    y = (np.arange(rows) - (rows - 1) / 2) * spacing[1]
    return x, y


def _projectors(x: np.ndarray, y: np.ndarray, pitch: float, elements: int, views: int) -> Iterator[csr_array]:
    """Matrices (elements, pixels), one a view, that share each pixel between the two elements beside its ray."""
    pixels = len(x) * len(y)
    for view in range(views):
        angle = np.pi * view / views
        ray = (x[None, :] * np.cos(angle) + y[:, None] * np.sin(angle)).ravel() / pitch + (elements - 1) / 2
        left = np.floor(ray).astype(np.int32)
        share = (ray - left).astype(np.float32)
        rows = np.concatenate([left, left + 1])
        columns = np.tile(np.arange(pixels, dtype=np.int32), 2)
        yield csr_array((np.concatenate([1 - share, share]), (rows, columns)), shape=(elements, pixels))


def _measured(perfect: np.ndarray, beam: Beam, pitch: float, gains: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The line integrals (elements, K) that the scanner believes to have measured."""
    lines = perfect * (1 - beam.hardening * perfect) if beam.hardening else perfect
    light = np.exp(-lines)
    if beam.scatter:
        # Light is scattered most where some is absorbed and some comes through (Ohnesorge et al. 1999).
        light = light + beam.scatter * gaussian_filter1d(perfect * light, 60 / pitch, axis=0, mode="constant")
    if beam.photons:
        count = beam.photons * light
        count = count + np.sqrt(count) * rng.standard_normal(count.shape, dtype=np.float32)
        light = np.maximum(count, _FEWEST_PHOTONS) / beam.photons
    lines = -np.log(light) + gains
    return _extended(lines, beam.field, pitch) if beam.field is not None else lines


def _extended(lines: np.ndarray, field: float, pitch: float) -> np.ndarray:
    """The line integrals with those beside the detector replaced by the outermost ones, fading, as scanners do."""
    middle = (len(lines) - 1) / 2
    outside = np.abs(np.arange(len(lines)) - middle) * pitch - field / 2
    inside = np.flatnonzero(outside <= 0)
    nearest = np.clip(np.arange(len(lines)), inside[0], inside[-1])
    fade = np.cos(np.clip(outside / _FADE, 0, 1) * np.pi / 2) ** 2
    return (lines[nearest] * fade[:, None]).astype(np.float32)


def _ramp(lines: np.ndarray, pitch: float) -> np.ndarray:
    """Ramp filter with a Hann window along the detector (elements, K)."""
    length = next_fast_len(2 * len(lines), real=True)
    frequency = rfftfreq(length, pitch)
    ramp = frequency * (0.5 + 0.5 * np.cos(2 * np.pi * frequency * pitch))
    spectrum = rfft(lines, length, axis=0) * ramp[:, None].astype(np.float32)
    return irfft(spectrum, length, axis=0)[: len(lines)].astype(np.float32)
