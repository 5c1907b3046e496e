"""Finishing of one structure: final mask, confidence and report from its slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adaptsam.slicewise import slice_report as status
from adaptsam.slicewise.cleanup import bounding_box, bridge, clean
from adaptsam.slicewise.confidence import accepted_confidence, continuity, jump_factor, rejected_confidence
from adaptsam.slicewise.lost_parts import lost_parts
from adaptsam.slicewise.prior_visit import StructurePlan
from adaptsam.slicewise.registered_target import RegisteredTarget
from adaptsam.slicewise.slice_report import SliceReport, StructureReport
from adaptsam.slicewise.structure_location import Location

#: Shares of a structure in the target's field of view below which it is "partly outside", and, if nothing of it was
#: found, "outside" rather than "gone".
WHOLE_ABOVE = 0.95
TELLING_ABOVE = 0.5


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of one slice; ``points`` (n, 2) are x, y in canonical pixels, ``area`` the mask's, kept or not.

    ``empty_dice`` is what an empty mask would promise; ``reached``: the registered contour reaches this slice.
    """

    prior_k: int
    accepted: bool
    distance: float
    predicted_iou: float
    points: np.ndarray
    labels: np.ndarray
    touches: bool
    expected_dice: float
    area: int
    empty_dice: float = float("nan")
    reached: bool = False


def finish(
    target: RegisteredTarget,
    plan: StructurePlan,
    mask: np.ndarray,
    outcomes: dict[int, Outcome],
    location: Location | None,
) -> tuple[StructureReport, list[str]]:
    """Judge the whole structure, clean ``mask`` (canonical, in place), and report; with warnings for the user."""
    carried = _carry(target, mask, outcomes, location)
    missing = np.zeros(len(mask), int)
    bridged: list[int] = []
    told: list[str] = []
    if not carried and not _enough(target, outcomes, location):
        mask[:] = False
    if not carried and target.settings.cleanup and mask.any():
        if target.settings.cleaning.bridge:
            rejected = [k for k, outcome in outcomes.items() if not outcome.accepted]
            bridged = bridge(mask, sorted(rejected), target.images.geometry.spacing[1::-1])
        near, inside = _overlap(target, location, target.margin_mm / 2), _overlap(target, location, 0.0)
        removed = clean(mask, plan.shape, target.settings.cleaning, near, inside)
        _note_removed(target, plan.structure.name, mask, removed, missing, told)
    if not carried and _elsewhere(target, mask, location):
        mask[:] = False
        bridged = []
    if mask.any() and location is not None:
        _note_lost(target, plan, location, mask, missing, told)
    slices = [
        _slice_report(target, plan, mask, k, outcomes[k], k in bridged, k in carried, int(missing[k]))
        for k in sorted(outcomes)
    ]
    found = _status(target, plan, mask, outcomes, location, bool(carried))
    report = StructureReport(
        name=plan.structure.name,
        status=found,
        volume_cm3=int(np.count_nonzero(mask)) * target.images.geometry.voxel_volume / 1000,
        prior_volume_cm3=plan.contour.volume_mm3 / 1000,
        centroid_shift_mm=_centroid_shift(target, plan, mask),
        slices=tuple(sorted(slices, key=lambda one: one.index)),
        view=plan.view,
        slice_axis=target.images.orientation.order[0],
        margin_mm=target.margin_mm if location is not None and target.settings.location_prior else float("nan"),
    )
    return report, [*_warnings(report, bridged), *told]


def _carry(
    target: RegisteredTarget, mask: np.ndarray, outcomes: dict[int, Outcome], location: Location | None
) -> list[int]:
    """Put the registered contour where prior and target cannot be compared and nothing was found; the slices.

    Of another modality all slices are carried; where registration failed, those that were not accepted.
    """
    settings = target.settings
    if target.comparable or location is None or settings.acceptance == "off" or settings.target_slices is not None:
        return []
    whole = not target.alike or not _enough(target, outcomes, location) or _elsewhere(target, mask, location)
    carried = []
    for k, outcome in outcomes.items():
        if not whole and outcome.accepted:
            continue
        here = location.on_slice(k)
        mask[k] = False
        mask[k][here.box] = here.solid < 0
        if mask[k].any():
            carried.append(k)
    return carried


def _note_removed(
    target: RegisteredTarget, name: str, mask: np.ndarray, removed: np.ndarray, missing: np.ndarray, told: list[str]
) -> None:
    """Add what clean-up took away to ``missing``, pixels by slice, and to what is ``told``, if it is worth it."""
    share = removed.sum() / max(1, removed.sum() + np.count_nonzero(mask))
    if share <= target.settings.cleaning.told_share:
        return
    missing += removed
    volume = removed.sum() * target.images.geometry.voxel_volume / 1000
    told.append(
        f"{name}: clean-up removed {volume:.1f} cm³ ({100 * share:.0f} % of what was found) on "
        f"{_slices(target, np.flatnonzero(removed))}, apart from the rest and from the registered contour; look there."
    )


