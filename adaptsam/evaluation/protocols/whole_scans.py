"""Protocols of whole scans: phantoms, digital follow-ups, 4D-Lung, and a list of one's own cases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.datasets import four_d_lung
from adaptsam.errors import InputError
from adaptsam.evaluation.evaluation_cases import Study, StudyCase, VolumeTask, unique
from adaptsam.evaluation.methods.evaluated_method import VolumePair
from adaptsam.evaluation.pooled_measures import SLICE_DICE, VOLUMES, by_structure
from adaptsam.evaluation.protocols.case_version import version_of
from adaptsam.evaluation.protocols.protocol_options import Options
from adaptsam.image import StructureSet, Volume, select_structures
from adaptsam.image.orientation import acquisition_plane, canonical_orientation
from adaptsam.io import read_structures, read_volume
from adaptsam.synthetic.digital_followup import digital_followup, settings_for
from adaptsam.synthetic.thorax_phantom import phantom_visits

#: Seeds of patients that no training of this repository used.
PHANTOM_SEED = 100_000
#: As many patients of one ``--seed`` are none of the next one's.
_PATIENTS_A_SEED = 1_000
_GRIDS: dict[str, dict[str, Any]] = {
    "plain": {"shape": (64, 224, 224), "spacing": (1.95, 1.95, 4.5)},
    "quick": {"shape": (40, 112, 112), "spacing": (3.9, 3.9, 7.2)},
}
#: What a labelmap's values are called.
_NUMBER_ALONE = re.compile(r"label-\d+")
_VOLUMETRIC = (
    "Nobody tells the methods which slices of the target hold the structure. P²SAM runs with its volume workflow; "
    "methods for single pictures are asked on the slices that the rigidly registered contour reaches, each with the "
    "prior's slice at that place. Distances to an empty mask do not exist and are left out of their means."
)
_KNOWN = (
    "Methods are given the slices of the follow-up that hold the structure, paired by their offset from the middle of "
    "the stack, as the published protocol of 4D-Lung does. Dice of each such slice, then the mean over slices, "
    "follow-ups and scans. The published table is of true follow-ups."
)


@dataclass(frozen=True)
class PhantomTasks:
    """A synthetic patient: the first visit is the prior of all others."""

    seed: int
    visits: int
    size: str
    structures: tuple[str, ...]

    def __call__(self) -> Iterator[VolumeTask]:
        scans = phantom_visits(self.seed, self.visits, **_GRIDS[self.size])
        first = next(scans)
        prior = select_structures(first.structures, self.structures)
        for number, visit in enumerate(scans, start=2):
            pair = VolumePair(f"phantom-{self.seed}/visit-{number}", first.volume, prior, visit.volume)
            yield VolumeTask(pair, visit.structures)


def open_phantom(data: Path | None, options: Options) -> Study:
    """Synthetic patients with exact contours; needs no data."""
    names = options.structures or ("GTV-1", "Heart")
    first = PHANTOM_SEED + _PATIENTS_A_SEED * options.seed
    cases = tuple(
        StudyCase(f"phantom-{seed}", PhantomTasks(seed, options.visits, options.size, names))
        for seed in range(first, first + options.patients)
    )
    return Study(
        "phantom",
        "Phantom cohort",
        cases[: options.limit],
        (*VOLUMES, *by_structure(names)),
        f"Synthetic thorax patients with {options.visits} visits each; contours of the first are carried to the "
        f"others. {_VOLUMETRIC}",
    )


@dataclass(frozen=True)
class FollowUpTasks:
    """Digital follow-ups of a real scan, each made anew from its seed: of one patient, and so one case.

    Where the slices are ``known``, methods learn which hold a structure, and each slice is scored, as in the papers.
    """

    image: Path
    mask: Path
    target: str
    structures: tuple[str, ...] | None
    change: str
    tumour: str
    seeds: range
    known: bool = False

    def __call__(self) -> Iterator[VolumeTask]:
        prior = read_volume(self.image)
        structures = select_structures(read_structures(self.mask, prior))
        chosen = select_structures(structures, self.structures)
        settings = settings_for(self.change, self.tumour)
        for seed in self.seeds:
            later = digital_followup(prior, structures, self.target, seed=seed, settings=settings)
            pair = VolumePair(f"follow-up-{seed}", prior, chosen, later.volume)
            if self.known:
                slices = {
                    one.name: held_slices(chosen, replace(later.structures, structures=(one,)))
                    for one in later.structures.structures
                }
                pair = replace(pair, window="papers", known_slices=slices)
            yield VolumeTask(pair, later.structures, scored_by_slice=self.known)


def open_followups(data: Path | None, options: Options) -> Study:
    """Digital follow-ups of any CT with contours: ``data`` is a folder with ``image`` and ``mask``, or a list.

    ``data`` is a JSON file as :func:`open_own` takes, of which the priors are used, with "target_structure".
    """
    return _followups(_given(data, "followups"), options, known=False)


def open_followups_slices(data: Path | None, options: Options) -> Study:
    """Digital follow-ups as the papers ask for 4D-Lung: methods know which slices hold the structure."""
    return _followups(_given(data, "followups-slices"), options, known=True)


def _followups(data: Path, options: Options, known: bool) -> Study:
    entries = _entries(data)
    seeds = range(options.seed, options.seed + options.copies)
    cases = []
    for entry in entries:
        tasks = FollowUpTasks(
            entry.prior_image,
            entry.prior_mask,
            entry.target_structure,
            options.structures or entry.structures,
            options.change,
            options.tumour,
            seeds,
            known,
        )
        name = f"{entry.name}-{options.change}-{options.tumour}"
        said = (entry.target_structure, tasks.structures, options.copies)
        version = version_of(entry.prior_image, entry.prior_mask, said=said)
        cases.append(StudyCase(name, tasks, version=version))
    kept, doubles = unique(cases)
    return Study(
        "followups-slices" if known else "followups",
        "Digital follow-ups, slices known" if known else "Digital follow-ups",
        kept[: options.limit],
        (SLICE_DICE,) if known else VOLUMES,
        f"Later visits made from real scans, whose true contours are known ({options.change} change, tumours that "
        f"{options.tumour}), {options.copies} of each scan. {_KNOWN if known else _VOLUMETRIC}",
        published=("p2sam-1",) if known else (),
        skipped=doubles,
        unit="scan",
    )


@dataclass(frozen=True)
class Entry:
    """One line of a list of one's own cases; paths are relative to the list."""

    name: str
    prior_image: Path
    prior_mask: Path
    target_image: Path | None = None
    target_masks: tuple[Path, ...] = ()
    structures: tuple[str, ...] | None = None
    target_structure: str = ""


