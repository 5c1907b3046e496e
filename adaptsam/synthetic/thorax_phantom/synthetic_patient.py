"""A patient over time: the same anatomy at several visits, each with its own set-up, tumour, breath and scanner."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from adaptsam.errors import InputError
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.progress import Progress, silent
from adaptsam.synthetic.thorax_phantom.anatomy import Anatomy, Warp, draw_anatomy, draw_bronchi, draw_warp
from adaptsam.synthetic.thorax_phantom.breathing import Motion, phase_motions
from adaptsam.synthetic.thorax_phantom.ct_scanner import Scanner, acquired, scan_grid
from adaptsam.synthetic.thorax_phantom.phantom_settings import CONTOURABLE, PhantomSettings
from adaptsam.synthetic.thorax_phantom.rendering import STRUCTURES, Densities, in_lungs, render

# Few enough that what is computed stays in the cache.
_POINTS_AT_ONCE = 2**16
_FIRST_DAY = dt.date(2026, 1, 1)


@dataclass(frozen=True)
class PhantomPhase:
    """One breathing phase of a visit: its scan, its true contours, and how far each organ is from its place at 50 %."""

    volume: Volume
    structures: StructureSet
    motion: Motion


@dataclass(frozen=True)
class PhantomVisit:
    """One visit: the scan, its true contours, and in words what changed since the first visit.

    Of a 4D scan, ``phases`` has every phase, and ``volume`` and ``structures`` are those of the first of them, 0 %.
    """

    volume: Volume
    structures: StructureSet
    description: str
    scanner: Scanner = Scanner()
    phases: tuple[PhantomPhase, ...] = ()


@dataclass(frozen=True)
class _State:
    """State of a visit; shift in mm, rotation in radians about x, y, z."""

    shift: np.ndarray
    rotation: np.ndarray
    tumour_scale: float
    tumour_shift: np.ndarray
    breath: float
    warp: Warp | None
    noise: float
    grain: float
    core: float = 0.0
    weight: float = 0.0


def phantom_patient(
    seed: int,
    visits: int = 2,
    *,
    shape: tuple[int, int, int] = (72, 256, 256),
    spacing: tuple[float, float, float] = (1.7, 1.7, 4.0),
    tumour_scales: Sequence[float] | None = None,
    settings: PhantomSettings = PhantomSettings(),
) -> list[PhantomVisit]:
    """A synthetic thorax patient with a lung tumour.

    Args:
        seed: the patient; the same seed gives the same voxels.
        visits: how many, a week apart.
        shape: (K, J, I) of every scan, where the scanner has no grid of its own.
        spacing: (i, j, k) in mm.
        tumour_scales: for each visit after the first, the tumour's size relative to the first in every direction; 0 is
            a tumour that is gone. As the course in ``settings`` has it when not given.
        settings: course, body, breath and scanners.

    Returns:
        The visits in order; structures as in ``settings.contours``.

    Raises:
        InputError: there is no visit, the number of scales is not the number of follow-ups, or a scan has no voxels.
    """
    return list(
        phantom_visits(
            seed, visits, shape=shape, spacing=spacing, tumour_scales=tumour_scales, settings=settings, progress=silent
        )
    )


def phantom_visits(
    seed: int,
    visits: int = 2,
    *,
    shape: tuple[int, int, int] = (72, 256, 256),
    spacing: tuple[float, float, float] = (1.7, 1.7, 4.0),
    tumour_scales: Sequence[float] | None = None,
    settings: PhantomSettings = PhantomSettings(),
    progress: Progress = silent,
) -> Iterator[PhantomVisit]:
    """Draw one visit at a time, so that no more than one is in memory; see :func:`phantom_patient`.

    ``progress`` receives the number of scans that are drawn.
    """
    if seed < 0:
        raise InputError(f"The seed of a patient is 0 or more, not {seed}.")
    if visits < 1:
        raise InputError(f"A patient has at least one visit, not {visits}.")
    if min(shape) < 1 or min(spacing) <= 0:
        raise InputError("A scan has at least one voxel in each direction, and a spacing of more than 0 mm.")
    if tumour_scales is not None and len(tumour_scales) != visits - 1:
        raise InputError(f"{visits} visits need {visits - 1} tumour scales, not {len(tumour_scales)}.")
    if tumour_scales is not None and min(tumour_scales, default=0.0) < 0:
        raise InputError(f"A tumour's scale is 0 (gone) or more, not {min(tumour_scales):g}.")
    return _visits(seed, visits, shape, spacing, tumour_scales, settings, progress)


def _visits(
    seed: int,
    visits: int,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    tumour_scales: Sequence[float] | None,
    settings: PhantomSettings,
    progress: Progress,
) -> Iterator[PhantomVisit]:
    rng = np.random.default_rng([seed])
    anatomy, plain = draw_anatomy(rng), _usual_densities(rng)
    densities, chambers = settings.contrast.enhanced(plain), settings.contrast.chambers(plain)
    anatomy = _equipped(anatomy, seed, settings)
    for number in range(visits):
        # A generator of its own, so that a visit does not depend on how many others there are.
        rng = np.random.default_rng([seed, number])
        state = _later_state(rng) if number else _first_state(rng)
        scale = settings.course.scale(number, visits, state.tumour_scale)
        if number and tumour_scales is not None:
            scale = tumour_scales[number - 1]
        state = replace(
            state,
            tumour_scale=scale,
            core=settings.course.core_share(number),
            weight=(1 + settings.weight) ** number - 1,
        )
        scanner = settings.scanner_of(number)
        centre = 0.0 if anatomy.tumour is None else float(anatomy.tumour.centre[2] + state.shift[2])
        patient = _Patient(seed, number, _changed(anatomy, state), densities, chambers, state, scanner, settings)
        scans = max(1, settings.breathing.phases)
        yield _visit(
            patient, rng, scan_grid(scanner, shape, spacing, centre), _part(progress, number * scans, visits * scans)
        )


def _part(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one visit as a part of all."""
    return lambda stage, done, _: progress(stage, before + done, total)