def _note_lost(
    target: RegisteredTarget,
    plan: StructurePlan,
    location: Location,
    mask: np.ndarray,
    missing: np.ndarray,
    told: list[str],
) -> None:
    """The same for parts of the prior of which nothing was found."""
    rule = target.settings.cleaning
    size = target.prior.images.geometry.voxel_volume / target.images.geometry.voxel_volume
    for part in lost_parts(plan.contour, location, mask, size, rule.told_share, rule.covered_share):
        for k, pixels in part.pixels.items():
            missing[k] += pixels
        told.append(
            f"{plan.structure.name}: of a part that was {100 * part.share:.0f} % of it, nothing was found; it is "
            f"expected on {_slices(target, np.array(sorted(part.pixels)))}; look there."
        )


def _slices(target: RegisteredTarget, canonical: np.ndarray) -> str:
    shape = target.images.stored.shape
    stored = sorted(target.images.orientation.stored_slice(int(k), shape) for k in (canonical[0], canonical[-1]))
    return f"slice {stored[0]}" if stored[0] == stored[1] else f"slices {stored[0]} to {stored[1]}"


def _enough(target: RegisteredTarget, outcomes: dict[int, Outcome], location: Location | None) -> bool:
    """Whether so many slices were accepted that the structure is there at all, and not a lone look-alike."""
    accepted = sum(outcome.accepted for outcome in outcomes.values())
    if location is None or target.settings.acceptance == "off" or target.settings.target_slices is not None:
        return accepted > 0
    drawn = sum(outcome.area for outcome in outcomes.values())
    kept = sum(outcome.area for outcome in outcomes.values() if outcome.accepted)
    if target.settings.fusion != "off" and kept < target.settings.fusing.accepted_share * drawn:
        return False
    low, high = max(0, location.expected[0]), min(target.images.geometry.shape[0] - 1, location.expected[1])
    return accepted >= max(1, int(np.ceil(target.settings.calibration.minimum_share * (high - low + 1))))


def _elsewhere(target: RegisteredTarget, mask: np.ndarray, location: Location | None) -> bool:
    """Whether what was found lies beside the expected place: tissue that was there before, not the structure."""
    rule = target.settings.calibration
    overlap = _overlap(target, location, rule.near_mm)
    if overlap is None or target.settings.acceptance == "off" or target.settings.target_slices is not None:
        return False
    box = bounding_box(mask)
    if box is None or location is None:
        return False
    # Beyond its ends, the field of distances only knows the place within the slice.
    low, high = max(box[0].start, location.expected[0]), min(box[0].stop, location.expected[1] + 1)
    along = np.argwhere(mask[low : max(low, high)]) + np.array([low, 0, 0])
    near = len(along) * overlap(along) if len(along) else 0.0
    return bool(near < rule.near_share * np.count_nonzero(mask))


