"""Follow-up visit with known contours, made from a real one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from adaptsam.errors import GeometryError, InputError
from adaptsam.image.signed_distance import signed_distance
from adaptsam.image.structure_names import select_structures
from adaptsam.image.volume import DicomSource, Geometry, Structure, StructureSet, Volume
from adaptsam.progress import Progress, silent
from adaptsam.synthetic.digital_followup.followup_settings import FollowUpSettings, settings_for
from adaptsam.synthetic.digital_followup.lesion import Change, change_target, find_site
from adaptsam.synthetic.digital_followup.patient_motion import Motion, draw_motion
from adaptsam.synthetic.digital_followup.rescan import Border, keep_slices, scan, scan_grid

#: An organ that holds at least this share of what surrounds the target is what the target lies in.
_HOST_SHARE = 0.1
#: A structure that holds more of the target than this contains it, and is not changed with it.
_CONTAINS_SHARE = 0.25
#: Between the end of a scan that leaves the target out and the target.
_AWAY_MM = 10.0


@dataclass(frozen=True, eq=False)
class FollowUp:
    """A digital follow-up.

    Attributes:
        volume: the later scan on its own grid; of the same patient, with a study of its own, where the prior is DICOM.
        structures: the true contours on that grid, in the prior's order; what is gone or outside is empty.
        motion: takes points of one visit to the other.
        settings: the sizes of what changed.
        description: in words, what changed.
        target_cm3: volume of the target in the prior, and in the follow-up's patient (seen by the scan or not).
    """

    volume: Volume
    structures: StructureSet
    motion: Motion
    settings: FollowUpSettings
    description: str
    target_cm3: tuple[float, float]


def digital_followup(
    volume: Volume,
    structures: StructureSet,
    target: str = "GTV-1",
    change: str = "medium",
    seed: int = 0,
    *,
    settings: FollowUpSettings | None = None,
    progress: Progress = silent,
) -> FollowUp:
    """A later visit of a real patient, with known contours.

    Where the target was and is no more, the patient's own lung (or soft tissue) appears, with its vessels; where it
    grows, its own tissue takes the place. So registration cannot undo the change, as it can a mere deformation.

    Args:
        volume: a CT (K, J, I) in HU, of any grid and orientation.
        structures: on its grid.
        target: the name of the structure that changes.
        change: "small", "medium" or "large"; see :func:`settings_for`.
        seed: the same seed gives the same voxels.
        settings: in place of ``change``.
        progress: receives "changing the target" and "scanning the follow-up"; cancels by raising Cancelled.

    Raises:
        InputError: the image is no CT, the target is not there or empty, has no room to grow, or is too small.
        GeometryError: the structures lie on another grid.

    Example:
        >>> later = digital_followup(prior, structures, "GTV-1", "large", seed=3)
        >>> later.structures.structures[0].mask.sum(), later.description
    """
    chosen = settings or settings_for(change)
    _check(volume, structures)
    select_structures(structures, [target])
    moving, changing, scanning = (np.random.default_rng([seed, number]) for number in range(3))
    progress("changing the target", 0, 1)
    motion = draw_motion(volume, chosen, moving)
    mask = structures.structures[structures.names.index(target)].mask
    changed = change_target(find_site(volume, mask), chosen, _squeeze(motion, mask, volume.geometry), changing)
    borders = _borders(structures, target, changed, volume.geometry)
    array = volume.array.astype(np.float32)
    array[changed.site.box] = changed.image
    progress("changing the target", 1, 1)
    grid = scan_grid(volume, motion, chosen)
    if chosen.field_of_view == "away":
        grid = _away(grid, motion, volume.geometry, mask)
    image, masks = scan(array, volume.geometry, borders, motion, grid, chosen, scanning, progress)
    dicom = _later(volume.dicom, chosen.days) if volume.dicom else None
    later = Volume(image, grid, "CT", dicom)
    made = tuple(replace(s, mask=m, contoured=None) for s, m in zip(structures.structures, masks, strict=True))
    before, after = changed.site.volume / 1000, changed.site.volume * chosen.volume_ratio / 1000
    return FollowUp(
        later,
        StructureSet(made, grid, dicom),
        motion,
        chosen,
        _describe(chosen, target, before, after),
        (before, after),
    )


def _check(volume: Volume, structures: StructureSet) -> None:
    if not structures.geometry.matches(volume.geometry):
        raise GeometryError("The structures lie on another grid than the image; read them with it as reference.")
    if volume.array.ndim != 3 or volume.modality not in ("", "CT") or volume.array.min() > -500:
        raise InputError("A digital follow-up needs a CT in Hounsfield units; choose one.")
    if min(volume.geometry.shape) < 8:
        raise InputError("A digital follow-up needs at least 8 slices, rows and columns; give the whole scan.")


def _squeeze(motion: Motion, mask: np.ndarray, geometry: Geometry) -> float:
    """Volume in the follow-up by volume in the prior, of tissue where the mask is."""
    index = np.argwhere(mask)[:, ::-1]
    world = geometry.world(index[:: max(1, len(index) // 2000)])
    field = motion.field
    place = field.geometry.index(world)[:, ::-1].T
    stretch = ndimage.map_coordinates(field.jacobian(), place, order=1, mode="nearest")
    return float(1.0 / stretch.mean())


def _borders(structures: StructureSet, target: str, changed: Change, geometry: Geometry) -> list[Border]:
    """All structures after the change, as distances on the prior's grid."""
    host = _host(structures, target, changed)
    start = tuple(axis.start for axis in changed.site.box)
    borders = []
    for structure in structures.structures:
        if structure.name == target:
            borders.append(Border(changed.shape, (start[0], start[1], start[2])))
            continue
        share = _share_of_target(structure, changed)
        border = _border(structure.mask, geometry, changed if structure.name == host else None)
        if share <= _CONTAINS_SHARE:
            # What had nothing in common with the target before has nothing in common with it now.
            _cut(border, changed.shape if share == 0 else changed.grown, changed)
        borders.append(border)
    return borders