def _equipped(anatomy: Anatomy, seed: int, settings: PhantomSettings) -> Anatomy:
    """The anatomy with what the plain patient lacks. Other generators, so that the rest stays as it is."""
    if settings.bronchi:
        bronchi = draw_bronchi(np.random.default_rng([seed, 0, 2]), anatomy, settings.bronchi)
        anatomy = replace(anatomy, bronchi=bronchi)
    if settings.liver_edge:
        length = np.random.default_rng([seed, 0, 3]).uniform(70, 95)
        anatomy = replace(anatomy, liver_floor=anatomy.dome[0] - length)
    if anatomy.tumour is not None:
        anatomy = replace(anatomy, tumour=settings.contrast.enhanced_tumour(anatomy.tumour))
    return anatomy


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


@dataclass(frozen=True)
class _Patient:
    """One visit, ready to be scanned."""

    seed: int
    number: int
    anatomy: Anatomy
    densities: Densities
    chambers: float | None
    state: _State
    scanner: Scanner
    settings: PhantomSettings


def _visit(patient: _Patient, rng: np.random.Generator, geometry: Geometry, progress: Progress) -> PhantomVisit:
    dicom = _dicom(patient.seed, patient.number)
    motions = phase_motions(patient.settings.breathing, patient.anatomy)
    if not motions:
        progress("drawing the patient", 0, 1)
        volume, structures = _scan(patient, rng, geometry, dicom, None)
        progress("drawing the patient", 1, 1)
        return PhantomVisit(volume, structures, _description(patient, structures), patient.scanner)
    held = _lung_voxels(patient, None)
    phases = []
    for index, motion in enumerate(motions):
        progress("drawing the patient", index, len(motions))
        # The same tissue in more room is thinner.
        air = patient.densities.lung + 1000
        thinner = replace(patient.densities, lung=air * held / _lung_voxels(patient, motion) - 1000)
        rng = np.random.default_rng([patient.seed, patient.number, 1, index])
        scan = _scan(replace(patient, densities=thinner), rng, geometry, dicom, motion)
        phases.append(PhantomPhase(*scan, motion))
    progress("drawing the patient", len(motions), len(motions))
    first = phases[0]
    description = _description(patient, first.structures)
    return PhantomVisit(first.volume, first.structures, description, patient.scanner, tuple(phases))


