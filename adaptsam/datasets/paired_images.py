"""Pictures with a mask each, matched by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptsam.datasets.dataset import Case, Sample
from adaptsam.io.mask_images import read_gray, read_masks_like
from adaptsam.io.video.frames import read_picture

_LOSSY = (".jpg", ".jpeg", ".webp")
#: The name by which :func:`~adaptsam.io.mask_images.read_masks_like` gives all that a mask marks.
_ALL = "structure"


@dataclass(frozen=True)
class PicturePair:
    """A picture and its mask; ``label`` is the mask's value that counts, None for all above 0.

    A mask in JPEG, whose edges the compression smears, is cut at the middle of its values.
    """

    image: Path
    mask: Path
    label: int | None = None

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        if self.mask.suffix.lower() in _LOSSY and self.label is None:
            return read_picture(self.image), read_gray(self.mask) > 127
        name = _ALL if self.label is None else f"label-{self.label}"
        return read_picture(self.image), read_masks_like(self.mask, [name])[name]


def picture_cases(
    images: Sequence[Path],
    masks: Sequence[Path],
    key: Callable[[Path], str],
    *,
    name: Callable[[str], str] = str,
    patient: Callable[[str], str] = str,
    label: int | None = None,
) -> tuple[Case, ...]:
    """A case for every picture; one without a mask, a mask without one, and what is there twice are said.

    Args:
        images: files.
        masks: files.
        key: what a picture and its mask have in common, of either.
        name: of the sample, from the key.
        patient: what a split keeps together, from the key.
        label: the value of the masks that counts.
    """
    by_key: dict[str, tuple[list[Path], list[Path]]] = {}
    for place, files in enumerate((images, masks)):
        for path in files:
            by_key.setdefault(key(path), ([], []))[place].append(path)
    cases = []
    for shared, (some, drawn) in by_key.items():
        problems = []
        if not some:
            problems.append(f"The mask {drawn[0].name} has no image.")
        if not drawn:
            problems.append(f"The image {some[0].name} has no mask.")
        for files, what in ((some, "images"), (drawn, "masks")):
            if len(files) > 1:
                names = ", ".join(path.name for path in files)
                problems.append(f"There are {len(files)} {what} of one name ({names}); the first is taken.")
        samples: tuple[Sample, ...] = ()
        if some and drawn:
            samples = (Sample(name(shared), patient(shared), PicturePair(some[0], drawn[0], label)),)
        cases.append(Case(name(shared), samples, len(some), tuple(problems)))
    return tuple(cases)
