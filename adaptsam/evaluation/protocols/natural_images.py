"""Protocols of natural images: one-shot segmentation (P²SAM, Table 3), and AlignSAM's five data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptsam.alignsam.alignsam_settings import Branch
from adaptsam.datasets import Case, DataSet, Sample
from adaptsam.datasets.binary_benchmarks import open_benchmark
from adaptsam.datasets.coco_20i import open_coco_20i
from adaptsam.datasets.fss_1000 import open_fss_1000
from adaptsam.datasets.lvis_92i import open_lvis_92i
from adaptsam.datasets.pascal_voc import CLASSES, open_pascal_voc, scored_pixels
from adaptsam.datasets.perseg import open_perseg
from adaptsam.errors import InputError
from adaptsam.evaluation.evaluation_cases import Measure, PictureTask, Study, StudyCase, unique
from adaptsam.evaluation.methods.evaluated_method import Outlined, Pair
from adaptsam.evaluation.pooled_measures import E_MEASURE, F_BETA, IOU, MAE, pooled_ber, pooled_iou, ratio_iou
from adaptsam.evaluation.protocols.medical_images import PictureTasks, drawn, given
from adaptsam.evaluation.protocols.protocol_options import Options

#: How many episodes are drawn of a fold, as published.
EPISODES = {"coco-20i": 1000, "lvis-92i": 2300}

CUHK_TESTED = 100

#: AlignSAM's branches (Table 1), text prompts (Table 4), columns (Table 2), a title, and how many test pictures are
#: published.
ALIGNSAM: dict[str, tuple[Branch, str, tuple[Measure, ...], str, int]] = {
    "cuhk": ("implicit", "defocus background", (IOU, F_BETA), "CUHK, blur", CUHK_TESTED),
    "sbu": ("explicit", "shadow", (IOU, pooled_ber()), "SBU, shadows", 638),
    "msd": ("implicit", "glass", (IOU, F_BETA), "MSD, mirrors and glass", 955),
    "duts": ("implicit", "salient objects", (E_MEASURE, MAE), "DUTS, salient objects", 5019),
}
_KINDS = {"cuhk": "cuhk-blur", "sbu": "sbu-shadow", "msd": "msd-glass", "duts": "duts"}


@dataclass(frozen=True)
class Episodes:
    """Queries of one class, each with the picture it is shown; ``counted`` tells the pixels that are scored.

    Queries that are shown the same picture share it, so that methods learn from it once.
    """

    episodes: tuple[tuple[Sample, Sample], ...]
    counted: Callable[[Sample], np.ndarray] | None = None

    def __call__(self) -> Iterator[PictureTask]:
        priors: dict[str, Outlined] = {}
        for number, (query, support) in enumerate(self.episodes):
            if support.name not in priors:
                priors[support.name] = Outlined(*support.read())
            image, truth = query.read()
            counted = None if self.counted is None else self.counted(query)
            yield PictureTask(Pair(f"{query.name}-{number}", priors[support.name], image), truth, counted=counted)


def open_perseg_study(data: Path | None, options: Options) -> Study:
    """PerSeg: the first picture of each of 40 objects is outlined, the others are scored."""
    collection = open_perseg(given(data, "perseg"))
    cases, skipped = [], _without_pairs(collection)
    for case in collection.cases:
        if case.name not in skipped:
            cases.append(StudyCase(case.name, PictureTasks(case.samples[0], case.samples[1:]), case.problems))
    return _one_shot("perseg", "PerSeg", collection, cases, skipped, options, ("p2sam-3", "p2sam-4", "p2sam-5"))


def open_fss_study(data: Path | None, options: Options) -> Study:
    """FSS-1000, test split: each picture once as query, with another one of its class drawn as in HSNet's code."""
    collection = open_fss_1000(given(data, "fss-1000"))
    state = np.random.RandomState(options.seed)
    cases, skipped = [], _without_pairs(collection)
    for case in collection.cases:
        if case.name not in skipped:
            # Queries come as the files are sorted, the others are drawn by their number.
            numbered = sorted(case.samples, key=lambda sample: int(sample.name.rpartition("/")[2]))
            pairs = [(query, _other(state, numbered, query)) for query in case.samples]
            cases.append(StudyCase(case.name, Episodes(tuple(pairs)), case.problems))
    return _one_shot("fss-1000", "FSS-1000, test split", collection, cases, skipped, options, ("p2sam-3",))


