"""Breathing: how far each organ is displaced in each phase of a 4D scan.

The anatomy as drawn is the end of exhalation (50 %). Phase 0 % is the end of inhalation, as scanners count. In between
the diaphragm follows Lujan's breathing, A·cos²ⁿ(π·phase), which rests in exhalation (Lujan et al., Med Phys 26, 1999).
What hangs on it goes down with it and forward, and returns on another path: a loop. Ribs and spine are not part of
that: the lung slides along them.

Displacements are functions of the place in the room, so that a phase is drawn as exactly as the anatomy itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from adaptsam.errors import InputError
from adaptsam.synthetic.thorax_phantom.anatomy import Anatomy


@dataclass(frozen=True)
class Breathing:
    """Breathing of a patient; lengths in mm from the end of exhalation to the end of inhalation.

    Attributes:
        phases: of a 4D scan, evenly spread over the breath; 0 is one scan with held breath, as drawn.
        diaphragm: how far its domes go down, with the liver's edge and the stomach below them.
        forward: how far lung and tumour go to the front.
        hysteresis: half the width of the loop: what exhalation lies behind inhalation, half way.
        tumour: how far the tumour goes down; ``None``: as the lung at its place.
        heart: the heart's share of the diaphragm's way.
        chest: how far the breastbone rises; the ribs' way is less towards the back.
        rest: n of the breathing curve; larger rests longer in exhalation.
    """

    phases: int = 0
    diaphragm: float = 15.0
    forward: float = 2.5
    hysteresis: float = 1.5
    tumour: float | None = None
    heart: float = 0.35
    chest: float = 2.0
    rest: int = 2

    def __post_init__(self) -> None:
        if self.phases < 0 or self.phases == 1:
            raise InputError(f"A 4D scan has at least 2 breathing phases, not {self.phases}; 0 is a held breath.")
        if not 0 <= self.diaphragm <= 40:
            raise InputError(f"A diaphragm moves by 0 to 40 mm in quiet breathing, not by {self.diaphragm:g} mm.")
        if self.tumour is not None and not 0 <= self.tumour <= self.diaphragm:
            raise InputError(
                f"A tumour moves by 0 mm to the diaphragm's {self.diaphragm:g} mm, not by {self.tumour:g} mm; "
                "give a smaller motion or a larger one to the diaphragm."
            )
        for name, value, most in (
            ("forward motion", self.forward, 15),
            ("hysteresis", self.hysteresis, 10),
            ("rise of the chest", self.chest, 20),
        ):
            if not 0 <= value <= most:
                raise InputError(f"The {name} is 0 to {most} mm, not {value:g} mm.")
        if not 0 <= self.heart <= 1 or self.rest < 1:
            raise InputError("The heart's share of the motion is 0 to 1, and the breathing curve's n at least 1.")


@dataclass(frozen=True)
class Motion:
    """The displacements of one phase from the end of exhalation, mm; vectors are LPS.

    ``diaphragm`` is how far the domes are down, ``lung`` the largest displacement of lung tissue (at the diaphragm),
    ``chest`` the breastbone's way to the front.
    """

    percent: float
    diaphragm: float
    chest: float
    lung: np.ndarray
    heart: np.ndarray
    tumour: np.ndarray


def phase_motions(breathing: Breathing, anatomy: Anatomy) -> list[Motion]:
    """The motion of each phase, 0 % first."""
    return [_motion(breathing, anatomy, 100 * number / breathing.phases) for number in range(breathing.phases)]


def _motion(breathing: Breathing, anatomy: Anatomy, percent: float) -> Motion:
    angle = math.pi * percent / 100
    depth = math.cos(angle) ** (2 * breathing.rest)
    # Behind while air goes out (0 to 50 %), in front while it comes in.
    back = breathing.hysteresis * math.sin(2 * angle) - breathing.forward * depth
    down = breathing.diaphragm * depth
    if anatomy.tumour is None:
        tumour = np.zeros(3)
    elif breathing.tumour is None:
        tumour = np.array([0.0, back, -down]) * _share(float(anatomy.tumour.centre[2]), anatomy)
    else:
        tumour = np.array([0.0, back, -breathing.tumour * depth])
    return Motion(
        percent=percent,
        diaphragm=down,
        chest=breathing.chest * depth,
        lung=np.array([0.0, back, -down]),
        heart=np.array([0.0, back, -down]) * breathing.heart,
        tumour=tumour,
    )


def _base_and_reach(anatomy: Anatomy) -> tuple[float, float]:
    """Up to which height the lung moves as its diaphragm, and how far above nothing moves any more, mm."""
    base = max(anatomy.dome) + 5
    return base, anatomy.apex - 5 - base


def _share(z: float, anatomy: Anatomy) -> float:
    base, reach = _base_and_reach(anatomy)
    up = min(max((z - base) / reach, 0.0), 1.0)
    return 1 - up * up * (3 - 2 * up)


def in_lung(points: Tensor, motion: Motion, anatomy: Anatomy) -> Tensor:
    """Exhaled place of lung tissue, and of what hangs on the diaphragm, that is now at ``points`` (3, …)."""
    base, reach = _base_and_reach(anatomy)
    up = ((points[2] - base) / reach).clamp(0, 1)
    share = 1 - up * up * (3 - 2 * up)
    moved = points.clone()
    for axis in (1, 2):
        moved[axis] -= float(motion.lung[axis]) * share
    return moved


def in_chest(points: Tensor, motion: Motion, anatomy: Anatomy) -> Tensor:
    """Exhaled place of ribs and trunk that are now at ``points`` (3, …): the front has risen."""
    front = (-points[1] / anatomy.body_radii[1]).clamp(0, 1)
    moved = points.clone()
    moved[1] += motion.chest * front * front
    return moved


def shifted(points: Tensor, shift: np.ndarray) -> Tensor:
    """Exhaled place of an organ that moved as a whole by ``shift`` mm, and is now at ``points`` (3, …)."""
    return points - points.new_tensor(shift).view(3, *(1,) * (points.dim() - 1))
