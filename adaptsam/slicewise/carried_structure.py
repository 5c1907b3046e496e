"""One structure of a prior, finished in a target: what registration and the prior tell of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adaptsam.slicewise import slice_report as status
from adaptsam.slicewise.cleanup import Overlap, bounding_box
from adaptsam.slicewise.confidence import Continuity
from adaptsam.slicewise.finishing import Finisher
from adaptsam.slicewise.lost_parts import lost_parts
from adaptsam.slicewise.prior_visit import StructurePlan
from adaptsam.slicewise.registered_target import RegisteredTarget
from adaptsam.slicewise.slice_report import StructureReport
from adaptsam.slicewise.structure_location import Location

#: Shares of a structure in the target's field of view below which it is "partly outside", and, if nothing of it was
#: found, "outside" rather than "gone".
WHOLE_ABOVE = 0.95
TELLING_ABOVE = 0.5


class CarriedStructure(Finisher):
    """A structure on its way from prior to target.

    Args:
        target: the image, registered.
        plan: of the structure.
        mask: bool (K, H, W), canonical; it grows, and is finished in place.
        location: where the structure is expected, if slices have places.
    """

    def __init__(
        self, target: RegisteredTarget, plan: StructurePlan, mask: np.ndarray, location: Location | None
    ) -> None:
        settings = target.settings
        super().__init__(
            plan.structure.name,
            target.images,
            mask,
            limit=plan.threshold.limit,
            shape=plan.shape,
            cleaning=settings.cleaning if settings.cleanup else None,
            confidence=settings.confidence,
        )
        self._target, self._settings = target, settings
        self.plan, self.location = plan, location

    @property
    def is_comparable(self) -> bool:
        """Whether what is not found can be called gone."""
        return self._target.comparable

    @property
    def _is_judged(self) -> bool:
        """Whether the structure is judged as a whole."""
        return self._settings.acceptance != "off" and self._settings.target_slices is None

    def settle(self) -> list[int]:
        """Put the registered contour where prior and target cannot be compared and nothing was found; the slices.

        Of another modality all slices are carried; where registration failed, those that were not accepted.
        """
        if self.is_comparable or self.location is None or not self._is_judged:
            return []
        whole = not self._target.alike or not self.is_enough() or self.is_misplaced()
        carried = []
        for k, outcome in self.outcomes.items():
            if not whole and outcome.accepted:
                continue
            here = self.location.on_slice(k)
            self.mask[k] = False
            self.mask[k][here.box] = here.solid < 0
            if self.mask[k].any():
                carried.append(k)
        return carried

    def is_enough(self) -> bool:
        """Whether so many slices were accepted that the structure is there at all, and not a lone look-alike."""
        accepted = [outcome for outcome in self.outcomes.values() if outcome.accepted]
        if self.location is None or not self._is_judged:
            return bool(accepted)
        drawn = sum(outcome.area for outcome in self.outcomes.values())
        kept = sum(outcome.area for outcome in accepted)
        if self._settings.fusion != "off" and kept < self._settings.fusing.accepted_share * drawn:
            return False
        low, high = max(0, self.location.expected[0]), min(len(self.mask) - 1, self.location.expected[1])
        return len(accepted) >= max(1, int(np.ceil(self._settings.calibration.minimum_share * (high - low + 1))))

    def is_misplaced(self) -> bool:
        """Whether what was found lies beside the expected place: tissue that was there before, not the structure."""
        rule = self._settings.calibration
        overlap = self._overlap(rule.near_mm)
        box = bounding_box(self.mask) if overlap is not None and self._is_judged else None
        if overlap is None or box is None or self.location is None:
            return False
        # Beyond its ends, the field of distances only knows the place within the slice.
        low, high = max(box[0].start, self.location.expected[0]), min(box[0].stop, self.location.expected[1] + 1)
        along = np.argwhere(self.mask[low : max(low, high)]) + np.array([low, 0, 0])
        near = len(along) * overlap(along) if len(along) else 0.0
        return bool(near < rule.near_share * np.count_nonzero(self.mask))

    def overlaps(self) -> tuple[Overlap | None, Overlap | None]:
        """Shares of some voxels near the registered contour, and within it."""
        return self._overlap(self._target.margin_mm / 2), self._overlap(0.0)

    def _overlap(self, limit: float) -> Callable[[np.ndarray], float] | None:
        """Share of some voxels (n, 3), k, j, i, that lies within ``limit`` mm of the registered contour."""
        location = self.location
        if location is None or not self._settings.location_prior:
            return None
        return lambda voxels: float(
            (location.distance_at(voxels[:: max(1, len(voxels) // 5000), ::-1]) <= limit).mean()
        )

    def cleaned(self, removed: np.ndarray) -> list[str]:
        """Count pixels a slice, int (K,), that clean-up removed as missing, and warn, if it is worth it."""
        share = removed.sum() / max(1, removed.sum() + np.count_nonzero(self.mask))
        if share <= self._settings.cleaning.told_share:
            return []
        self.missing += removed
        volume = removed.sum() * self.images.geometry.voxel_volume / 1000
        text = (
            f"{self.name}: clean-up removed {volume:.1f} cm³ ({100 * share:.0f} % of what was found) on "
            f"{self._slices(np.flatnonzero(removed))}, apart from the rest and from the registered contour; look there."
        )
        return [text]

    def lost(self) -> list[str]:
        """The same for parts of the prior of which nothing was found."""
        if self.location is None or not self.mask.any():
            return []
        rule, told = self._settings.cleaning, []
        size = self._target.prior.images.geometry.voxel_volume / self.images.geometry.voxel_volume
        for part in lost_parts(self.plan.contour, self.location, self.mask, size, rule.told_share, rule.covered_share):
            for k, pixels in part.pixels.items():
                self.missing[k] += pixels
            told.append(
                f"{self.name}: of a part that was {100 * part.share:.0f} % of it, nothing was found; it is "
                f"expected on {self._slices(np.array(sorted(part.pixels)))}; look there."
            )
        return told

    def _slices(self, canonical: np.ndarray) -> str:
        shape = self.images.stored.shape
        stored = sorted(self.images.orientation.stored_slice(int(k), shape) for k in (canonical[0], canonical[-1]))
        return f"slice {stored[0]}" if stored[0] == stored[1] else f"slices {stored[0]} to {stored[1]}"

    def usual(self) -> Continuity:
        """Usual likeness of the prior's neighbouring slices."""
        return self.plan.usual

    def prior_index(self, prior_k: int) -> int:
        """The stored index of a canonical slice of the prior."""
        prior = self._target.prior.images
        return prior.orientation.stored_slice(prior_k, prior.stored.shape)

    def described(self, carried: bool) -> dict[str, Any]:
        """Status, prior volume, shift, view and margin."""
        limited = self.location is not None and self._settings.location_prior
        return {
            "status": self._status(carried),
            "prior_volume_cm3": self.plan.contour.volume_mm3 / 1000,
            "centroid_shift_mm": self._centroid_shift(),
            "view": self.plan.view,
            "margin_mm": self._target.margin_mm if limited else float("nan"),
        }

    def _status(self, carried: bool) -> str:
        if not self.plan.usable:
            return status.TOO_SMALL
        if carried:
            return status.CARRIED
        inside = self.location.inside if self.location is not None else 1.0
        if self.mask.any():
            return status.FOUND if inside >= WHOLE_ABOVE else status.PARTLY_OUTSIDE
        if inside < TELLING_ABOVE or not self.outcomes:
            return status.OUTSIDE
        return status.GONE if self.is_comparable else status.NOT_FOUND

    def _centroid_shift(self) -> float:
        """Millimetres between the result's centre of mass and the registered prior's; NaN without a result."""
        box = bounding_box(self.mask)
        if box is None or not self._target.searches:
            return float("nan")
        total = np.zeros(3)
        for k in range(box[0].start, box[0].stop):
            rows, columns = np.nonzero(self.mask[k])
            total += [columns.sum(), rows.sum(), k * len(rows)]
        centre = self.images.geometry.world(total / np.count_nonzero(self.mask))
        return float(np.linalg.norm(centre - self._target.registration.to_target(self.plan.contour.centroid)))

    def warnings(self, report: StructureReport) -> list[str]:
        """Warnings about the status, and about a mask that runs into the limit of where it was looked for."""
        name = self.name
        warnings = _on_status(name, report.status)
        touching = sum(one.touches_limit for one in report.slices)
        if touching:
            warnings.append(
                f"{name} runs into the limit of where it was looked for ({report.margin_mm:.0f} mm around the "
                f"registered contour) on {touching} of {sum(one.accepted for one in report.slices)} slices."
            )
        return warnings


def _on_status(name: str, found: str) -> list[str]:
    """The warning about a structure's status, if it is worth one."""
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
    return [texts[found]] if found in texts else []