@dataclass(frozen=True)
class OwnTasks:
    """A prior and a target from files."""

    entry: Entry
    structures: tuple[str, ...] | None

    def __call__(self) -> Iterator[VolumeTask]:
        entry = self.entry
        prior = read_volume(entry.prior_image)
        chosen = select_structures(read_structures(entry.prior_mask, prior, self.structures or entry.structures))
        assert entry.target_image is not None
        target = read_volume(entry.target_image)
        truths = [_truth(path, target, chosen) for path in entry.target_masks]
        pair = VolumePair(entry.name, prior, chosen, target)
        for number, truth in enumerate(truths):
            if len(truths) > 1:
                other = truths[(number + 1) % len(truths)]
                pair = replace(pair, name=f"{entry.name}/observer-{number + 1}", another_observer=other)
            yield VolumeTask(pair, truth)


def _truth(path: Path, target: Volume, chosen: StructureSet) -> StructureSet:
    """One observer's contours of the target, by the prior's names."""
    truth = _called_alike(read_structures(path, target), chosen)
    if not set(chosen.names) & set(truth.names):
        raise InputError(f"{path.name} has none of the structures {', '.join(chosen.names)}.")
    return truth


def _called_alike(truth: StructureSet, chosen: StructureSet) -> StructureSet:
    """The only structure of one file is the only one of the other where a labelmap gives one of them a number alone."""
    both = {*chosen.names, *truth.names}
    if len(chosen.names) == len(truth.names) == 1 < len(both) and any(map(_NUMBER_ALONE.fullmatch, both)):
        return replace(truth, structures=(replace(truth.structures[0], name=chosen.names[0]),))
    return truth


def open_own(data: Path | None, options: Options) -> Study:
    """A list of cases as JSON: ``[{"name", "prior_image", "prior_mask", "target_image", "target_mask"}, …]``.

    ``target_mask`` may be a list, one file for each observer: every one is a truth, and the case has their mean.
    """
    path = _given(data, "own")
    cases = []
    for entry in _entries(path):
        if entry.target_image is None or not entry.target_masks:
            raise InputError(f"{path.name}: the case {entry.name} has no target_image and target_mask; give both.")
        files = (entry.prior_image, entry.prior_mask, entry.target_image, *entry.target_masks)
        version = version_of(*files, said=entry.structures)
        cases.append(StudyCase(entry.name, OwnTasks(entry, options.structures), version=version))
    kept, doubles = unique(cases)
    return Study("own", "Own cases", kept[: options.limit], VOLUMES, _VOLUMETRIC, skipped=doubles, unit="case")


@dataclass(frozen=True)
class LungTasks:
    """A patient of 4D-Lung: one gate of the first visit is the prior of that gate of the others.

    ``visits`` are those that can be used, by name.
    """

    folders: tuple[Path, ...]
    visits: frozenset[str]
    structure: str
    known: bool

    def __call__(self) -> Iterator[VolumeTask]:
        scans = four_d_lung.visits(*self.folders, structure=self.structure)
        first, *others = (scan for scan in scans if scan.name in self.visits)
        prior, drawn = _renamed(*first.read())
        for scan in others:
            target, truth = _renamed(*scan.read())
            slices = {"Tumor": held_slices(drawn, truth)} if self.known else None
            pair = VolumePair(scan.name, prior, drawn, target, window="papers", known_slices=slices)
            yield VolumeTask(pair, truth, scored_by_slice=self.known)


