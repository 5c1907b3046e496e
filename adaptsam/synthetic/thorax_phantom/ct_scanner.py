"""Scanners: what a kernel, a dose, a table, a grid and a cone beam make of the same patient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry
from adaptsam.synthetic.thorax_phantom.projections import Beam, outside_field, with_faults
from adaptsam.synthetic.thorax_phantom.rendering import TABLES

KERNELS = {"soft": (1.3, 0.0), "standard": (0.0, 0.0), "sharp": (1.4, 1.1)}
"""Reconstruction kernels: the width in mm of a Gaussian, and how often what it takes away is added (0: it blurs)."""


@dataclass(frozen=True)
class Scanner:
    """A scanner; the defaults are a therapy CT.

    Attributes:
        label: what its series are called.
        kernel: one of :data:`KERNELS`.
        noise: standard deviation of the noise relative to the drawn 12 to 35 HU.
        table: "flat", "curved" or "none".
        spacing: (i, j, k) in mm; ``None``: as asked of the patient. The field of view stays the same.
        length: of the scan along the body in mm, centred on the tumour; ``None``: all.
        shift: HU added to everything inside of the field of view.
        gain: what HU + 1000 are multiplied by.
        beam: the faults of its projections.
    """

    label: str = "CT"
    kernel: str = "standard"
    noise: float = 1.0
    table: str = "flat"
    spacing: tuple[float, float, float] | None = None
    length: float | None = None
    shift: float = 0.0
    gain: float = 1.0
    beam: Beam = Beam()

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise InputError(f"There is no kernel {self.kernel!r}; choose one of {', '.join(KERNELS)}.")
        if self.table not in TABLES:
            raise InputError(f"There is no table {self.table!r}; choose one of {', '.join(TABLES)}.")
        if self.noise < 0 or self.gain <= 0:
            raise InputError("A scanner's noise is 0 or more, and its gain more than 0.")
        if self.spacing is not None and min(self.spacing) <= 0:
            raise InputError("A scanner's spacing is more than 0 mm in each direction.")
        if self.length is not None and self.length <= 0:
            raise InputError(f"A scan is longer than {self.length:g} mm.")


CONE_BEAM = Scanner(
    label="CBCT",
    noise=0.5,
    spacing=(1.7, 1.7, 3.0),
    length=150.0,
    shift=-15.0,
    gain=1.07,
    beam=Beam(photons=2e4, scatter=0.045, hardening=0.004, rings=0.004, field=400.0),
)
"""A cone-beam scanner at a linear accelerator: cupping, shading, rings, HU that are off, a short and round field."""

CONE_BEAM_4D = replace(CONE_BEAM, beam=replace(CONE_BEAM.beam, views_kept=3))
"""The same for a breathing phase, for which only a part of the projections is there: streaks."""

SCANNERS = {
    "therapy": Scanner(),
    "diagnostic": Scanner(noise=0.7, table="curved", spacing=(1.5, 1.5, 2.5)),
    "low-dose": Scanner(label="CT low dose", noise=0.7, table="curved", beam=Beam(photons=1e4)),
    "cbct": CONE_BEAM,
}
"""Scanners by name."""


def scan_grid(
    scanner: Scanner, shape: tuple[int, int, int], spacing: tuple[float, float, float], centre: float
) -> Geometry:
    """The grid of a scan of the field that ``shape`` (K, J, I) and ``spacing`` (i, j, k) span around the origin.

    A shorter scan is moved along the body towards ``centre`` (mm) as far as that field allows.
    """
    if scanner.spacing is not None:
        extent = np.array(shape[::-1]) * spacing
        columns, rows, slices = (max(1, round(value)) for value in extent / scanner.spacing)
        shape, spacing = (slices, rows, columns), scanner.spacing
    x, y, z = (-(count - 1) / 2 * step for count, step in zip(shape[::-1], spacing, strict=True))
    if scanner.length is not None:
        slices = min(shape[0], max(1, round(scanner.length / spacing[2])))
        spare = (shape[0] - slices) / 2 * spacing[2]
        z = -(slices - 1) / 2 * spacing[2] + float(np.clip(centre, -spare, spare))
        shape = (slices, *shape[1:])
    return Geometry(shape, spacing, (x, y, z))


def acquired(
    hounsfield: np.ndarray,
    spacing: tuple[float, float, float],
    scanner: Scanner,
    noise: float,
    grain: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The scan (K, J, I), int16, of a patient whose perfect image is ``hounsfield``.

    Args:
        hounsfield: (K, J, I), without noise.
        spacing: (i, j, k) in mm.
        scanner: what scans.
        noise: standard deviation of the noise of a usual scanner, HU.
        grain: width of its grain in pixels.
        rng: draws the noise.
    """
    image = hounsfield
    raw = rng.standard_normal(image.shape, dtype=np.float32)
    if scanner.beam != Beam():
        image = with_faults(image, spacing[:2], scanner.beam, rng)
    smooth = gaussian_filter(raw, (0, grain, grain))
    image = _through_kernel(image + smooth * (scanner.noise * noise / smooth.std()), spacing, scanner.kernel)
    if scanner.gain != 1 or scanner.shift:
        image = (image + 1000) * scanner.gain - 1000 + scanner.shift
    if scanner.beam.field is not None:
        image[:, outside_field(image.shape[1:], spacing[:2], scanner.beam.field)] = -1000
    return np.rint(image).clip(-1024, 3000).astype(np.int16)


def _through_kernel(image: np.ndarray, spacing: tuple[float, float, float], kernel: str) -> np.ndarray:
    width, added = KERNELS[kernel]
    if not width:
        return image
    blurred = gaussian_filter(image, (0, width / spacing[1], width / spacing[0]))
    return image + added * (image - blurred) if added else blurred