def _overlap(target: RegisteredTarget, location: Location | None, limit: float) -> Callable[[np.ndarray], float] | None:
    """Share of some voxels (n, 3), k, j, i, that lies within ``limit`` mm of the registered contour."""
    if location is None or not target.settings.location_prior:
        return None
    return lambda voxels: float((location.distance_at(voxels[:: max(1, len(voxels) // 5000), ::-1]) <= limit).mean())


def _status(
    target: RegisteredTarget,
    plan: StructurePlan,
    mask: np.ndarray,
    outcomes: dict[int, Outcome],
    location: Location | None,
    carried: bool,
) -> str:
    if not plan.usable:
        return status.TOO_SMALL
    if carried:
        return status.CARRIED
    inside = location.inside if location is not None else 1.0
    if mask.any():
        return status.FOUND if inside >= WHOLE_ABOVE else status.PARTLY_OUTSIDE
    if inside < TELLING_ABOVE or not outcomes:
        return status.OUTSIDE
    return status.GONE if target.comparable else status.NOT_FOUND


def _slice_report(
    target: RegisteredTarget,
    plan: StructurePlan,
    mask: np.ndarray,
    k: int,
    outcome: Outcome,
    interpolated: bool,
    carried: bool,
    missing: int,
) -> SliceReport:
    settings, limit = target.settings.confidence, plan.threshold.limit
    there = bool(mask[k].any())
    value = _held(target, plan, mask, k, outcome) if there else _empty(target, plan, mask, k, outcome)
    if interpolated and there:
        value = min(value, settings.bridged_limit)
    if there and not target.comparable:
        value = min(value, settings.carried_limit)
    if missing:  # the Dice if all that is missing belongs to the structure
        area = int(mask[k].sum())
        value = min(value, 2 * area / (2 * area + missing))
    orientation, shape = target.images.orientation, target.images.stored.shape
    prior = target.prior.images
    return SliceReport(
        index=orientation.stored_slice(k, shape),
        prior_index=prior.orientation.stored_slice(outcome.prior_k, prior.stored.shape),
        accepted=outcome.accepted and there and not carried,
        distance=outcome.distance,
        threshold=limit,
        confidence=value,
        points=orientation.stored_points(outcome.points, shape),
        labels=outcome.labels,
        predicted_iou=outcome.predicted_iou,
        interpolated=interpolated and there,
        touches_limit=outcome.touches and there and not carried,
        carried=carried,
        expected=outcome.reached,
    )


def _held(target: RegisteredTarget, plan: StructurePlan, mask: np.ndarray, k: int, outcome: Outcome) -> float:
    """The confidence of a slice that holds the structure."""
    settings, limit = target.settings.confidence, plan.threshold.limit
    neighbours = [mask[n] for n in (k - 1, k + 1) if 0 <= n < len(mask)]
    found = continuity(mask[k], neighbours) if any(one.any() for one in neighbours) else None
    if settings.kind != "expected" or not np.isfinite(outcome.expected_dice):
        return accepted_confidence(
            outcome.distance, limit, outcome.predicted_iou, found, plan.usual, settings, outcome.touches
        )
    value = outcome.expected_dice * (settings.touching_factor if outcome.touches else 1.0)
    if found is not None:
        value *= jump_factor(found, plan.usual, settings)
    return value


def _empty(target: RegisteredTarget, plan: StructurePlan, mask: np.ndarray, k: int, outcome: Outcome) -> float:
    """The confidence that a slice is rightly empty; between two that hold the structure it is low."""
    settings, limit = target.settings.confidence, plan.threshold.limit
    promised = settings.kind == "expected" and np.isfinite(outcome.expected_dice)
    if promised and outcome.area == 0:
        value = outcome.expected_dice
    else:
        value = rejected_confidence(outcome.distance, limit, settings)
        if promised and np.isfinite(outcome.empty_dice):
            value = min(value, outcome.empty_dice)
    enclosed = 0 < k < len(mask) - 1 and mask[k - 1].any() and mask[k + 1].any()
    return min(value, settings.bridged_limit) if outcome.reached and enclosed else value


def _centroid_shift(target: RegisteredTarget, plan: StructurePlan, mask: np.ndarray) -> float:
    """Millimetres between the result's centre of mass and the registered prior's; NaN without a result."""
    box = bounding_box(mask)
    if box is None or not target.searches:
        return float("nan")
    total = np.zeros(3)
    for k in range(box[0].start, box[0].stop):
        rows, columns = np.nonzero(mask[k])
        total += [columns.sum(), rows.sum(), k * len(rows)]
    centre = target.images.geometry.world(total / np.count_nonzero(mask))
    return float(np.linalg.norm(centre - target.registration.to_target(plan.contour.centroid)))


def _warnings(report: StructureReport, bridged: list[int]) -> list[str]:
    name = report.name
    texts = {
        status.GONE: f"{name} was not found in this image; its contour is empty.",
        status.CARRIED: f"{name} could not be looked for: prior and target were not registered, show tissue in "
        "different ways, or have values of unknown units. Its contour is the earlier one, where registration or the "
        "scanner puts it; check every slice.",
        status.NOT_FOUND: f"{name} was not found in this image; its contour is empty. It may well be there: prior and "
        "target were not registered, are of different modalities, or have values of unknown units.",
        status.OUTSIDE: f"{name} lies outside the field of view of this image; its contour is empty.",
        status.PARTLY_OUTSIDE: f"{name} lies partly outside the field of view of this image.",
        status.TOO_SMALL: f"{name} is too small for this model, not one patch lies within its contour; it stays empty.",
    }
    warnings = [texts[report.status]] if report.status in texts else []
    touching = sum(one.touches_limit for one in report.slices)
    if touching:
        warnings.append(
            f"{name} runs into the limit of where it was looked for ({report.margin_mm:.0f} mm around the registered "
            f"contour) on {touching} of {sum(one.accepted for one in report.slices)} slices."
        )
    if bridged:
        warnings.append(f"{name} has slices that were interpolated between accepted ones ({len(bridged)}); check them.")
    return warnings