def _dicom(seed: int, number: int) -> DicomSource:
    return DicomSource(
        patient_id=f"PHANTOM-{seed}",
        study_date=f"{_FIRST_DAY + dt.timedelta(weeks=number):%Y%m%d}",
        header={"PatientName": f"Phantom^{seed}"},
    )


def _scan(
    patient: _Patient, rng: np.random.Generator, geometry: Geometry, dicom: DicomSource, motion: Motion | None
) -> tuple[Volume, StructureSet]:
    hounsfield, masks = _drawn(patient, geometry, motion)
    array = acquired(hounsfield, geometry.spacing, patient.scanner, patient.state.noise, patient.state.grain, rng)
    structures = []
    for index, name in enumerate(patient.settings.contours, start=1):
        kind, color = CONTOURABLE[name]
        structures.append(Structure(name, masks[STRUCTURES.index(name)], color, index, kind))
    return Volume(array, geometry, "CT", dicom), StructureSet(tuple(structures), geometry, dicom)


def _changed(anatomy: Anatomy, state: _State) -> Anatomy:
    dome = (anatomy.dome[0] + state.breath, anatomy.dome[1] + state.breath)
    tumour = anatomy.tumour
    if tumour is not None and state.tumour_scale > 0:
        tumour = tumour.changed(state.tumour_scale, state.tumour_shift).with_core(state.core)
    elif tumour is not None:
        tumour = None
    anatomy = replace(anatomy, dome=dome, tumour=tumour)
    return anatomy.with_weight(state.weight) if state.weight else anatomy


def _lung_voxels(patient: _Patient, motion: Motion | None) -> int:
    """Number of voxels of 8 mm that the lungs fill."""
    z, y, x = np.meshgrid(
        np.arange(-180, 176, 8.0), np.arange(-140, 144, 8.0), np.arange(-204, 208, 8.0), indexing="ij"
    )
    points = torch.from_numpy(np.stack([x, y, z])).float()
    return int(in_lungs(patient.anatomy, points, patient.state.warp, motion).sum())


def _drawn(patient: _Patient, geometry: Geometry, motion: Motion | None) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free Hounsfield units (K, J, I) and masks (structure, K, J, I), a few slices at a time."""
    state = patient.state
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
        image, mask = render(
            patient.anatomy,
            place.movedim(-1, 0).contiguous(),
            patient.densities,
            softness,
            state.warp,
            motion=motion,
            table=patient.scanner.table,
            chambers=patient.chambers,
        )
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


def _description(patient: _Patient, structures: StructureSet) -> str:
    state, words = patient.state, []
    if patient.number == 0:
        words.append("first visit, contoured")
    else:
        shift = float(np.linalg.norm(state.shift))
        turn = float(np.degrees(np.linalg.norm(state.rotation)))
        words.append(f"set-up {shift:.0f} mm and {turn:.0f}° off")
        gone = state.tumour_scale == 0 or not _has_tumour(structures)
        words.append("tumour gone" if gone else f"tumour at {state.tumour_scale**3:.0%} of its volume")
        if state.core and not gone:
            words.append(f"necrotic core of {state.core:.0%} of its radius")
        if state.weight:
            words.append(f"weight {state.weight:+.0%}")
    if patient.scanner.label != Scanner().label:
        words.append(patient.scanner.label)
    if patient.settings.breathing.phases:
        words.append(f"{patient.settings.breathing.phases} breathing phases")
    return ", ".join(words)


def _has_tumour(structures: StructureSet) -> bool:
    return all(structure.mask.any() for structure in structures.structures if structure.interpreted_type == "GTV")
