"""Courses of a disease from visit to visit: named changes of the tumour, and contrast agent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom.anatomy import Tumour
from adaptsam.synthetic.thorax_phantom.rendering import Densities


@dataclass(frozen=True)
class Course:
    """Course of a tumour.

    Attributes:
        volume: of the tumour at each visit, relative to the visit before; ``None``: size drawn at random.
        core: the necrotic core's share of the tumour's radius after one visit, added up to 0.8 with every further one.
        vanishes: nothing of the tumour is left at the last visit.
    """

    volume: float | None = None
    core: float = 0.0
    vanishes: bool = False

    def __post_init__(self) -> None:
        if self.volume is not None and not 0.05 <= self.volume <= 3:
            raise InputError(f"A tumour's volume changes by a factor of 0.05 to 3 a visit, not {self.volume:g}.")
        if not 0 <= self.core <= 0.8:
            raise InputError(f"A necrotic core has 0 to 0.8 of the tumour's radius, not {self.core:g}.")

    def scale(self, number: int, visits: int, drawn: float) -> float:
        """The tumour's radius at visit ``number`` (0 is the first) of ``visits``, relative to the first visit's."""
        if number == 0:
            return 1.0
        if self.vanishes and number == visits - 1:
            return 0.0
        return drawn if self.volume is None else float(self.volume ** (number / 3))

    def core_share(self, number: int) -> float:
        """The necrotic core's share of the radius at visit ``number``."""
        return min(0.8, number * self.core)


COURSES = {
    "random": Course(),
    "stable": Course(volume=1.0),
    "grow": Course(volume=1.35),
    "shrink": Course(volume=0.7),
    "necrosis": Course(volume=1.1, core=0.35),
    "vanish": Course(volume=0.5, vanishes=True),
}
"""The courses by name; "random" draws each follow-up's tumour between 0.7 and 1.25 times the first one's radius."""


@dataclass(frozen=True)
class Contrast:
    """Contrast agent, in HU added to the blood, and through it to muscle of the heart, liver and tumour."""

    blood: float = 0.0
    heart: float = 0.0
    liver: float = 0.0
    tumour: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= value <= 600 for value in (self.blood, self.heart, self.liver, self.tumour)):
            raise InputError("Contrast agent adds 0 to 600 HU; give values in that range.")

    def enhanced(self, plain: Densities) -> Densities:
        """The tissues with contrast agent in them; without any, ``plain`` itself."""
        if self == Contrast():
            return plain
        return replace(
            plain,
            blood=plain.blood + self.blood,
            vessel=plain.vessel + 0.85 * self.blood,
            heart=plain.heart + self.heart,
            liver=plain.liver + self.liver,
        )

    def chambers(self, plain: Densities) -> float | None:
        """The blood in the heart, in HU; ``None`` where nothing tells it from the muscle around it."""
        return plain.blood + self.blood if self.blood else None

    def enhanced_tumour(self, tumour: Tumour) -> Tumour:
        """The tumour with contrast agent in it."""
        return replace(tumour, density=tumour.density + self.tumour)


CONTRASTS = {
    "none": Contrast(),
    "arterial": Contrast(blood=260, heart=45, liver=10, tumour=20),
    "venous": Contrast(blood=110, heart=50, liver=50, tumour=35),
}
"""Contrast agent by the phase in which the scan is taken."""