def open_four_d_lung(data: Path | None, options: Options) -> Study:
    """4D-Lung exactly as published: methods know which slices hold the tumour."""
    return _four_d_lung(_given(data, "4d-lung"), options, known=True)


def open_four_d_lung_volumes(data: Path | None, options: Options) -> Study:
    """4D-Lung as a clinic would meet it: nobody knows the slices."""
    return _four_d_lung(_given(data, "4d-lung-volumes"), options, known=False)


def _four_d_lung(data: Path, options: Options, known: bool) -> Study:
    structure = (options.structures or ("Tumor",))[0]
    collection = four_d_lung.open_four_d_lung(data, structure=structure)
    places = four_d_lung.patients(data)
    cases, skipped = [], {}
    for case in collection.cases:
        visits = frozenset(sample.name.rpartition("/")[0] for sample in case.samples)
        if len(visits) < 2:
            skipped[case.name] = " ".join([*case.problems, *case.remarks]) or "There is one usable visit only."
        else:
            tasks = LungTasks(tuple(places[case.name]), visits, structure, known)
            cases.append(StudyCase(case.name, tasks, case.problems))
    description = (
        "The first gate of every visit; the first visit that can be used is the prior. The published protocol tells "
        "the methods which slices of the follow-up hold the tumour, and pairs them by their offset from the middle of "
        "the stack. Dice of each such slice, then the mean over slices, visits and patients."
        if known
        else f"The first gate of every visit; the first visit that can be used is the prior. {_VOLUMETRIC}"
    )
    return Study(
        "4d-lung" if known else "4d-lung-volumes",
        "4D-Lung, as published" if known else "4D-Lung, slices unknown",
        tuple(cases[: options.limit]),
        (SLICE_DICE,) if known else VOLUMES,
        description,
        published=("p2sam-1",) if known else (),
        skipped=skipped,
        remarks=(*collection.problems, *collection.remarks),
    )


def held_slices(drawn: StructureSet, truth: StructureSet) -> tuple[int, ...]:
    """The slices, along the stored axis on which the prior was drawn, that hold the only structure of ``truth``."""
    [structure] = truth.structures
    contoured = any(one.contoured is not None for one in drawn.structures)
    plane = acquisition_plane(drawn.geometry, contoured)
    axis = canonical_orientation(truth.geometry, plane).order[0]
    others = tuple(other for other in range(3) if other != axis)
    return tuple(int(k) for k in np.flatnonzero(structure.mask.any(axis=others)))


def _renamed(volume: Volume, structures: StructureSet) -> tuple[Volume, StructureSet]:
    """The same with its one structure called "Tumor", whatever it is called at this visit."""
    [structure] = structures.structures
    return volume, replace(structures, structures=(replace(structure, name="Tumor"),))


def _given(data: Path | None, protocol: str) -> Path:
    if data is None:
        raise InputError(f"The protocol {protocol} needs its data; give it with --data.")
    return data


def _entries(path: Path) -> list[Entry]:
    """The cases of a list, checked; no image is read.

    Raises:
        InputError: the list is missing, no JSON, or lacks something.
    """
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}); give a JSON list of cases.") from None
    except ValueError:
        raise InputError(f"{path.name} is no JSON; give a list of cases with prior_image, prior_mask, ….") from None
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise InputError(f'{path.name} holds no list of cases; give [{{"name": …, "prior_image": …}}, …].')
    return [_entry(path, item, number) for number, item in enumerate(items, start=1)]


def _entry(path: Path, item: dict[str, Any], number: int) -> Entry:
    known = {"name", "prior_image", "prior_mask", "target_image", "target_mask", "structures", "target_structure"}
    unknown = sorted(set(item) - known)
    if unknown:
        raise InputError(
            f"{path.name}, case {number}: there is no {unknown[0]!r}; known are {', '.join(sorted(known))}."
        )
    for key in ("prior_image", "prior_mask"):
        if not isinstance(item.get(key), str):
            raise InputError(f"{path.name}, case {number} has no {key}; give its path.")
    paths = {
        key: path.parent / str(item[key]) for key in ("prior_image", "prior_mask", "target_image") if item.get(key)
    }
    drawn = item.get("target_mask") or []
    drawn = [drawn] if isinstance(drawn, str) else drawn
    if not isinstance(drawn, list) or not all(isinstance(one, str) for one in drawn):
        raise InputError(f"{path.name}, case {number}: target_mask is a path, or a list of one path for each observer.")
    structures = item.get("structures") or []
    if not isinstance(structures, list) or not all(isinstance(name, str) for name in structures):
        raise InputError(f'{path.name}, case {number}: structures is a list of names, such as ["GTV-1"].')
    return Entry(
        name=str(item.get("name") or f"case-{number}"),
        structures=tuple(structures) or None,
        target_structure=str(item.get("target_structure", "")) or (structures[0] if structures else "GTV-1"),
        target_masks=tuple(path.parent / one for one in drawn),
        **paths,
    )
