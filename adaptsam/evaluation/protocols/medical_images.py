"""Protocols of medical pictures: CVC-ClinicDB, and the test splits of Kvasir-SEG and NSCLC-Radiomics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptsam.datasets import Case, DataSet, Sample, open_cvc_clinicdb, open_kvasir_seg, open_nsclc_radiomics
from adaptsam.datasets.cvc_clinicdb import STARTS
from adaptsam.datasets.dataset_folders import existing_folder, subfolders
from adaptsam.datasets.image_mask_folder import folders_of_pairs, holds_pairs, open_folder
from adaptsam.errors import InputError
from adaptsam.evaluation.evaluation_cases import Measure, PictureTask, Study, StudyCase, unique
from adaptsam.evaluation.methods.evaluated_method import Outlined, Pair
from adaptsam.evaluation.pooled_measures import IOU, SLICE_DICE
from adaptsam.evaluation.protocols.case_version import version_of
from adaptsam.evaluation.protocols.protocol_options import Options

#: The frame of a sequence, from 1, that is outlined; it and those before it are not scored.
REFERENCE_FRAME = 3


@dataclass(frozen=True)
class PictureTasks:
    """Samples to segment, all from one outlined sample; some may show nothing where ``may_be_empty``."""

    reference: Sample
    samples: tuple[Sample, ...]
    group: Callable[[Sample], str] = lambda sample: ""
    may_be_empty: bool = False

    def __call__(self) -> Iterator[PictureTask]:
        prior = Outlined(*self.reference.read())
        for sample in self.samples:
            image, truth = sample.read(may_be_empty=self.may_be_empty)
            yield PictureTask(Pair(sample.name, prior, image), truth, self.group(sample))


def open_cvc(data: Path | None, options: Options) -> Study:
    """CVC-ClinicDB exactly as published: 29 videos, the third frame of each is outlined."""
    collection = open_cvc_clinicdb(given(data, "cvc-clinicdb"))
    cases, skipped = [], {}
    for case in collection.cases:
        number = int(case.name[-2:])
        reference = f"{case.name}/frame-{STARTS[number - 1] + REFERENCE_FRAME:03d}"
        later = tuple(sample for sample in case.samples if sample.name > reference)
        first = next((sample for sample in case.samples if sample.name == reference), None)
        if first is None or not later:
            lacks = f"its reference {reference.split('/')[1]}" if first is None else "frames after its reference"
            skipped[case.name] = " ".join([f"It lacks {lacks}.", *case.problems, *case.remarks])
        else:
            cases.append(StudyCase(case.name, PictureTasks(first, later), (*case.problems, *case.remarks)))
    return Study(
        "cvc-clinicdb",
        "CVC-ClinicDB, as published",
        tuple(cases[: options.limit]),
        (SLICE_DICE, IOU),
        "The third frame of each video is outlined, the frames after it are scored: Dice of each frame, then the mean "
        "over the frames and over the videos.",
        published=("p2sam-2", "p2sam-4", "p2sam-5", "p2sam-6"),
        skipped=skipped,
        remarks=(*collection.problems, *collection.remarks),
        unit="video",
    )


def open_frames(data: Path | None, options: Options) -> Study:
    """Folders of pictures with masks, for example videos: the first picture of each is outlined."""
    root = existing_folder(given(data, "frames"))
    folders = [root] if holds_pairs(root) else [folder for folder in subfolders(root) if holds_pairs(folder)]
    cases, skipped = [], {}
    for folder in folders:
        collection = open_folder(folder)
        problems = tuple(f"{case.name}: {text}" for case in collection.cases for text in case.problems)
        samples = collection.samples
        if len(samples) < 2:
            skipped[folder.name] = " ".join(["It has fewer than two pictures with a mask.", *problems])
        else:
            tasks = PictureTasks(samples[0], samples[1:], may_be_empty=True)
            places = folders_of_pairs(folder) or (folder,)
            cases.append(StudyCase(folder.name, tasks, problems, version_of(*places)))
    return Study(
        "frames",
        "Folders of pictures",
        tuple(cases[: options.limit]),
        (SLICE_DICE, IOU),
        "The first picture of each folder is outlined, the others are scored: Dice of each, then the mean over the "
        "pictures and over the folders. Where a mask is empty, an empty answer has a Dice of 1, any other 0.",
        skipped=skipped,
        unit="folder",
    )


def open_kvasir(data: Path | None, options: Options) -> Study:
    """The test split of Kvasir-SEG (800, 100 and 100 pictures), on which fine-tuning is judged."""
    collection = open_kvasir_seg(given(data, "kvasir-seg"))
    return split_study("kvasir-seg", "Kvasir-SEG, test split", collection, options, (SLICE_DICE, IOU), "ES")


def open_nsclc(data: Path | None, options: Options) -> Study:
    """The test split of NSCLC-Radiomics (337, 42 and 42 patients), on which fine-tuning is judged."""
    structure = (options.structures or ("GTV-1",))[0]
    collection = open_nsclc_radiomics(given(data, "nsclc-radiomics"), structure=structure)
    title = "NSCLC-Radiomics, test split"
    return split_study("nsclc-radiomics", title, collection, options, (SLICE_DICE, IOU), "CT")


def split_study(
    protocol: str, title: str, collection: DataSet, options: Options, measures: tuple[Measure, ...], modality: str
) -> Study:
    """The test part of a data set; methods learn from the training part, and prompts come from its first image."""
    parts = collection.split(options.seed)
    training = drawn(parts["train"], options.training)
    if not parts["test"] or not training:
        collection.check_usable()
        raise InputError(f"{collection.name} is too small to be split; give at least three patients.")
    by_patient: dict[str, list[Sample]] = {}
    for sample in parts["test"]:
        by_patient.setdefault(sample.patient, []).append(sample)
    known = {case.name: case for case in collection.cases}
    cases = [
        StudyCase(patient, PictureTasks(training[0], tuple(samples)), problems_of(known.get(patient)))
        for patient, samples in by_patient.items()
    ]
    kept, doubles = unique(cases)
    empty = {case.name: " ".join(case.problems) for case in collection.cases if case.problems and not case.samples}
    return Study(
        protocol,
        title,
        kept[: options.limit],
        measures,
        f"The test part of a split by patients (seed {options.seed}). Direct transfer is what the fine-tuned model "
        f"gives by itself; methods that need an outlined image get one of the training part. Means over images, then "
        f"{collection.unit}s.",
        training=training,
        modality=modality,
        skipped={**doubles, **empty},
        remarks=(*collection.problems, *collection.remarks),
        unit=collection.unit,
    )


def drawn(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
    """The first samples by number, which depends on their names alone."""
    return tuple(sorted(samples, key=lambda sample: sample.number)[:count])


def problems_of(case: Case | None) -> tuple[str, ...]:
    return () if case is None else case.problems


def given(data: Path | None, protocol: str) -> Path:
    """The data's folder.

    Raises:
        InputError: none was given.
    """
    if data is None:
        raise InputError(f"The protocol {protocol} needs its data; give the folder with --data.")
    return data
