"""The loop over a target's slices, for any method that segments one slice from another.

Slices where a structure is expected are segmented in order, all structures of a slice together so that they share its
image; then each structure is followed outward until two slices in a row are rejected. Images stream through: what grows
with the number of slices is one bool mask per structure, on the target's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Protocol

import numpy as np

from adaptsam.image.cropping import View
from adaptsam.image.signed_distance import signed_distance
from adaptsam.image.volume import Volume
from adaptsam.progress import Progress, Repeating, Tick, silent, ticked
from adaptsam.registration.deformable import Deformation
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.carried_structure import CarriedStructure
from adaptsam.slicewise.finishing import Outcome
from adaptsam.slicewise.prior_contour import FAR
from adaptsam.slicewise.prior_visit import PriorVisit, StructurePlan
from adaptsam.slicewise.search_range import Search
from adaptsam.slicewise.side_by_side import SideBySide
from adaptsam.slicewise.slice_method import SliceJob, SliceResult
from adaptsam.slicewise.slice_pairing import neighbours
from adaptsam.slicewise.slice_report import StructureReport
from adaptsam.slicewise.structure_location import Location, SliceLocation
from adaptsam.slicewise.target_visit import TargetVisit
from adaptsam.storage.disk_cache import KeptFolder

#: The share of a structure inside the target below which it is not looked for.
OUTSIDE_BELOW = 0.02

#: The largest logit of a mask to begin with.
SUREST_HINT = 8.0


@dataclass(frozen=True, eq=False)
class Carried:
    """Result for one target: per structure a mask bool on the target's stored array, and a report.

    ``visit`` is the target as it was understood, to which corrections are made.
    """

    masks: tuple[np.ndarray, ...]
    reports: tuple[StructureReport, ...]
    warnings: tuple[str, ...]
    visit: TargetVisit


class Watch(Protocol):
    """Shown every slice that was accepted, before clean-up: the result as it grows.

    ``index`` counts along ``axis`` of the target's stored array, and ``mask`` is that slice, bool (rows, columns).
    """

    def __call__(self, structure: str, axis: int, index: int, mask: np.ndarray) -> None: ...


def unwatched(structure: str, axis: int, index: int, mask: np.ndarray) -> None:
    """Watch nothing, for a caller who waits for the whole."""


@dataclass(eq=False)
class Track:
    """One structure on its way through the target. ``mask`` is the result, ``turned`` the same memory, canonical."""

    plan: StructurePlan
    mask: np.ndarray
    turned: np.ndarray
    given: list[int] | None
    location: Location | None
    search: Search
    finisher: CarriedStructure


@dataclass(frozen=True, eq=False)
class _Asked:
    """A slice's jobs, one for each prior slice, and what is needed to bring their results back to the slice."""

    track: Track
    k: int
    prior_k: int
    view: View
    here: SliceLocation | None
    jobs: tuple[SliceJob, ...]


def carry(
    prior: PriorVisit,
    target: Volume,
    progress: Progress = silent,
    registration: Rigid | Deformation | None = None,
    watch: Watch = unwatched,
    kept: KeptFolder | None = None,
) -> Carried:
    """Carry every planned structure of a prior visit to one target.

    Args:
        prior: prepared with its method and settings.
        target: gray, or colour uint8.
        progress: receives "register" and "segment" with slices done and in all; may cancel.
        registration: from target to prior points, both canonical, where it is known already.
        watch: shown the slices as they come.
        kept: where registrations are looked up, and left for the next run.
    """
    steps = Repeating.of(progress)
    steps("register", 0, 1)
    visit = TargetVisit.of(prior, target, steps.again, registration, kept)
    steps("register", 1, 1)
    tracks = [_start(visit, plan, target) for plan in ticked(prior.plans, steps.again)]
    _segment(visit, tracks, steps, watch)
    finished = [track.finisher.finish() for track in ticked(tracks, steps.again)]
    warnings = [f"Registration: {visit.target.registration.warning}."] if visit.target.registration.warning else []
    warnings += [text for _, texts in finished for text in texts]
    reports = tuple(report for report, _ in finished)
    return Carried(tuple(track.mask for track in tracks), reports, tuple(warnings), visit)


