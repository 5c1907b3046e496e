"""Settings of the change between the two visits."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from adaptsam.errors import InputError

#: What can become of the target. "necrosis" keeps its size and gives it a core of low density.
TUMOURS = ("regress", "grow", "vanish", "split", "necrosis", "same")
KERNELS = ("soft", "standard", "sharp")
FIELDS_OF_VIEW = ("whole", "away")


@dataclass(frozen=True)
class FollowUpSettings:
    """Sizes of all changes; directions and shapes are drawn from the seed.

    Args:
        tumour: one of :data:`TUMOURS`.
        volume_ratio: volume of the target in the follow-up by its volume in the prior; 0 only for "vanish".
        relief_mm: how irregular the new border is (standard deviation).
        shift_mm: length of the set-up shift.
        rotation_deg: set-up rotation about an axis through the middle of the scan.
        breathing_mm: how far the diaphragm is displaced along the patient, up or down.
        weight_mm: how far the skin lies further out (in, where negative); on the couch it stays.
        deformation_mm: standard deviation of a smooth random displacement, along each axis.
        pixel_ratio: pixel size of the follow-up by that of the prior.
        slice_mm: distance of the follow-up's slices; ``None`` is the prior's. Each averages over its thickness.
        kernel: "soft", "standard" or "sharp" reconstruction.
        noise_hu: standard deviation of the noise that is added in the middle of the body.
        days: from the prior's study date to the follow-up's.
        field_of_view: "whole", or "away": the scan ends short of the target.
    """

    tumour: str = "regress"
    volume_ratio: float = 0.5
    relief_mm: float = 1.0
    shift_mm: float = 7.0
    rotation_deg: float = 1.5
    breathing_mm: float = 7.0
    weight_mm: float = -3.0
    deformation_mm: float = 1.2
    pixel_ratio: float = 1.1
    slice_mm: float | None = None
    kernel: str = "soft"
    noise_hu: float = 18.0
    days: int = 28
    field_of_view: str = "whole"

    def __post_init__(self) -> None:
        for name, known in (("tumour", TUMOURS), ("kernel", KERNELS), ("field_of_view", FIELDS_OF_VIEW)):
            check_choice(name, getattr(self, name), known)
        limits = {
            "volume_ratio": (0.0, 8.0),
            "relief_mm": (0.0, 5.0),
            "shift_mm": (0.0, 100.0),
            "rotation_deg": (0.0, 15.0),
            "breathing_mm": (0.0, 40.0),
            "weight_mm": (-20.0, 20.0),
            "deformation_mm": (0.0, 6.0),
            "pixel_ratio": (0.5, 2.0),
            "noise_hu": (0.0, 200.0),
            "days": (0, 36500),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, but is {getattr(self, name)!r}.")
        if self.slice_mm is not None and not 0.3 <= self.slice_mm <= 12.0:
            raise InputError(f"slice_mm must lie between 0.3 and 12, but is {self.slice_mm!r}.")
        self._check_ratio()

    def _check_ratio(self) -> None:
        wrong = {
            "regress": not 0 < self.volume_ratio < 1,
            "split": not 0 < self.volume_ratio < 1,
            "grow": not self.volume_ratio > 1,
            "vanish": self.volume_ratio != 0,
            "necrosis": self.volume_ratio != 1,
            "same": self.volume_ratio != 1,
        }
        if wrong[self.tumour]:
            wanted = {"regress": "between 0 and 1", "split": "between 0 and 1", "grow": "above 1", "vanish": "0"}
            raise InputError(
                f"A volume ratio of {self.volume_ratio:g} does not go with {self.tumour!r}; it must be "
                f"{wanted.get(self.tumour, '1')}."
            )


_COMMON: dict[str, dict[str, float | str | int | None]] = {
    "small": {
        "relief_mm": 0.5,
        "shift_mm": 3.0,
        "rotation_deg": 0.7,
        "breathing_mm": 3.0,
        "weight_mm": -1.0,
        "deformation_mm": 0.6,
        "pixel_ratio": 1.0,
        "kernel": "standard",
        "noise_hu": 10.0,
        "days": 7,
    },
    "medium": {},
    "large": {
        "relief_mm": 1.6,
        "shift_mm": 15.0,
        "rotation_deg": 3.0,
        "breathing_mm": 14.0,
        "weight_mm": -8.0,
        "deformation_mm": 2.0,
        "pixel_ratio": 0.9,
        "slice_mm": 5.0,
        "kernel": "sharp",
        "noise_hu": 25.0,
        "days": 90,
    },
}
_RATIOS = {
    "regress": {"small": 0.8, "medium": 0.5, "large": 0.2},
    "grow": {"small": 1.25, "medium": 1.6, "large": 2.2},
    "split": {"small": 0.7, "medium": 0.5, "large": 0.3},
    "vanish": {"small": 0.0, "medium": 0.0, "large": 0.0},
    "necrosis": {"small": 1.0, "medium": 1.0, "large": 1.0},
    "same": {"small": 1.0, "medium": 1.0, "large": 1.0},
}
#: The named degrees of change.
CHANGES = tuple(_COMMON)


def settings_for(change: str = "medium", tumour: str = "regress", **chosen: object) -> FollowUpSettings:
    """The settings of a named degree of change.

    Args:
        change: one of :data:`CHANGES`.
        tumour: one of :data:`TUMOURS`.
        chosen: fields of :class:`FollowUpSettings` that shall differ from it; ``None`` leaves a field as it is.

    Raises:
        InputError: a name or a value cannot be used.
    """
    check_choice("change", change, CHANGES)
    check_choice("tumour", tumour, TUMOURS)
    values: dict[str, object] = {"tumour": tumour, "volume_ratio": _RATIOS[tumour][change], **_COMMON[change]}
    values |= {name: value for name, value in chosen.items() if value is not None}
    return FollowUpSettings(**values)  # type: ignore[arg-type]


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{name} can be {', '.join(map(repr, known))}, not {value!r}.{hint}")
