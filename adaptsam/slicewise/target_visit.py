"""One target visit with all that segments it: where structures lie, what slices show, and the evidence for a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adaptsam.image.volume import Volume
from adaptsam.registration.deformable import Deformation
from adaptsam.registration.rigid import Rigid
from adaptsam.slicewise.prior_visit import PriorVisit
from adaptsam.slicewise.registered_target import RegisteredTarget
from adaptsam.slicewise.slice_evidence import SliceEvidence
from adaptsam.slicewise.slice_views import SliceViews
from adaptsam.storage.disk_cache import KeptFolder


@dataclass(frozen=True, eq=False)
class TargetVisit:
    """A target with all that its slices are segmented by, and corrected by afterwards.

    Attributes:
        target: the image, registered: where structures lie.
        views: what the method is shown.
        evidence: how a mask comes of registration, method and tissue.
    """

    target: RegisteredTarget
    views: SliceViews
    evidence: SliceEvidence

    @classmethod
    def of(
        cls,
        prior: PriorVisit,
        image: Volume,
        tick: Callable[[], None] = lambda: None,
        registration: Rigid | Deformation | None = None,
        kept: KeptFolder | None = None,
    ) -> TargetVisit:
        """Register an image with a prior; arguments as of :class:`RegisteredTarget`."""
        target = RegisteredTarget(prior, image, tick, registration, kept)
        views = SliceViews(target)
        return cls(target, views, SliceEvidence(target, views))
