"""Synthetic sample data for Slicer's Sample Data module: made here, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.synthetic.endoscopy.endoscopy_video import EndoscopySettings, endoscopy_frames
from adaptsam.synthetic.thorax_phantom import Breathing, PhantomSettings, PhantomVisit, phantom_visits

_SHAPE, _SPACING = (48, 160, 160), (2.7, 2.7, 6.0)
_PHASE_SHAPE, _PHASE_SPACING = (36, 112, 112), (3.9, 3.9, 8.0)


@dataclass(frozen=True, eq=False)
class SampleImage:
    """One image, the label of its item in a sequence ("" outside of one), and its contours if it is the prior."""

    title: str
    volume: Volume
    label: str = ""
    structures: StructureSet | None = None


def visits_with_truth() -> Iterator[PhantomVisit]:
    """Draw the sample of two visits, with the contours of both."""
    return phantom_visits(7, 2, shape=_SHAPE, spacing=_SPACING)


def visits() -> Iterator[SampleImage]:
    """A thorax with a lung tumour at two visits; the first one is contoured."""
    made = visits_with_truth()
    for number, visit in enumerate(made):
        yield SampleImage(f"Phantom visit {number + 1}", visit.volume, "", None if number else visit.structures)


def phases() -> Iterator[SampleImage]:
    """Ten breathing phases of one scan; the first one is contoured."""
    settings = PhantomSettings(breathing=Breathing(phases=10))
    [visit] = phantom_visits(7, 1, shape=_PHASE_SHAPE, spacing=_PHASE_SPACING, settings=settings)
    for number, phase in enumerate(visit.phases):
        yield SampleImage("Phantom 4D", phase.volume, str(10 * number), None if number else phase.structures)


def endoscopy() -> Iterator[SampleImage]:
    """A second of a colonoscopy with a polyp, which is outlined on the first frame."""
    frames = endoscopy_frames(3, 25, EndoscopySettings(size=(192, 192)))
    for number, (frame, mask) in enumerate(islice(frames, 25)):
        grid = Geometry((1, *mask.shape), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        polyp = StructureSet((Structure("Polyp", mask[None], (230, 160, 60)),), grid)
        image = Volume(np.ascontiguousarray(frame[None]), grid)
        yield SampleImage("Phantom endoscopy", image, str(number), None if number else polyp)


SAMPLES: dict[str, Callable[[], Iterator[SampleImage]]] = {"visits": visits, "phases": phases, "endoscopy": endoscopy}


def sample(name: str) -> Iterator[SampleImage]:
    """The images of a sample, one after the other.

    Raises:
        InputError: there is no sample of that name.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}; there are {', '.join(SAMPLES)}.")
    return SAMPLES[name]()
