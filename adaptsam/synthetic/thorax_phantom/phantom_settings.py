"""Settings of a synthetic patient; the defaults are the plain patient that the bundled model was tried on."""

from __future__ import annotations

from dataclasses import dataclass

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom.breathing import Breathing
from adaptsam.synthetic.thorax_phantom.ct_scanner import Scanner
from adaptsam.synthetic.thorax_phantom.disease_courses import Contrast, Course

CONTOURED = {
    "GTV-1": ("GTV", (220, 40, 40)),
    "Lung-Left": ("ORGAN", (70, 160, 220)),
    "Lung-Right": ("ORGAN", (60, 190, 170)),
    "Heart": ("ORGAN", (230, 130, 180)),
    "Spinal-Cord": ("ORGAN", (240, 200, 60)),
}
"""What the phantom's physician contours: RT ROI interpreted type and colour."""

CONTOURABLE = CONTOURED | {
    "Trachea": ("ORGAN", (150, 220, 240)),
    "Aorta": ("ORGAN", (200, 60, 120)),
    "Liver": ("ORGAN", (180, 110, 60)),
    "Stomach": ("ORGAN", (150, 180, 80)),
    "Spine": ("ORGAN", (230, 220, 190)),
    "Ribs": ("ORGAN", (210, 210, 160)),
    "Body": ("EXTERNAL", (120, 220, 120)),
}
"""What can be contoured."""


@dataclass(frozen=True)
class PhantomSettings:
    """A synthetic patient's course, body, breath and scans.

    Attributes:
        course: how the tumour changes from visit to visit.
        weight: relative change of the body's weight from visit to visit; −0.02 is 2 % lost at each.
        breathing: of every scan.
        contrast: agent in the blood at every visit.
        bronchi: generations of bronchi beyond the main ones, 0 to 5.
        liver_edge: the liver has a lower edge; otherwise it goes on to the feet.
        scanner: of the first visit, and of the others where ``follow_up`` is ``None``.
        follow_up: the scanner of later visits.
        contours: the structures that are contoured, of :data:`CONTOURABLE`.

    Examples:
        >>> shrinking = PhantomSettings(course=Course(volume=0.7), breathing=Breathing(phases=10))
    """

    course: Course = Course()
    weight: float = 0.0
    breathing: Breathing = Breathing()
    contrast: Contrast = Contrast()
    bronchi: int = 0
    liver_edge: bool = False
    scanner: Scanner = Scanner()
    follow_up: Scanner | None = None
    contours: tuple[str, ...] = tuple(CONTOURED)

    def __post_init__(self) -> None:
        if not -0.2 <= self.weight <= 0.2:
            raise InputError(f"Weight changes by −20 % to 20 % from visit to visit, not by {self.weight:.0%}.")
        if not 0 <= self.bronchi <= 5:
            raise InputError(f"The phantom draws 0 to 5 generations of bronchi, not {self.bronchi}.")
        unknown = [name for name in self.contours if name not in CONTOURABLE]
        if unknown or not self.contours:
            raise InputError(
                f"{unknown[0] if unknown else 'Nothing'} cannot be contoured; choose from {', '.join(CONTOURABLE)}."
            )

    def scanner_of(self, number: int) -> Scanner:
        """The scanner of visit ``number``, 0 for the first."""
        return self.scanner if number == 0 or self.follow_up is None else self.follow_up
