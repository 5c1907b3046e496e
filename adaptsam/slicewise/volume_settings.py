"""Every number of the volume workflow that can be tuned, with its default, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import index
from typing import ClassVar

from adaptsam.errors import InputError
from adaptsam.image.windowing import WindowChoice, check_window
from adaptsam.registration.deformable import DeformableSettings
from adaptsam.registration.rigid import RegistrationSettings

CHOICES = {
    "pairing": ("registered", "position", "middle"),
    "view": ("auto", "full", "body", "magnified"),
    "acceptance": ("calibrated", "off"),
    "hint": ("off", "contour", "neighbour"),
    "fusion": ("calibrated", "off"),
    "register": ("deformable", "rigid", "off"),
}

NOT_NEGATIVE = (
    *("margin_mm", "deformable_margin_mm", "margin_growth", "extend_mm", "blunt_margin_mm"),
    *("softness", "magnified_minimum_mm"),
)


@dataclass(frozen=True)
class AcceptanceSettings:
    """Settings of a slice's acceptance; the rule stands in :mod:`adaptsam.slicewise.acceptance`.

    ``gap_mm`` is how far apart the prior's slices are compared, ``pairs`` how many at most, ``quantile`` the robust
    upper limit of their distances, ``factor`` what a later visit may differ more than neighbouring slices do, and
    ``background_share`` the part of the distance from the structure to its surroundings that is never exceeded.
    ``enough_pairs``: with fewer pairs, slices farther apart are compared too. ``ring_mm`` is the width of the
    surroundings. ``minimum_share``: with fewer accepted slices than this share of those expected, the structure counts
    as gone; so it does if less than ``near_share`` of what was found lies in or within ``near_mm`` of the registered
    contour, because a look-alike beside the empty place was there before.
    """

    gap_mm: float = 5.0
    pairs: int = 12
    enough_pairs: int = 3
    quantile: float = 0.9
    factor: float = 2.0
    background_share: float = 0.8
    single_slice_share: float = 0.6
    ring_mm: float = 15.0
    minimum_share: float = 0.15
    near_mm: float = 4.0
    near_share: float = 0.3


@dataclass(frozen=True)
class CleanupSettings:
    """3-D clean-up. A component needs ``minimum_share`` of the largest one's voxels, in the prior and in the result, or
    at least ``own_place`` of its own voxels within the registered contour: what the prior has there stays, whatever its
    share.

    What is removed beyond ``told_share`` of a structure is said, and lowers the confidence of those slices; so does a
    component of the prior, at least that large, of whose place the result covers less than ``covered_share``.
    Empty gaps of up to ``joined_gap`` slices do not part a component in two. ``bridge`` fills single rejected slices
    between accepted ones, flagged and with low confidence. Holes are filled slice by slice if the prior has less than
    ``hole_share`` of its area in holes; a hole larger than that share of its slice only if at least ``own_place`` of it
    lies within the registered contour.
    """

    bridge: bool = True
    components: bool = True
    holes: bool = True
    minimum_share: float = 0.05
    joined_gap: int = 3
    hole_share: float = 0.01
    own_place: float = 0.5
    told_share: float = 0.01
    covered_share: float = 0.1


@dataclass(frozen=True)
class ConfidenceSettings:
    """Exponents and penalties of :mod:`adaptsam.slicewise.confidence`.

    ``kind`` "expected" is, with fusion, the Dice that the fused log-odds promise, which the prior has calibrated, for
    empty slices too; without fusion, and with "terms", it is the product that stands there.
    ``carried_limit`` is the most for a contour that was carried without knowing better. An overlap or area that is less
    than ``jump`` of what is usual between neighbouring slices lowers the confidence in proportion.
    """

    distance_weight: float = 1.0
    iou_weight: float = 1.0
    neighbour_weight: float = 1.0
    area_weight: float = 0.5
    touching_factor: float = 0.7
    bridged_limit: float = 0.2
    carried_limit: float = 0.3
    jump: float = 0.6
    unseen: float = 0.5
    kind: str = "expected"

    def __post_init__(self) -> None:
        if self.kind not in ("terms", "expected"):
            raise InputError(f"The confidence can be 'terms' or 'expected', not {self.kind!r}.")


@dataclass(frozen=True)
class MisfitSettings:
    """Settings of the registered contour's local error; see :mod:`adaptsam.slicewise.registration_error`.

    Differences are averaged over ``window_mm`` (a Gaussian's sigma). Those beyond ``noise_factor`` times the noise
    count, ``error_factor`` times as far as they would be explained by. The error is not below ``least_error_mm``, nor
    beyond ``largest`` times the usual one; up to ``change`` of the tissue may have been replaced.
    """

    window_mm: float = 3.0
    noise_factor: float = 2.0
    error_factor: float = 2.0
    least_error_mm: float = 0.2
    largest: float = 2.0
    change: float = 0.8


@dataclass(frozen=True)
class LookChangeSettings:
    """Limits beyond which the look of a structure counts as changed as a whole.

    At least ``changed_share`` of what lies deeper inside than ``core_mm`` differs by more than ``difference`` gray
    values, and at least ``kept_edges`` of the prior's edges along the contour (steeper than ``edge`` gray values per
    mm) are there in the target with half of their strength. Then the tissue's look does not vote, and the method's
    weight is multiplied by ``method_factor``.
    """

    changed_share: float = 0.35
    core_mm: float = 2.0
    difference: float = 6.0
    kept_edges: float = 0.7
    edge: float = 4.0
    method_factor: float = 0.0


@dataclass(frozen=True)
class FusionSettings:
    """Settings of the fusion of registration, method and appearance; see :mod:`adaptsam.slicewise.fusion`.

    ``rigid_error_mm`` and ``deformable_error_mm`` are what a registered contour is usually wrong by, ``change`` the
    share of tissue near a structure that may not be what it was: with these the weights are fitted. On a target, both
    are told pixel by pixel from the images, unless ``misfit`` is None. ``pairs`` of prior slices the weights are fitted
    to, at most, none beyond ``largest_weight``. Without ``appearance`` only registration and method are heard; with it,
    patches are looked for up to ``search_mm`` from their place. A slice is also accepted, whatever its distance, if
    method and appearance give its mask on average at least ``enough_support`` of the largest log-odds their weights
    allow. The registered contour puts something where a structure vanished: if less than ``accepted_share`` of the area
    drawn is on accepted slices, the structure counts as gone. ``tissue``: where nothing near a place looks alike, the
    gray value itself votes (:mod:`adaptsam.slicewise.tissue`); ``look`` tells when a structure's look changed as a
    whole, None for never.
    """

    rigid_error_mm: float = 3.0
    deformable_error_mm: float = 1.5
    change: float = 0.1
    pairs: int = 10
    largest_weight: float = 3.0
    appearance: bool = True
    search_mm: float = 6.0
    enough_support: float = 0.08
    accepted_share: float = 0.5
    misfit: MisfitSettings | None = field(default_factory=MisfitSettings)
    tissue: bool = True
    look: LookChangeSettings | None = field(default_factory=LookChangeSettings)


@dataclass(frozen=True)
class VolumeSettings:
    """Settings of a volume's workflow: finding, pairing, showing, judging and assembling slices.

    Args:
        pairing: "registered" through the registration, "position" by physical place, "middle" of the stacks, as in the
            papers.
        register: "rigid", "deformable" for rigid and then Demons, or "off" for physical positions (phases of one scan,
            or already registered images).
        location_prior: whether points and mask are held near the registered contour.
        margin_mm: how far from it, at perfect registration; ``margin_growth`` times as much is added at none.
        deformable_margin_mm: the same after deformable registration.
        softness: logits taken off per mm beyond the margin.
        touch_share: the part of a mask in the last ``touch_mm`` of the margin or beyond, above which it is reported.
        extend_mm: how far slices are tried beyond those where the structure is expected (and the margin along k).
        blunt_end_share: a structure whose last slice has this share of its median area (a cord, an aorta) was cut off
            there by whoever drew it: along k it gets only ``blunt_margin_mm``, and no extension.
        window: of intensities, as :func:`adaptsam.image.windowing.check_window` takes it: "auto" suits the structure, a
            name such as "lung", or two bounds.
        view: "auto" is "body", and "magnified" for small structures; "full" is the papers' whole slice.
        magnify_below_patches: median in-plane diameter in patches of the body view under which "auto" magnifies.
        magnified_extent: side of the magnified view as a multiple of the structure's largest in-plane extent, at least
            ``magnified_minimum_mm``.
        body_margin: side of the body view as a multiple of the prior's body.
        prior_slices: how many neighbouring prior slices speak for a target slice; the mean of their logits counts.
        hint: the mask that the method begins with: none ("off", the papers), the registered "contour", or the result on
            the "neighbour" slice where there is one already, at one slice at a time.
        fusion: "calibrated" weighs registered contour, method and appearance pixel by pixel; "off" is the method alone.
        acceptance: "calibrated" rejects slices by the distances among the prior's own; "off" takes all.
        cleanup: whether what was found is cleaned up in 3-D, as its own settings say.
        target_slices: the papers' oracle: the indices along the target's stored slice axis (k, as a rule) that hold the
            structure, for all structures or per structure name.
        batch_slices: target slices whose images are in memory at a time.
    """

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "acceptance": ("acceptance", "calibration"),
        "cleanup": ("cleanup", "cleaning"),
        "fusion": ("fusion", "fusing"),
        "registration": ("register", "registration"),
    }

    pairing: str = "registered"
    register: str = "deformable"
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    deformable: DeformableSettings = field(default_factory=DeformableSettings)
    window: WindowChoice = "auto"
    view: str = "auto"
    magnify_below_patches: float = 4.0
    magnified_extent: float = 3.0
    magnified_minimum_mm: float = 64.0
    body_margin: float = 1.04
    location_prior: bool = True
    margin_mm: float = 12.0
    deformable_margin_mm: float = 8.0
    margin_growth: float = 1.0
    softness: float = 1.0
    touch_share: float = 0.05
    touch_mm: float = 2.0
    extend_mm: float = 30.0
    blunt_end_share: float = 0.6
    blunt_margin_mm: float = 3.0
    prior_slices: int = 1
    hint: str = "off"
    fusion: str = "calibrated"
    fusing: FusionSettings = field(default_factory=FusionSettings)
    acceptance: str = "calibrated"
    calibration: AcceptanceSettings = field(default_factory=AcceptanceSettings)
    cleanup: bool = True
    cleaning: CleanupSettings = field(default_factory=CleanupSettings)
    confidence: ConfidenceSettings = field(default_factory=ConfidenceSettings)
    target_slices: Sequence[int] | Mapping[str, Sequence[int]] | None = None
    batch_slices: int = 4

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                near = get_close_matches(str(value), known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{name} can be {', '.join(map(repr, known))}, not {value!r}.{hint}")
        if self.pairing == "middle" and self.target_slices is None:
            raise InputError('Pairing "middle" needs target_slices: it does not find the slices that hold a structure.')
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative, but is {getattr(self, name)!r}.")
        for name in ("magnified_extent", "body_margin"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, but is {getattr(self, name)!r}.")
        for name in ("batch_slices", "prior_slices"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        check_window(self.window)
        _check_slices(self.target_slices)

    def slices_for(self, structure: str) -> Sequence[int] | None:
        """The target slices given for one structure, or None if they are to be found.

        Raises:
            InputError: they are given for other structures only.
        """
        given = self.target_slices
        if not isinstance(given, Mapping):
            return given
        if structure not in given:
            raise InputError(f"target_slices has none for {structure!r}, only for {', '.join(map(repr, given))}.")
        return given[structure]


def _check_slices(given: Sequence[int] | Mapping[str, Sequence[int]] | None) -> None:
    if given is None:
        return
    try:
        for one in given.values() if isinstance(given, Mapping) else [given]:
            for k in one:
                index(k)
    except TypeError:
        raise InputError(
            f"target_slices are numbers of slices, as [4, 5], or such a list for each structure, and not {given!r}."
        ) from None
