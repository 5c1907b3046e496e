"""Membership of cases in the parts of a data set, as published or as a file says, and of pictures in patients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptsam.datasets import kvasir_seg, nsclc_radiomics
from adaptsam.datasets.dataset import PARTS, DataSet, Sample
from adaptsam.errors import InputError

PUBLISHED = "published"
#: The released lists of indices are PyTorch's permutation of this seed.
_SEED = 42
_COUNTS = {kvasir_seg.KIND: (800, 100, 100), nsclc_radiomics.KIND: (337, 42, 42)}

Parts = dict[str, tuple[Sample, ...]]


def split_as(dataset: DataSet, membership: str) -> Parts:
    """The samples of a data set by the names in :data:`PARTS`.

    Args:
        dataset: whose samples they are; what no part names is left out.
        membership: "published", or a JSON file with a list of cases for "train", "validation" and "test", such as the
            ``split.json`` that a training leaves.

    Raises:
        InputError: the file cannot be used, names no case of the data set, or one in two parts; or the published split
            cannot be told.
    """
    parts = published_split(dataset) if membership == PUBLISHED else _read_split(Path(membership))
    part_of = {name: part for part in PARTS for name in parts[part]}
    if len(part_of) < sum(len(parts[part]) for part in PARTS):
        raise InputError(f"The split {membership} has a case twice; leave it in one part.")
    chosen: Parts = {
        part: tuple(sample for sample in dataset.samples if part_of.get(sample.patient) == part) for part in PARTS
    }
    if not any(chosen.values()):
        raise InputError(f"The split {membership} names no case of {dataset.name}; its names are those of the files.")
    return chosen


def published_split(dataset: DataSet) -> dict[str, list[str]]:
    """The cases that P²SAM's released checkpoints were trained, validated and tested with.

    The released lists have the place of each case among all that are sorted by name. Kvasir-SEG's pictures must all
    be here for that. The order of NSCLC-Radiomics' patients was that of the authors' file system, which nobody else
    knows: by name is the likeliest.

    Raises:
        InputError: another data set, or pictures are missing.
    """
    counts = _COUNTS.get(dataset.kind)
    if counts is None:
        raise InputError(f"No split of {dataset.kind} was published; give split=FILE, or leave split out.")
    if dataset.kind == nsclc_radiomics.KIND:
        names = [name for name in nsclc_radiomics.PUBLISHED if name != nsclc_radiomics.WITHOUT_TUMOUR]
    else:
        names = sorted(case.name for case in dataset.cases if case.samples)
        if len(names) != sum(counts):
            raise InputError(
                f"{dataset.name} has {len(names)} of Kvasir-SEG's {sum(counts)} pictures, and the published split "
                "counts all of them in order; give the whole data set, or the names in split=FILE."
            )
    order = [names[place] for place in _permutation(len(names))]
    ends = (counts[0], counts[0] + counts[1])
    return dict(zip(PARTS, (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]), strict=True))


def grouped(dataset: DataSet, file: str) -> DataSet:
    """The data set with cases that a split keeps together.

    Args:
        dataset: whose cases are pictures, such as Kvasir-SEG, which does not say whose they are.
        file: JSON, a case's name and its patient's: ``{"cju0qkwl35piu0993l0dewei2": "A", …}``. Others stay alone.

    Raises:
        InputError: the file cannot be used, or names no case of the data set.
    """
    groups = _read_json(Path(file), "groups")
    if not all(isinstance(group, str) for group in groups.values()):
        raise InputError(
            f'{file} is no file of groups; it holds the name of each case and its patient\'s, {{"a": "A"}}.'
        )
    known = {sample.patient for sample in dataset.samples}
    if not known & {*groups}:
        raise InputError(f"{file} names no case of {dataset.name}; its names are those of the files, without suffix.")

    def moved(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(
            replace(one, patient=f"group {groups[one.patient]}") if one.patient in groups else one for one in samples
        )

    cases = tuple(replace(case, samples=moved(case.samples), without=moved(case.without)) for case in dataset.cases)
    return replace(dataset, cases=cases, unit="patient")


def _permutation(count: int) -> list[int]:
    import torch  # the data sets need it for nothing else

    return [int(place) for place in torch.randperm(count, generator=torch.Generator().manual_seed(_SEED))]


def _read_split(file: Path) -> Mapping[str, list[str]]:
    parts = _read_json(file, "a split")
    lists = [parts.get(part) for part in PARTS]
    if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists):
        raise InputError(f"{file} is no split; it holds a list of names for each of {', '.join(PARTS)}.")
    return parts


def _read_json(file: Path, what: str) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); give a JSON file of {what}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file} is not JSON; give a JSON file of {what}.") from None
    if not isinstance(read, dict):
        raise InputError(f"{file} holds no names; give a JSON file of {what}.")
    return read
