"""A patient over time: the same anatomy at several visits, each with its own set-up, tumour, breath and scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from adaptsam.data.phantom.anatomy import Anatomy, Warp, draw_anatomy, draw_warp
from adaptsam.data.phantom.render import STRUCTURES, Densities, render
from adaptsam.data.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.errors import InputError

CONTOURED = {
    "GTV-1": ("GTV", (220, 40, 40)),
    "Lung-Left": ("ORGAN", (70, 160, 220)),
    "Lung-Right": ("ORGAN", (60, 190, 170)),
    "Heart": ("ORGAN", (230, 130, 180)),
    "Spinal-Cord": ("ORGAN", (240, 200, 60)),
}
"""What the phantom's physician contours: RT ROI interpreted type and colour."""


# Few enough that what is computed stays in the cache.
_POINTS_AT_ONCE = 2**16


@dataclass(frozen=True)
class PhantomVisit:
    """One visit: the scan, its true contours, and in words what changed since the first visit."""

    volume: Volume
    structures: StructureSet
    description: str


@dataclass(frozen=True)
class _State:
    """What differs from visit to visit; shift in mm, rotation in radians about x, y, z."""

    shift: np.ndarray
    rotation: np.ndarray
    tumour_scale: float
    tumour_shift: np.ndarray
    breath: float
    warp: Warp | None
    noise: float
    grain: float


def phantom_patient(
    seed: int,
    visits: int = 2,
    *,
    shape: tuple[int, int, int] = (72, 256, 256),
    spacing: tuple[float, float, float] = (1.7, 1.7, 4.0),
    tumour_scales: Sequence[float] | None = None,
) -> list[PhantomVisit]:
    """A synthetic thorax patient with a lung tumour.

    Args:
        seed: the patient; the same seed gives the same voxels.
        visits: how many scans.
        shape: (K, J, I) of every scan.
        spacing: (i, j, k) in mm.
        tumour_scales: for each visit after the first, the tumour's size relative to the first in every direction; 0 is
            a tumour that is gone. Drawn between 0.7 and 1.25 when not given.

    Returns:
        The visits in order; structures as in :data:`CONTOURED`.

    Raises:
        InputError: there is no visit, or the number of scales is not the number of follow-ups.
    """
    if visits < 1:
        raise InputError(f"A patient has at least one visit, not {visits}.")
    if tumour_scales is not None and len(tumour_scales) != visits - 1:
        raise InputError(f"{visits} visits need {visits - 1} tumour scales, not {len(tumour_scales)}.")
    rng = np.random.default_rng([seed])
    anatomy, densities = draw_anatomy(rng), _usual_densities(rng)
    geometry = _geometry(shape, spacing)
    scans = []
    for number in range(visits):
        # A generator of its own, so that a visit does not depend on how many others there are.
        rng = np.random.default_rng([seed, number])
        state = _later_state(rng) if number else _first_state(rng)
        if number and tumour_scales is not None:
            state = replace(state, tumour_scale=tumour_scales[number - 1])
        scans.append(_visit(rng, seed, number, anatomy, densities, state, geometry))
    return scans


def _usual_densities(rng: np.random.Generator) -> Densities:
    return Densities(
        fat=rng.uniform(-110, -90),
        lung=rng.uniform(-860, -760),
        bone=rng.uniform(350, 600),
        blood=rng.uniform(35, 50),
        heart=rng.uniform(35, 50),
        vessel=rng.uniform(-20, 40),
    )


def _first_state(rng: np.random.Generator) -> _State:
    still = np.zeros(3)
    return _State(still, still, 1.0, still, 0.0, None, rng.uniform(12, 22), rng.uniform(0.4, 0.8))


def _later_state(rng: np.random.Generator) -> _State:
    return _State(
        shift=rng.normal(0, 5, size=3).clip(-12, 12),
        rotation=np.radians(rng.normal(0, 1.5, size=3).clip(-4, 4)),
        tumour_scale=float(rng.uniform(0.7, 1.25)),
        tumour_shift=rng.normal(0, 2, size=3).clip(-5, 5),
        breath=float(rng.normal(0, 5)),
        warp=draw_warp(rng, 1.5),
        noise=rng.uniform(12, 35),
        grain=rng.uniform(0.4, 1.0),
    )


def _geometry(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Geometry:
    middle = [-(count - 1) / 2 * step for count, step in zip(shape[::-1], spacing, strict=True)]
    return Geometry(shape, spacing, (middle[0], middle[1], middle[2]))


def _visit(
    rng: np.random.Generator,
    seed: int,
    number: int,
    anatomy: Anatomy,
    densities: Densities,
    state: _State,
    geometry: Geometry,
) -> PhantomVisit:
    changed = _changed(anatomy, state)
    hounsfield, masks = _scan(changed, densities, state, geometry)
    grain = rng.standard_normal(geometry.shape, dtype=np.float32)
    noise = gaussian_filter(grain, (0, state.grain, state.grain))
    array = np.rint(hounsfield + noise * (state.noise / noise.std())).clip(-1024, 3000).astype(np.int16)
    date = f"2026{1 + number // 4:02d}{1 + 7 * (number % 4):02d}"
    dicom = DicomSource(patient_id=f"PHANTOM-{seed}", study_date=date, header={"PatientName": f"Phantom^{seed}"})
    structures = tuple(
        Structure(name, masks[STRUCTURES.index(name)], color, index, kind)
        for index, (name, (kind, color)) in enumerate(CONTOURED.items(), start=1)
    )
    volume = Volume(array, geometry, "CT", dicom)
    return PhantomVisit(volume, StructureSet(structures, geometry, dicom), _description(number, state, structures[0]))


def _changed(anatomy: Anatomy, state: _State) -> Anatomy:
    dome = (anatomy.dome[0] + state.breath, anatomy.dome[1] + state.breath)
    tumour = anatomy.tumour
    if tumour is not None:
        tumour = tumour.changed(state.tumour_scale, state.tumour_shift) if state.tumour_scale > 0 else None
    return replace(anatomy, dome=dome, tumour=tumour)


def _scan(anatomy: Anatomy, densities: Densities, state: _State, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free Hounsfield units (K, J, I) and masks (structure, K, J, I), a few slices at a time."""
    slices, rows, columns = geometry.shape
    turn = torch.from_numpy(_rotation(state.rotation)).float()
    softness = 0.6 * max(geometry.spacing[:2])
    together = max(1, _POINTS_AT_ONCE // (rows * columns))
    images, masks = [], []
    for start in range(0, slices, together):
        some = torch.arange(start, min(start + together, slices))
        k, j, i = torch.meshgrid(some, torch.arange(rows), torch.arange(columns), indexing="ij")
        index = torch.stack([i, j, k], dim=-1).float()
        place = index * torch.tensor(geometry.spacing) + torch.tensor(geometry.origin)
        place = (place - torch.from_numpy(state.shift).float()) @ turn
        image, mask = render(anatomy, place.movedim(-1, 0).contiguous(), densities, softness, state.warp)
        images.append(image.numpy())
        masks.append(mask.numpy())
    return np.concatenate(images), np.concatenate(masks, axis=1)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """The rotation about x, then y, then z, as a 3×3 matrix."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _description(number: int, state: _State, tumour: Structure) -> str:
    if number == 0:
        return "first visit, contoured"
    shift = float(np.linalg.norm(state.shift))
    turn = float(np.degrees(np.linalg.norm(state.rotation)))
    size = "tumour gone" if not tumour.mask.any() else f"tumour at {state.tumour_scale**3:.0%} of its volume"
    return f"set-up {shift:.0f} mm and {turn:.0f}° off, {size}"
