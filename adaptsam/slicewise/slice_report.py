"""Reports on structures and slices, beside the mask."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FOUND = "found"
GONE = "gone"
OUTSIDE = "outside"
PARTLY_OUTSIDE = "partly outside"
TOO_SMALL = "too small"
NOT_FOUND = "not found"
CARRIED = "carried"


@dataclass(frozen=True, eq=False)
class SliceReport:
    """One slice that was looked at.

    ``index`` counts along the target array's slice axis (k, as a rule) and ``prior_index`` along the prior's; -1
    without a prior.
    ``points`` (n, 2) are in target array pixels, (i, j) where slices run along k, with ``labels`` (n,) 1 or 0.
    ``distance`` above ``threshold`` means rejected, empty there, unless fused evidence supports the mask.
    ``interpolated``: rejected, and filled from both neighbours. ``touches_limit``: the mask runs into the edge of where
    it was allowed to be. ``carried``: the registered contour stands here because nothing better is known. ``expected``:
    the registered contour reaches this slice.
    """

    index: int
    prior_index: int
    accepted: bool
    distance: float
    threshold: float
    confidence: float
    points: np.ndarray
    labels: np.ndarray
    predicted_iou: float = 0.0
    interpolated: bool = False
    touches_limit: bool = False
    carried: bool = False
    expected: bool = False

    @property
    def held(self) -> bool:
        """Whether the result holds the structure here."""
        return self.accepted or self.interpolated or self.carried


@dataclass(frozen=True, eq=False)
class StructureReport:
    """One structure in one target.

    ``status`` is "found", "gone" (looked for where it should be, and not there), "outside" the target's field of view,
    "partly outside" of it, or "too small" for the model's patches; "carried" where prior and target could not be
    compared, so that the registered contour is all that is known; "not found" without a prior. ``view`` is what the
    model was shown. ``slice_axis`` is the target array's axis along which slices are counted: 0 for k.
    """

    name: str
    status: str
    volume_cm3: float
    prior_volume_cm3: float
    centroid_shift_mm: float
    slices: tuple[SliceReport, ...] = field(default=(), repr=False)
    view: str = "body"
    slice_axis: int = 0
    margin_mm: float = float("nan")

    @property
    def held_slices(self) -> tuple[SliceReport, ...]:
        """Slices that hold the structure, the least trusted first."""
        return tuple(sorted((s for s in self.slices if s.held), key=lambda s: s.confidence))

    @property
    def worst_slices(self) -> tuple[SliceReport, ...]:
        """The slices to look at, the least trusted first: those that hold the structure, and empty ones that may.

        These are where the registered contour lies, and the ones beside a slice that holds it: an end is missed there.
        """
        held = {one.index for one in self.slices if one.held}
        beside = {index + step for index in held for step in (-1, 1)}
        listed = (one for one in self.slices if one.held or one.expected or one.index in beside)
        return tuple(sorted(listed, key=lambda one: one.confidence))