def open_coco_study(data: Path | None, options: Options) -> Study:
    """COCO-20i: 1000 episodes of a fold's 20 classes, drawn as in HSNet's code."""
    collection = open_coco_20i(given(data, "coco-20i"), fold=options.fold)
    skipped = _without_pairs(collection)
    state = np.random.RandomState(options.seed)
    known = [case for case in collection.cases if case.name not in skipped]
    drawn_now: dict[str, list[tuple[Sample, Sample]]] = {case.name: [] for case in known}
    for _ in range(EPISODES["coco-20i"] if known else 0):
        case = known[_draw(state, len(known))]
        query = case.samples[_draw(state, len(case.samples))]
        drawn_now[case.name].append((query, _other(state, case.samples, query)))
    cases = _episodes(known, drawn_now)
    title = f"COCO-20i, fold {options.fold}"
    return _one_shot("coco-20i", title, collection, cases, skipped, options, ("p2sam-3",))


def open_lvis_study(data: Path | None, options: Options) -> Study:
    """LVIS-92i: 2300 episodes of a fold's 92 classes in turn, drawn as in Matcher's code."""
    collection = open_lvis_92i(given(data, "lvis-92i"), fold=options.fold)
    skipped = _without_pairs(collection)
    state = np.random.RandomState(options.seed)
    known = [case for case in collection.cases if case.name not in skipped]
    drawn_now: dict[str, list[tuple[Sample, Sample]]] = {case.name: [] for case in known}
    for number in range(EPISODES["lvis-92i"] if known else 0):
        case = known[number % len(known)]
        query = case.samples[_draw(state, len(case.samples))]
        drawn_now[case.name].append((query, _other(state, case.samples, query)))
    cases = _episodes(known, drawn_now)
    title = f"LVIS-92i, fold {options.fold}"
    return _one_shot("lvis-92i", title, collection, cases, skipped, options, ("p2sam-3",))


def open_cuhk(data: Path | None, options: Options) -> Study:
    """CUHK: blur out of focus (AlignSAM, Table 2)."""
    return _binary("cuhk", data, options)


def open_sbu(data: Path | None, options: Options) -> Study:
    """SBU: shadows (AlignSAM, Table 2)."""
    return _binary("sbu", data, options)


def open_msd(data: Path | None, options: Options) -> Study:
    """MSD: mirrors and glass (AlignSAM, Table 2)."""
    return _binary("msd", data, options)


def open_duts(data: Path | None, options: Options) -> Study:
    """DUTS: salient objects (AlignSAM, Table 2)."""
    return _binary("duts", data, options)


def open_voc_study(data: Path | None, options: Options) -> Study:
    """PASCAL VOC 2012 (AlignSAM, Table 3): all classes; or one, by --structures, for methods that learn."""
    folder, classes = given(data, "voc"), options.structures or CLASSES
    parts = {
        name: [open_pascal_voc(folder, structure=name, part=part) for part in ("test", "train")] for name in classes
    }
    published = ("alignsam-3", "alignsam-4", "alignsam-5")
    about = "Pictures that show a class, borders not scored. "
    if len(classes) == 1:
        test, train = parts[classes[0]]
        return _one_class(classes[0], test, train, options, about, published)
    cases, skipped = [], {}
    for name, (test, train) in parts.items():
        shown = drawn(train.samples, 1)
        if shown and test.samples:
            episodes = tuple((query, shown[0]) for query in test.samples)
            cases.append(StudyCase(name, Episodes(episodes, scored_pixels), _problems(test)))
        else:
            skipped[name] = " ".join(["No picture of both parts shows it.", *_problems(test)])
    return Study(
        "voc",
        "PASCAL VOC 2012",
        tuple(cases[: options.limit]),
        (pooled_iou(),),
        f"{about}IoU is pooled by class; the mean is over classes. One training picture is outlined. Methods that "
        "learn, learn one class at a time: choose it with --structures.",
        domain="natural",
        published=published,
        skipped=skipped,
        unit="class",
    )


