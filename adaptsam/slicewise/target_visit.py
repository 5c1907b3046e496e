"""One target visit: where structures are expected in it, which prior slice speaks for each of its slices, views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.body import coarsen, in_plane_box
from adaptsam.image.cropping import UNSEEN, View, full_view, square_view
from adaptsam.image.intensity import same_kind, unit_doubt
from adaptsam.image.volume import Volume
from adaptsam.image.windowing import Window, choose_window
from adaptsam.registration.deformable import Deformation
from adaptsam.registration.registration_cache import registered
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.fusion import Evidence, Fused, Weights, expected_dice, fuse, look_known, method_odds, support
from adaptsam.slicewise.prior_visit import PriorVisit, StructurePlan
from adaptsam.slicewise.registration_error import misfit
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.slicewise.slice_pairing import middle_pairs, nearest_slice
from adaptsam.slicewise.structure_location import Location, SliceLocation
from adaptsam.slicewise.tissue import Sample, look_changed
from adaptsam.storage.disk_cache import KeptFolder

#: So many slices tell whether a structure's look changed as a whole.
LOOKED_AT = 8

#: A structure lies outside if more than this share of it falls on the image's very lowest value.
PADDING_SHARE = 0.95


@dataclass(frozen=True)
class _Heard:
    """The witnesses' weights on one target; whether the tissue's look may vote there, and a difference raise doubts."""

    told: Weights
    look: bool
    doubt: bool


class TargetVisit:
    """A target image brought together with its prior.

    Args:
        prior: the prepared prior visit.
        target: the image to be contoured.
        tick: called during registration; may raise to stop.
        registration: from target to prior, where it is known already.
        kept: where it is looked up otherwise, and left.

    Attributes:
        registration: from target to prior points. The identity for flat priors (pictures, videos, single slices), and
            where registration is off or failed.
        searches: whether slices have physical places, so that structures are looked for where they are expected.
    """

    def __init__(
        self,
        prior: PriorVisit,
        target: Volume,
        tick: Callable[[], None] = lambda: None,
        registration: Rigid | Deformation | None = None,
        kept: KeptFolder | None = None,
    ) -> None:
        self.prior, self.settings = prior, prior.settings
        self.images = SliceImages(target, prior.plane)
        self.searches = not prior.images.is_flat
        self.registration = registration or self._register(kept, tick)
        growth = self.settings.margin_growth * (1.0 - min(1.0, max(0.0, self.registration.quality)))
        deformable = self.registration.method == "deformable"
        margin = self.settings.deformable_margin_mm if deformable else self.settings.margin_mm
        self.margin_mm = margin * (1.0 + growth)
        fusing = self.settings.fusing
        self.error_mm = fusing.deformable_error_mm if deformable else fusing.rigid_error_mm
        self._windows: dict[str, Window] = {}
        self._locations: dict[StructurePlan, Location] = {}
        self._changed: dict[StructurePlan, bool] = {}
        self._body_path: np.ndarray | None = None

    def _register(self, kept: KeptFolder | None, tick: Callable[[], None]) -> Rigid | Deformation:
        if not self.searches or self.settings.register == "off":
            return Rigid(quality=1.0)
        return registered(self.prior.images.volume, self.images.volume, self.settings, kept, tick)

    @property
    def comparable(self) -> bool:
        """Whether a structure that is not found can be called gone: images of one kind and known units, registered."""
        rigid = self.registration.rigid if isinstance(self.registration, Deformation) else self.registration
        apart = rigid.method == "position" and bool(rigid.warning)
        return not apart and self.alike

    @cached_property
    def alike(self) -> bool:
        """Whether prior and target show tissue alike: what the prior looks like says something of the target."""
        prior, target = self.prior.images.volume, self.images.volume
        return same_kind(prior, target) and not (unit_doubt(prior) or unit_doubt(target))

    def locate(self, plan: StructurePlan) -> Location:
        """Locate a structure here; nothing of it is inside if the image shows only padding there."""
        if plan in self._locations:
            return self._locations[plan]
        location = Location(
            plan.contour, plan.field, self.registration, self.prior.images.geometry, self.images.geometry
        )
        i, j, k = location.seen_points.T
        if len(k) and float(np.mean(self.images.volume.array[k, j, i] == self._padding)) > PADDING_SHARE:
            location.inside = 0.0
        self._locations[plan] = location
        return location

    @cached_property
    def _padding(self) -> float:
        """The lowest value of the image: what scanners and resampling put where they have measured nothing."""
        return float(min(one.min() for one in self.images.volume.array))

    def window(self, plan: StructurePlan) -> Window:
        """The intensity window for a structure: the prior's rule on this volume."""
        name = plan.structure.name
        if name not in self._windows:
            modality = self.prior.images.volume.modality
            self._windows[name] = choose_window(self.images.volume, self.settings.window, name, modality)
        return self._windows[name]

    def given_slices(self, name: str) -> list[int] | None:
        """The canonical slices that the user gave for a structure, ascending; None if they are to be found."""
        given = self.settings.slices_for(name)
        if given is None:
            return list(range(self.images.geometry.shape[0])) if not self.searches else None
        depth = self.images.geometry.shape[0]
        for k in given:
            if not 0 <= int(k) < depth:
                raise InputError(f"Target slice {k} was given for {name!r}, but slices are numbered 0 to {depth - 1}.")
        return sorted({self.images.orientation.stored_slice(int(k), self.images.stored.shape) for k in given})

    def pair(self, plan: StructurePlan, k: int, here: SliceLocation | None, given: list[int] | None) -> int:
        """The usable prior slice for target slice ``k``; ``here`` is None for images without physical places."""
        if self.settings.pairing == "middle" and given is not None:
            return nearest_slice(middle_pairs(given, plan.contour.drawn)[k], plan.usable)
        if here is None:
            return nearest_slice(k, plan.usable)
        if self.settings.pairing == "position":
            j, i = np.unravel_index(int(np.argmin(here.distance)), here.distance.shape)
            world = self.images.geometry.world(np.array([i, j, k], float))
            return nearest_slice(float(self.prior.images.geometry.index(world)[2]), plan.usable)
        return nearest_slice(here.prior_k, plan.usable)

    def view(self, plan: StructurePlan, k: int, prior_k: int) -> View:
        """The view of target slice ``k`` that shows what that of prior slice ``prior_k`` shows, at the same scale."""
        if plan.view == "full":
            return full_view(self.images.in_plane, self.images.pixel, self.prior.method.image_size)
        if plan.view == "magnified":
            x, y = self.prior.view(plan, prior_k).centre
            world = self.prior.images.geometry.world(np.array([x, y, prior_k], float))
            index = self.images.geometry.index(self.registration.to_target(world))
            centre = (float(index[0]), float(index[1]))
        else:
            centre = self._body_centre(plan, k)
        return square_view(centre, plan.side_mm, self.images.pixel, self.prior.method.image_size)

    def image(self, plan: StructurePlan, k: int, view: View) -> np.ndarray:
        """Target slice ``k`` as the model sees it, uint8 (h, w, 3)."""
        return self.images.image(k, view, self.window(plan))

    def fused(self, plan: StructurePlan, k: int, here: SliceLocation, logits: np.ndarray) -> Fused:
        """Fuse registration, the method's ``logits`` (H, W) and the appearance on target slice ``k``."""
        settings, box = self.settings.fusing, here.box
        gray, seen = self._grays(plan, k, here)
        weights = self._weights(plan)
        look = np.zeros(here.solid.shape)
        if weights.look and look.size:
            look, known = look_known(gray, seen, here.solid, self.images.pixel, settings.search_mm)
            if plan.tissue is not None:
                look = look + (1.0 - known) * plan.tissue.of(gray, self.images.pixel)
        error: float | np.ndarray = self.error_mm
        change: float | np.ndarray = settings.change
        heard: float | np.ndarray = weights.told.appearance
        if settings.misfit is not None and gray.size and weights.doubt:
            near = here.distance[box] <= self.margin_mm
            doubt = misfit(gray, seen, near, self.images.pixel, self.error_mm, settings.misfit)
            error, change = doubt.error_mm, doubt.change
            if weights.look:
                heard = heard + change * (settings.largest_weight - heard)
        odds = np.full(logits.shape, UNSEEN, np.float32)
        evidence = Evidence(here.solid, method_odds(logits[box]), look)
        odds[box] = fuse(evidence, weights.told, error, change, heard)
        mask = odds[box] > 0
        usual = fuse(evidence, weights.told, self.error_mm, settings.change)
        nothing = np.zeros_like(mask)
        return Fused(
            odds,
            support(evidence, weights.told, mask, heard),
            expected_dice(usual, mask),
            expected_dice(usual, nothing),
        )

    def look_changed(self, plan: StructurePlan) -> bool:
        """Whether a structure's look changed as a whole, as a contrast agent changes it, and not its place."""
        rule = self.settings.fusing.look
        if rule is None or not self.searches or not self.comparable:
            return False
        if plan not in self._changed:
            location = self.locate(plan)
            low, high = max(0, location.expected[0]), min(self.images.geometry.shape[0] - 1, location.expected[1])
            some = range(low, high + 1)[:: max(1, (high - low + 1) // LOOKED_AT)]
            self._changed[plan] = look_changed((self._sample(plan, location, k) for k in some), self.images.pixel, rule)
        return self._changed[plan]

    def _sample(self, plan: StructurePlan, location: Location, k: int) -> Sample:
        here = location.on_slice(k)
        return *self._grays(plan, k, here), here.solid

    def _grays(self, plan: StructurePlan, k: int, here: SliceLocation) -> tuple[np.ndarray, np.ndarray]:
        """The gray values (h, w) of a slice near the structure, and those of the registered prior there."""
        gray = self.window(plan).gray(self.images.volume.array[k][here.box])
        return gray, plan.window.gray(self.prior.images.sample(here.index)) if gray.size else gray

    def _weights(self, plan: StructurePlan) -> _Heard:
        """The witnesses' weights here: another modality silences two of them, and a changed look one."""
        fusing, told = self.settings.fusing, plan.weights
        if not self.alike:
            return _Heard(Weights(), look=False, doubt=False)
        if fusing.look is not None and self.look_changed(plan):
            return _Heard(Weights(told.method * fusing.look.method_factor, 0.0), look=False, doubt=False)
        return _Heard(told, look=fusing.appearance, doubt=True)

    def _body_centre(self, plan: StructurePlan, k: int) -> tuple[float, float]:
        """Centre of the view on slice ``k``: the axis of the prior's body, or of the target's if not registered."""
        if self._body_path is None:
            self._body_path = self._find_body_path(*self.prior.view(plan, 0).centre)
        first, last = self._body_path
        rise = last[2] - first[2]
        share = (k - first[2]) / rise if abs(rise) > 1e-6 else 0.5
        x, y = (first + share * (last - first))[:2]
        return float(np.round(x, 3)), float(np.round(y, 3))

    def _find_body_path(self, x: float, y: float) -> np.ndarray:
        """Two points (2, 3), i, j, k, on the axis through (x, y) of the prior's slices."""
        geometry = self.images.geometry
        # The axis is straight: only the rigid part can move it.
        rigid = self.registration.rigid if isinstance(self.registration, Deformation) else self.registration
        if rigid.warning:
            centre = geometry.index(in_plane_box(coarsen(self.images.volume))[0])
            return np.array([[centre[0], centre[1], 0.0], [centre[0], centre[1], max(1.0, geometry.shape[0] - 1)]])
        prior = self.prior.images.geometry
        ends = np.array([[x, y, 0.0], [x, y, max(1.0, prior.shape[0] - 1)]])
        return geometry.index(rigid.to_target(prior.world(ends)))
