"""The evidence of a target's slices: registration, the method and the look of the tissue, weighed together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptsam.image.cropping import UNSEEN
from adaptsam.slicewise.fusion import Evidence, Fused, Weights, expected_dice, fuse, look_known, method_odds, support
from adaptsam.slicewise.prior_visit import StructurePlan
from adaptsam.slicewise.registered_target import RegisteredTarget
from adaptsam.slicewise.registration_error import misfit
from adaptsam.slicewise.slice_views import SliceViews
from adaptsam.slicewise.structure_location import Location, SliceLocation
from adaptsam.slicewise.tissue import Sample, look_changed

#: So many slices tell whether a structure's look changed as a whole.
LOOKED_AT = 8


@dataclass(frozen=True)
class _Heard:
    """The witnesses' weights on one target; whether the tissue's look may vote there, and a difference raise doubts."""

    told: Weights
    look: bool
    doubt: bool


class SliceEvidence:
    """The witnesses of fusion on the slices of one target."""

    def __init__(self, target: RegisteredTarget, views: SliceViews) -> None:
        self.target, self.views = target, views
        self._changed: dict[StructurePlan, bool] = {}

    def fused(self, plan: StructurePlan, k: int, here: SliceLocation, logits: np.ndarray) -> Fused:
        """Fuse registration, the method's ``logits`` (H, W) and the appearance on target slice ``k``."""
        settings, box = self.target.settings.fusing, here.box
        gray, seen = self._grays(plan, k, here)
        weights = self._weights(plan)
        look = np.zeros(here.solid.shape)
        if weights.look and look.size:
            look, known = look_known(gray, seen, here.solid, self.target.images.pixel, settings.search_mm)
            if plan.tissue is not None:
                look = look + (1.0 - known) * plan.tissue.of(gray, self.target.images.pixel)
        error: float | np.ndarray = self.target.error_mm
        change: float | np.ndarray = settings.change
        heard: float | np.ndarray = weights.told.appearance
        if settings.misfit is not None and gray.size and weights.doubt:
            near = here.distance[box] <= self.target.margin_mm
            doubt = misfit(gray, seen, near, self.target.images.pixel, self.target.error_mm, settings.misfit)
            error, change = doubt.error_mm, doubt.change
            if weights.look:
                heard = heard + change * (settings.largest_weight - heard)
        odds = np.full(logits.shape, UNSEEN, np.float32)
        evidence = Evidence(here.solid, method_odds(logits[box]), look)
        odds[box] = fuse(evidence, weights.told, error, change, heard)
        mask = odds[box] > 0
        usual = fuse(evidence, weights.told, self.target.error_mm, settings.change)
        nothing = np.zeros_like(mask)
        return Fused(
            odds,
            support(evidence, weights.told, mask, heard),
            expected_dice(usual, mask),
            expected_dice(usual, nothing),
        )

    def look_changed(self, plan: StructurePlan) -> bool:
        """Whether a structure's look changed as a whole, as a contrast agent changes it, and not its place."""
        rule = self.target.settings.fusing.look
        if rule is None or not self.target.searches or not self.target.comparable:
            return False
        if plan not in self._changed:
            location = self.target.locate(plan)
            low, high = (
                max(0, location.expected[0]),
                min(self.target.images.geometry.shape[0] - 1, location.expected[1]),
            )
            some = range(low, high + 1)[:: max(1, (high - low + 1) // LOOKED_AT)]
            self._changed[plan] = look_changed(
                (self._sample(plan, location, k) for k in some), self.target.images.pixel, rule
            )
        return self._changed[plan]

    def _sample(self, plan: StructurePlan, location: Location, k: int) -> Sample:
        here = location.on_slice(k)
        return *self._grays(plan, k, here), here.solid

    def _grays(self, plan: StructurePlan, k: int, here: SliceLocation) -> tuple[np.ndarray, np.ndarray]:
        """The gray values (h, w) of a slice near the structure, and those of the registered prior there."""
        gray = self.views.window(plan).gray(self.target.images.volume.array[k][here.box])
        return gray, plan.window.gray(self.target.prior.images.sample(here.index)) if gray.size else gray

    def _weights(self, plan: StructurePlan) -> _Heard:
        """The witnesses' weights here: another modality silences two of them, and a changed look one."""
        fusing, told = self.target.settings.fusing, plan.weights
        if not self.target.alike:
            return _Heard(Weights(), look=False, doubt=False)
        if fusing.look is not None and self.look_changed(plan):
            return _Heard(Weights(told.method * fusing.look.method_factor, 0.0), look=False, doubt=False)
        return _Heard(told, look=fusing.appearance, doubt=True)