def _one_class(
    name: str, test: DataSet, train: DataSet, options: Options, about: str, published: tuple[str, ...]
) -> Study:
    training = drawn(train.samples, options.training)
    if not training or not test.samples:
        raise InputError(f"No picture of both parts shows {name}; unpack PASCAL VOC 2012 again.")
    pictures = [StudyCase(s.name, Episodes(((s, training[0]),), scored_pixels)) for s in test.samples]
    return Study(
        "voc",
        f"PASCAL VOC 2012, {name}",
        tuple(pictures[: options.limit]),
        (ratio_iou(), IOU),
        f"{about}IoU of all pictures together, and the mean of the pictures' own.",
        domain="natural",
        training=training,
        text=name,
        branch="explicit",
        published=published,
        skipped={case.name: " ".join(case.problems) for case in test.cases if case.problems},
        unit="picture",
    )


def _problems(collection: DataSet) -> tuple[str, ...]:
    return tuple(text for case in collection.cases for text in case.problems)


def _binary(kind: str, data: Path | None, options: Options) -> Study:
    folder = given(data, kind)
    learned, tested = _parts(kind, folder)
    training = drawn([sample for case in learned for sample in case.samples], options.training)
    if not training:
        raise InputError(f"{folder.name} has no picture with a mask to learn from; unpack {kind} again.")
    branch, text, measures, title, count = ALIGNSAM[kind]
    cases, doubles = unique(
        [StudyCase(case.name, PictureTasks(training[0], case.samples)) for case in tested if case.samples]
    )
    remarks = (f"{len(cases)} of the {count} published test pictures are here.",) if len(cases) != count else ()
    return Study(
        kind,
        f"{title} (AlignSAM, Table 2)",
        cases[: options.limit],
        measures,
        f"The published test pictures. {len(training)} pictures of the training part, drawn by their names, are what "
        "methods learn from; methods that need an outlined picture get the first of them.",
        domain="natural",
        training=training,
        text=text,
        branch=branch,
        published=("alignsam-2", "alignsam-4"),
        skipped={**doubles, **{case.name: " ".join(case.problems) for case in tested if not case.samples}},
        remarks=remarks,
        unit="picture",
    )


def _parts(kind: str, folder: Path) -> tuple[Sequence[Case], Sequence[Case]]:
    """The cases to learn from, and those to test. CUHK has no parts: the last hundred out of focus are tested."""
    name = _KINDS[kind]
    if kind != "cuhk":
        return open_benchmark(name, folder, part="train").cases, open_benchmark(name, folder, part="test").cases
    blurred = [case for case in open_benchmark(name, folder).cases if case.name.startswith("out_of_focus")]
    first = max(1, len(blurred) - CUHK_TESTED)
    return blurred[:first], blurred[first:]


def _one_shot(
    protocol: str,
    title: str,
    collection: DataSet,
    cases: Sequence[StudyCase],
    skipped: dict[str, str],
    options: Options,
    published: tuple[str, ...],
) -> Study:
    kept, doubles = unique(cases)
    return Study(
        protocol,
        title,
        kept[: options.limit],
        (pooled_iou(),),
        f"Intersections and unions are summed over the pictures of each {collection.unit}, the mean is over "
        f"{collection.unit}{'es' if collection.unit == 'class' else 's'}. Masks are scored on the pictures' own "
        "pixels.",
        domain="natural",
        published=published,
        skipped={**skipped, **doubles},
        remarks=(*collection.problems, *collection.remarks),
        unit=collection.unit,
    )


def _without_pairs(collection: DataSet) -> dict[str, str]:
    few = (case for case in collection.cases if len(case.samples) < 2)
    return {case.name: " ".join(["It has fewer than two pictures with a mask.", *case.problems]) for case in few}


def _episodes(known: Sequence[Case], drawn_now: dict[str, list[tuple[Sample, Sample]]]) -> list[StudyCase]:
    return [StudyCase(case.name, Episodes(tuple(drawn_now[case.name]))) for case in known if drawn_now[case.name]]


def _draw(state: np.random.RandomState, count: int) -> int:
    """One of so many, by the very numbers that ``np.random.choice(…, 1, replace=False)`` takes from its state."""
    return int(state.choice(count, 1, replace=False)[0])


def _other(state: np.random.RandomState, samples: Sequence[Sample], query: Sample) -> Sample:
    while True:
        support = samples[_draw(state, len(samples))]
        if support is not query:
            return support