def _start(visit: TargetVisit, plan: StructurePlan, target: Volume) -> Track:
    """An empty result for one structure, and the slices to begin with."""
    settings = visit.target.settings
    mask = np.zeros(target.geometry.shape, bool)
    given = visit.target.given_slices(plan.structure.name)
    location = visit.target.locate(plan) if visit.target.searches else None
    depth, pitch = visit.target.images.geometry.shape[0], visit.target.images.geometry.spacing[2]
    if not plan.usable or (given is None and location is not None and location.inside < OUTSIDE_BELOW):
        search = Search([])
    elif given is not None or location is None:
        search = Search(given or [])
    else:
        blunt = plan.contour.blunt_ends(settings.blunt_end_share)
        search = Search.around(location.expected, depth, pitch, blunt, visit.target.margin_mm, settings)
    turned = visit.target.images.orientation.apply(mask)
    return Track(plan, mask, turned, given, location, search, CarriedStructure(visit.target, plan, turned, location))


def _segment(visit: TargetVisit, tracks: list[Track], steps: Repeating, watch: Watch) -> None:
    """First the slices where structures are expected, bottom to top; then outward, all structures in step."""
    waiting = sorted({k for track in tracks for k in track.search.first})
    settings, method = visit.target.settings, visit.target.prior.method
    # A hint from the neighbour wants the slices one after the other.
    size, workers = (1, 1) if settings.hint == "neighbour" else (settings.batch_slices, method.workers)
    done = 0
    steps("segment", 0, len(waiting))
    with SideBySide(workers) as side_by_side:
        while waiting:
            total = done + len(waiting)
            slices = [[(track, k) for track in tracks if track.search.wants(k)] for k in waiting]
            step = min(size, -(-len(slices) // workers))
            batches = [list(chain(*slices[start : start + step])) for start in range(0, len(slices), step)]
            for batch, _ in side_by_side.each(partial(_segment_batch, visit, steps.again), batches, steps.again):
                _show(visit, batch, watch)
                done += len({k for _, k in batch})
                steps("segment", done, total)
            waiting = sorted({k for track in tracks for k in track.search.next_slices()})


def _show(visit: TargetVisit, batch: Sequence[tuple[Track, int]], watch: Watch) -> None:
    """Show the accepted slices of a batch."""
    for track, k in batch:
        if track.turned[k].any():
            axis, index = visit.target.images.stored_slice(k)
            watch(track.plan.structure.name, axis, index, track.mask.take(index, axis=axis))


def _segment_batch(visit: TargetVisit, tick: Tick, wanted: list[tuple[Track, int]]) -> None:
    asked = []
    for track, k in ticked(wanted, tick):
        one = _ask(visit, track, k)
        if one is None:
            _reject_unseen(visit, track, k)
        else:
            asked.append(one)
    jobs = [job for one in asked for job in one.jobs]
    told = iter(visit.target.prior.method.segment(jobs) if jobs else [])
    for one in ticked(asked, tick):
        result = _together([next(told) for _ in one.jobs])
        if result is None:
            _reject_unseen(visit, one.track, one.k)
        else:
            _take(visit, one, result)


def _ask(visit: TargetVisit, track: Track, k: int) -> _Asked | None:
    """The job for one slice; None where the structure cannot lie on it because its region is out of view."""
    plan = track.plan
    here = track.location.on_slice(k) if track.location is not None else None
    prior_k = visit.target.pair(plan, k, here, track.given)
    view = visit.views.view(plan, k, prior_k)
    region = None
    if here is not None and visit.target.settings.location_prior:
        region = view.mask(here.distance <= visit.target.margin_mm)
        if not region.any():
            return None
    image = visit.views.image(plan, k, view)
    prior = visit.target.prior
    hint = _hint(visit, track, k, view, here)
    jobs = tuple(
        SliceJob(plan.structure.name, prior.image(plan, one), prior.mask(plan, one), image, region, hint)
        for one in neighbours(prior_k, plan.usable, visit.target.settings.prior_slices)
    )
    return _Asked(track, k, prior_k, view, here, jobs)


def _hint(visit: TargetVisit, track: Track, k: int, view: View, here: SliceLocation | None) -> np.ndarray | None:
    """Logits (h, w) of a mask to begin with: a mm from its border is 1, up to :data:`SUREST_HINT`."""
    wanted = visit.target.settings.hint
    if wanted == "contour" and here is not None:
        distance = np.full(visit.target.images.in_plane, FAR)
        distance[here.box] = here.solid
    elif wanted == "neighbour":
        there = [n for n in (k - 1, k + 1) if 0 <= n < len(track.turned) and track.turned[n].any()]
        if not there:
            return None
        distance = signed_distance(track.turned[there[0]], visit.target.images.pixel[::-1])
    else:
        return None
    return view.values(np.clip(-distance, -SUREST_HINT, SUREST_HINT).astype(np.float32), -SUREST_HINT)


def _together(results: Sequence[SliceResult | None]) -> SliceResult | None:
    """One result of several for the same slice: the nearest to its prior, with the mean of all logits."""
    there = [result for result in results if result is not None]
    if len(there) < 2:
        return there[0] if there else None
    best = min(there, key=lambda result: result.distance)
    return replace(best, logits=np.stack([result.logits for result in there]).mean(axis=0))


def _take(visit: TargetVisit, one: _Asked, result: SliceResult) -> None:
    """Judge a result, and put its mask on the slice if it is accepted."""
    settings, track = visit.target.settings, one.track
    logits = one.view.restore(result.logits, visit.target.images.in_plane)
    touches, expected, empty, distance, supported = False, float("nan"), float("nan"), float(result.distance), False
    if one.here is not None and settings.fusion != "off":
        fused = visit.evidence.fused(track.plan, one.k, one.here, logits)
        # A structure that looks different as a whole and kept its contour is there: features cannot tell.
        supported = fused.support >= settings.fusing.enough_support or visit.evidence.look_changed(track.plan)
        logits = fused.odds
        expected, empty = fused.expected_dice, fused.empty_dice
    if one.here is not None and settings.location_prior:
        logits -= settings.softness * np.maximum(0.0, one.here.distance - visit.target.margin_mm)
        touches = _touches(logits > 0, one.here.distance, visit)
    mask = logits > 0
    if one.here is not None and settings.fusion != "off":
        distance = _distance_under(visit, one, mask, distance)
    accepted = bool(mask.any()) and (supported or track.plan.threshold.accepts(distance))
    if accepted:
        track.turned[one.k] = mask
    points = one.view.to_slice(result.points)
    track.finisher.outcomes[one.k] = Outcome(
        accepted,
        distance,
        float(result.predicted_iou),
        points,
        result.labels,
        prior_k=one.prior_k,
        area=int(mask.sum()),
        expected_dice=expected,
        empty_dice=empty,
        touches=touches,
        reached=one.here is not None and bool((one.here.solid < 0).any()),
    )
    track.search.tell(one.k, accepted)


def _distance_under(visit: TargetVisit, one: _Asked, mask: np.ndarray, otherwise: float) -> float:
    """The distance of what lies under a mask (H, W) of the slice; ``otherwise`` where no patch does."""
    job = one.jobs[0]
    shown = one.view.mask(mask)
    images, masks = [job.prior_image, job.target_image], [job.prior_mask, shown]
    distance = float(visit.target.prior.method.prior_distances(images, masks)[0])
    return distance if np.isfinite(distance) else otherwise


def _touches(mask: np.ndarray, distance: np.ndarray, visit: TargetVisit) -> bool:
    """Whether more than ``touch_share`` of a mask lies in the outermost ``touch_mm`` of its margin, or beyond."""
    outermost = mask & (distance > visit.target.margin_mm - visit.target.settings.touch_mm)
    return bool(outermost.sum() > visit.target.settings.touch_share * mask.sum())


def _reject_unseen(visit: TargetVisit, track: Track, k: int) -> None:
    nothing = Outcome(False, float("inf"), 0.0, np.zeros((0, 2)), np.zeros(0, int), prior_k=track.plan.usable[0])
    track.finisher.outcomes[k] = nothing
    track.search.tell(k, False)
