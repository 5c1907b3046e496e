"""Options of protocols; each protocol reads those that it knows."""

from __future__ import annotations

from dataclasses import dataclass

from adaptsam.errors import InputError
from adaptsam.synthetic.digital_followup import CHANGES, TUMOURS


@dataclass(frozen=True)
class Options:
    """Choices beside the published ones.

    Attributes:
        patients: of the phantom cohort.
        visits: of each patient of the phantom cohort, the prior included.
        size: of the phantoms: "plain" as the bundled model was tried on, or "quick", coarse and short.
        structures: which; None for the protocol's own.
        change: how much digital follow-ups change.
        tumour: what becomes of the tumour in them.
        copies: how many of them.
        seed: of splits, episodes, training images, phantoms and follow-ups.
        fold: of COCO-20i and LVIS-92i.
        training: how many images methods with training learn from.
        limit: the most cases, the first ones; None for all.
    """

    patients: int = 50
    visits: int = 3
    size: str = "plain"
    structures: tuple[str, ...] | None = None
    change: str = "medium"
    tumour: str = "regress"
    copies: int = 3
    seed: int = 0
    fold: int = 0
    training: int = 50
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("patients", 1), ("visits", 2), ("copies", 1), ("training", 1), ("fold", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, but is {getattr(self, name)}.")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1, but is {self.limit}.")
        for name, known in (("size", ("plain", "quick")), ("change", CHANGES), ("tumour", TUMOURS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} can be {', '.join(known)}, not {getattr(self, name)!r}.")
