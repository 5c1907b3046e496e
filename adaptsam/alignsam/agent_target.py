"""Target of an agent and presentation of images to it, as its file describes them. Needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.terminology import CODE_KEYS
from adaptsam.image.volume import Structure

#: Colours of structures, RGB, in the order of the agents.
COLORS = ((220, 60, 50), (60, 140, 230), (70, 180, 90), (240, 170, 40), (160, 90, 200), (40, 190, 190))

_VIEWS = ("full", "body")
_LONGEST_TEXT = 300


@dataclass(frozen=True)
class Target:
    """Target of an agent: its name, code and shape.

    Attributes:
        name: of the structure it makes.
        code: value, scheme and meaning of its standard term, as ("80891009", "SCT", "Heart"); None where there is none.
        components: the most separate parts that the target has, such as 2 for lungs.
        holes: whether its slices have holes that must stay.
    """

    name: str
    code: tuple[str, str, str] | None = None
    components: int = 1
    holes: bool = False

    def __post_init__(self) -> None:
        for text in (self.name, *(self.code or ())):
            check_text(text, "target")
        if self.code is not None and len(self.code) != 3:
            raise InputError("The code of a target has three parts: value, scheme and meaning.")
        if type(self.components) is not int or not 1 <= self.components <= 100 or type(self.holes) is not bool:
            raise InputError("A target has 1 to 100 components, and holes or none.")


@dataclass(frozen=True)
class Shown:
    """Presentation of the training images to SAM, which those in use must share.

    Attributes:
        window: a name of :data:`adaptsam.image.windowing.WINDOWS`, "auto" or "percentiles", or two intensities.
        view: "full" for whole slices, "body" for the square around the body.
        plane: the world axis along which slices run, 0 (sagittal), 1 (coronal) or 2 (axial).
        modality: "CT", "MR", …; "" for any.
        color: whether images are in colour, as of an endoscope.
    """

    window: str | tuple[float, float] = "auto"
    view: str = "full"
    plane: int = 2
    modality: str = ""
    color: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.window, str):
            check_text(self.window, "window")
        elif len(self.window) != 2 or not all(is_number(v) for v in self.window) or self.window[0] >= self.window[1]:
            raise InputError(f"An intensity window is a name or two rising numbers, not {str(self.window)[:40]}.")
        if self.view not in _VIEWS or self.plane not in (0, 1, 2) or type(self.color) is not bool:
            raise InputError(f"An agent looks at one of the views {', '.join(_VIEWS)} in one of the planes 0, 1, 2.")
        if self.modality:
            check_text(self.modality, "modality")


def structure_of(target: Target, mask: np.ndarray, number: int = 0) -> Structure:
    """A structure of an agent's target: ``mask`` (K, J, I), name, code and, by the agent's number, colour."""
    tags = dict(zip(CODE_KEYS, target.code, strict=True)) if target.code else {}
    return Structure(target.name, mask, COLORS[number % len(COLORS)], tags=tags)


def check_text(text: object, what: str) -> None:
    """Short and printable: it goes to terminals, reports and DICOM files."""
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise InputError(f"The {what} of an agent is a short, printable text, not {str(text)[:40]!r}.")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
