"""A carried contour, corrected slice by slice: other points, or a slice that somebody drew. Nothing is encoded twice.

Clicks are evidence (:mod:`.click_evidence`); beyond their reach the registered contour, SAM's mask from all points and
the tissue's look decide as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.cropping import UNSEEN, View
from adaptsam.image.signed_distance import signed_distance
from adaptsam.propagation.click_evidence import DEFAULT_CORRECTION, Clicks, CorrectedSlice, CorrectionSettings
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.slicewise.fusion import Evidence, expected_dice, fuse, method_odds
from adaptsam.slicewise.prior_visit import StructurePlan
from adaptsam.slicewise.slice_method import SliceJob, SliceResult
from adaptsam.slicewise.structure_location import SliceLocation
from adaptsam.slicewise.target_visit import TargetVisit


def correct_slice(
    visit: TargetVisit,
    structure: str,
    index: int,
    points: np.ndarray,
    labels: np.ndarray,
    clicked: np.ndarray | None = None,
    settings: CorrectionSettings = DEFAULT_CORRECTION,
) -> CorrectedSlice:
    """One slice of a carried structure from other points than P²SAM's.

    Args:
        visit: the target as :meth:`adaptsam.propagation.volume_propagation.Propagator.carry` understood it.
        structure: its name.
        index: along the target's stored slice axis.
        points: (n, 2), in stored pixels, as the report gives them.
        labels: (n,), 1 on the structure and 0 off it.
        clicked: bool (n,), the points that a person placed or moved; all by default.
        settings: see :class:`CorrectionSettings`.

    Raises:
        InputError: no such structure or slice, no point, or points without labels.
    """
    plan = _plan(visit, structure)
    k = _canonical_slice(visit, index)
    clicks = Clicks.checked(points, labels, clicked, f"Slice {index} needs at least one prompt of {structure}")
    turned = visit.target.images.orientation.canonical_points(clicks.points, visit.target.images.stored.shape)
    job, view, here = _job(visit, plan, k)
    shown = (turned - view.origin) / view.step
    result = _method(visit).segment_points(job, shown, clicks.labels)
    logits = _restored(result, view, visit)
    odds = logits
    if here is not None and visit.target.settings.fusion != "off":
        odds = visit.evidence.fused(plan, k, here, logits).odds
    gray = visit.views.window(plan).rgb(visit.target.images.volume.array[k])[..., 0].astype(np.float32)
    odds = clicks.weighed(odds, gray, visit.target.images.pixel, settings, turned)
    return _corrected(visit, k, odds, clicks.points, clicks.labels)


def follow_slice(
    visit: TargetVisit,
    structure: str,
    index: int,
    mask: np.ndarray,
    indices: Sequence[int],
    settings: CorrectionSettings = DEFAULT_CORRECTION,
) -> list[CorrectedSlice]:
    """Other slices of a structure from one that somebody drew, which stands in for the prior.

    Args:
        visit: the target as it was understood.
        structure: its name.
        index: of the drawn slice along the target's stored slice axis.
        mask: bool (rows, columns), that slice of the stored array.
        indices: the slices wanted, in any order.
        settings: see :class:`CorrectionSettings`.

    Raises:
        InputError: no such structure or slice, or the drawn one is empty or too small for the model.
    """
    plan = _plan(visit, structure)
    drawn_k = _canonical_slice(visit, index)
    drawn = _turned(visit, np.asarray(mask, bool))
    if not drawn.any():
        raise InputError(f"{structure} is empty on slice {index}; draw it there, or go to a slice that holds it.")
    _, view, _ = _job(visit, plan, drawn_k)
    image, shown = visit.views.image(plan, drawn_k, view), view.mask(drawn)
    if not _method(visit).usable(image, shown):
        raise InputError(f"{structure} on slice {index} is smaller than a patch of this model; draw a larger slice.")
    return list(_follow(visit, plan, drawn_k, drawn, (image, shown, view), indices, settings))


def _follow(
    visit: TargetVisit,
    plan: StructurePlan,
    drawn_k: int,
    drawn: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray, View],
    indices: Sequence[int],
    settings: CorrectionSettings,
) -> Iterable[CorrectedSlice]:
    """One job for each slice, with the drawn slice as its prior and its contour as the registered one."""
    image, shown, view = prior
    solid = signed_distance(drawn, visit.target.images.pixel[::-1])
    slices = [_canonical_slice(visit, index) for index in indices]
    region = view.mask(solid <= visit.target.margin_mm) if visit.target.settings.location_prior else None
    jobs = [SliceJob(plan.structure.name, image, shown, visit.views.image(plan, k, view), region) for k in slices]
    for k, result in zip(slices, _method(visit).segment(jobs) if jobs else [], strict=True):
        odds = _restored(result, view, visit)
        if visit.target.settings.fusion != "off":
            away = abs(k - drawn_k) * visit.target.images.geometry.spacing[2]
            evidence = Evidence(solid, method_odds(odds), np.zeros_like(odds))
            error = max(visit.target.error_mm, settings.drift * away)
            odds = fuse(evidence, replace(plan.weights, appearance=0.0), error, visit.target.settings.fusing.change)
        points = np.zeros((0, 2)) if result is None else view.to_slice(result.points)
        labels = np.zeros(0, int) if result is None else result.labels
        stored = visit.target.images.orientation.stored_points(points, visit.target.images.stored.shape)
        yield _corrected(visit, k, odds, stored, labels)


def _job(visit: TargetVisit, plan: StructurePlan, k: int) -> tuple[SliceJob, View, SliceLocation | None]:
    """The slice as the loop showed it, so that its embedding is there."""
    here = visit.target.locate(plan).on_slice(k) if visit.target.searches else None
    given = visit.target.given_slices(plan.structure.name)
    prior_k = visit.target.pair(plan, k, here, given)
    view = visit.views.view(plan, k, prior_k)
    prior = visit.target.prior
    image = visit.views.image(plan, k, view)
    return SliceJob(plan.structure.name, prior.image(plan, prior_k), prior.mask(plan, prior_k), image), view, here


def _restored(result: SliceResult | None, view: View, visit: TargetVisit) -> np.ndarray:
    if result is None:
        return np.full(visit.target.images.in_plane, UNSEEN, np.float32)
    return view.restore(result.logits, visit.target.images.in_plane)


def _corrected(visit: TargetVisit, k: int, odds: np.ndarray, points: np.ndarray, labels: np.ndarray) -> CorrectedSlice:
    axis, index = visit.target.images.stored_slice(k)
    mask = odds > 0
    return CorrectedSlice(axis, index, _stored(visit, mask), points, labels, expected_dice(odds, mask))


def _stored(visit: TargetVisit, mask: np.ndarray) -> np.ndarray:
    """A canonical slice (H, W) as a slice of the stored array."""
    orientation = visit.target.images.orientation
    return np.asarray(orientation.undo(mask[None])).take(0, axis=orientation.order[0])


def _turned(visit: TargetVisit, mask: np.ndarray) -> np.ndarray:
    """The inverse of :func:`_stored`."""
    orientation = visit.target.images.orientation
    turned = np.asarray(orientation.apply(np.expand_dims(mask, orientation.order[0])))[0]
    if turned.shape != visit.target.images.in_plane:
        raise InputError(f"The drawn slice has {mask.shape} pixels, which is not the shape of a slice of the target.")
    return turned


def _canonical_slice(visit: TargetVisit, index: int) -> int:
    axis, _ = visit.target.images.stored_slice(0)
    depth = visit.target.images.stored.shape[axis]
    if not 0 <= index < depth:
        raise InputError(f"There is no slice {index}; the target's slices are numbered 0 to {depth - 1}.")
    return visit.target.images.orientation.stored_slice(index, visit.target.images.stored.shape)


def _plan(visit: TargetVisit, structure: str) -> StructurePlan:
    for plan in visit.target.prior.plans:
        if plan.structure.name == structure:
            if not plan.usable:
                raise InputError(f"{structure} is too small for this model; nothing can be corrected with it.")
            return plan
    raise InputError(f"{structure} was not carried to this target; choose one that was, or run it again.")


def _method(visit: TargetVisit) -> P2SamSlices:
    method = visit.target.prior.method
    if not isinstance(method, P2SamSlices):
        raise InputError("Only what P²SAM carried can be corrected with points.")
    return method