def _host(structures: StructureSet, target: str, changed: Change) -> str | None:
    """The organ that the target lies in without being part of it: what the target leaves, belongs to it then."""
    site = changed.site
    shell = (site.distance > 2) & (site.distance < 8)
    shares = {
        structure.name: float(structure.mask[site.box][shell].mean())
        for structure in structures.structures
        if structure.name != target and shell.any() and _share_of_target(structure, changed) <= _CONTAINS_SHARE
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= _HOST_SHARE else None


def _share_of_target(structure: Structure, changed: Change) -> float:
    site = changed.site
    return float(structure.mask[site.box][site.target].mean())


def _border(mask: np.ndarray, geometry: Geometry, changed: Change | None) -> Border:
    """Distances in a box that holds the mask, and what it gains by the change."""
    used = mask
    if changed is not None:
        used = mask.copy()
        used[changed.site.box] |= changed.removed < 0
    held = [np.flatnonzero(used.any(axis=tuple(o for o in range(3) if o != axis))) for axis in range(3)]
    if held[0].size == 0:
        return Border(np.full((2, 2, 2), 1.0, np.float32), (0, 0, 0))
    # Three voxels around it, also beyond the image's end: a structure that touches it is closed there.
    low, high = [int(h[0]) for h in held], [int(h[-1]) + 1 for h in held]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    distance = signed_distance(np.pad(used[box], 3), geometry.spacing[::-1])
    return Border(distance, (low[0] - 3, low[1] - 3, low[2] - 3))


def _cut(border: Border, taken: np.ndarray, changed: Change) -> None:
    """Take from a structure, in place, what ``taken`` (mm, negative inside, on the site's box) holds."""
    site_start = np.array([axis.start for axis in changed.site.box])
    low = np.maximum(np.array(border.start), site_start)
    high = np.minimum(np.array(border.start) + border.distance.shape, site_start + np.array(taken.shape))
    if (high <= low).any():
        return
    here = tuple(slice(a, b) for a, b in zip(low - border.start, high - border.start, strict=True))
    there = tuple(slice(a, b) for a, b in zip(low - site_start, high - site_start, strict=True))
    np.maximum(border.distance[here], -taken[there], out=border.distance[here])


def _away(grid: Geometry, motion: Motion, prior: Geometry, mask: np.ndarray) -> Geometry:
    """The longer part of the grid on one side of where the target was."""
    index = np.argwhere(mask)[:, ::-1]
    k = grid.index(motion.to_followup(prior.world(index[:: max(1, len(index) // 3000)])))[:, 2]
    gap = _AWAY_MM / grid.spacing[2]
    below, above = int(np.floor(k.min() - gap)), int(np.ceil(k.max() + gap)) + 1
    if below >= grid.shape[0] - above:
        return keep_slices(grid, 0, below)
    return keep_slices(grid, above, grid.shape[0])


def _later(source: DicomSource, days: int) -> DicomSource:
    """A new study of the same patient; its UIDs come when it is written."""
    kept = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientPosition")
    removed = ("PatientIdentityRemoved", "DeidentificationMethod")
    header = {key: value for key, value in source.header.items() if key in kept + removed}
    try:
        date = (dt.datetime.strptime(source.study_date, "%Y%m%d") + dt.timedelta(days=days)).strftime("%Y%m%d")
    except ValueError:
        date = ""
    return DicomSource(patient_id=source.patient_id, study_date=date, header=header)


def _describe(settings: FollowUpSettings, target: str, before: float, after: float) -> str:
    became = {
        "regress": f"shrank from {before:.1f} to {after:.1f} cm³",
        "grow": f"grew from {before:.1f} to {after:.1f} cm³",
        "vanish": "vanished",
        "split": f"shrank from {before:.1f} to {after:.1f} cm³ and split",
        "necrosis": "became necrotic",
        "same": "stayed as it was",
    }[settings.tumour]
    away = "; the scan ends short of it" if settings.field_of_view == "away" else ""
    return (
        f"{settings.days} days later, {target} {became}{away}; set-up {settings.shift_mm:g} mm and "
        f"{settings.rotation_deg:g}° off, diaphragm {settings.breathing_mm:g} mm, skin {settings.weight_mm:+g} mm"
    )
