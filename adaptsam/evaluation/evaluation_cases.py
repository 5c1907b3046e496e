"""Cases of an evaluation, the tasks in them, and the measures that make one number of their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adaptsam.alignsam.alignsam_settings import Branch
from adaptsam.datasets import Sample
from adaptsam.evaluation.methods.evaluated_method import Domain, Pair, VolumePair
from adaptsam.image import StructureSet


@dataclass(frozen=True, eq=False)
class PictureTask:
    """One image with its truth, bool (H, W). Pixels that are not ``counted`` are not scored.

    ``group`` is what means are taken over first, for example a visit.
    """

    pair: Pair
    truth: np.ndarray = field(repr=False)
    group: str = ""
    counted: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class VolumeTask:
    """One target with its true structures, on its own grid, by the names of the prior's.

    ``scored_by_slice``: the figure is the mean of the slices' own Dice, as in P²SAM's tables.
    """

    pair: VolumePair
    truth: StructureSet
    scored_by_slice: bool = False


Task = PictureTask | VolumeTask


@dataclass(frozen=True)
class StudyCase:
    """A patient, a sequence, a class or a picture; the unit over which the bootstrap draws.

    Attributes:
        name: unique in its study; of folders, and never of a person.
        tasks: reads the case when it is called; raises InputError for what is missing or damaged.
        problems: what is known to be missing from the case already.
        version: of its data, as far as that can change between two runs; results of another one are computed again.
    """

    name: str
    tasks: Callable[[], Iterator[Task]] = field(repr=False)
    problems: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class Measure:
    """A column of the tables: numbers of each item → a vector for each case → one number.

    Attributes:
        key: in the results.
        title: in tables.
        of_case: the vector (d,) of a case, from its items' records; None where they do not have it.
        of_mean: the number, from the mean (..., d) of the cases' vectors.
        higher_is_better: for the best row and the worst cases.
        digits: in tables.
        percent: shown times 100.
    """

    key: str
    title: str
    of_case: Callable[[Sequence[Mapping[str, Any]]], np.ndarray | None]
    of_mean: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool = True
    digits: int = 2
    percent: bool = False


@dataclass(frozen=True)
class Study:
    """Protocol and data of one run of ``adaptsam evaluate``.

    Attributes:
        protocol: its name.
        title: of the report.
        cases: in order; names are unique.
        measures: columns; the first one leads.
        description: sentences for the report: what is scored, and how.
        domain: of the prompts.
        training: images that methods with training learn from.
        text: the target's text prompt.
        branch: of AlignSAM (its Table 1).
        modality: of medical images, for the sentences that a text is put into; "" where it is not known.
        published: names of tables in :mod:`adaptsam.evaluation.published_results`.
        skipped: cases that cannot be evaluated, by name, and why.
        remarks: what else is worth knowing of the data.
        unit: what a case is called.
    """

    protocol: str
    title: str
    cases: tuple[StudyCase, ...]
    measures: tuple[Measure, ...]
    description: str
    domain: Domain = "medical"
    training: tuple[Sample, ...] = ()
    text: str = ""
    branch: Branch = "implicit"
    modality: str = ""
    published: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    unit: str = "patient"


def unique(cases: Sequence[StudyCase]) -> tuple[tuple[StudyCase, ...], dict[str, str]]:
    """The first case of each name; and the others, with a sentence."""
    kept: dict[str, StudyCase] = {}
    doubles: dict[str, str] = {}
    for case in cases:
        if case.name in kept:
            doubles[f"{case.name} (again)"] = f"There are two cases called {case.name}; the first is evaluated."
        else:
            kept[case.name] = case
    return tuple(kept.values()), doubles
