"""One target brought to its prior: where structures are expected in it, and which prior slice speaks for each slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.intensity import same_kind, unit_doubt
from adaptsam.image.volume import Volume
from adaptsam.registration.deformable import Deformation
from adaptsam.registration.registration_cache import registered
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.prior_visit import PriorVisit, StructurePlan
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.slicewise.slice_pairing import middle_pairs, nearest_slice
from adaptsam.slicewise.structure_location import Location, SliceLocation
from adaptsam.storage.disk_cache import KeptFolder

#: A structure lies outside if more than this share of it falls on the image's very lowest value.
PADDING_SHARE = 0.95


class RegisteredTarget:
    """A target image registered with its prior.

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
        self._locations: dict[StructurePlan, Location] = {}

    def _register(self, kept: KeptFolder | None, tick: Callable[[], None]) -> Rigid | Deformation:
        if not self.searches or self.settings.register == "off":
            return Rigid(quality=1.0)
        return registered(self.prior.images.volume, self.images.volume, self.settings, kept, tick)

    @property
    def rigid(self) -> Rigid:
        """The rigid part of the registration."""
        return self.registration.rigid if isinstance(self.registration, Deformation) else self.registration

    @property
    def comparable(self) -> bool:
        """Whether a structure that is not found can be called gone: images of one kind and known units, registered."""
        apart = self.rigid.method == "position" and bool(self.rigid.warning)
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
