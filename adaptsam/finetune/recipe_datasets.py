"""Training and validation data of a recipe: the parts of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adaptsam.datasets import PARTS, Sample, four_d_lung, nsclc_radiomics, open_dataset
from adaptsam.datasets.dataset import SHARES
from adaptsam.datasets.dataset_recognition import recognise
from adaptsam.datasets.membership import grouped, split_as
from adaptsam.errors import InputError
from adaptsam.image.intensity import PAPERS_WINDOW


def dataset_parts(
    path: str | None,
    kind: str | None = None,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    structure: str | None = None,
    label: int | None = None,
    gate: int | None = None,
    split: str | None = None,
    groups: str | None = None,
    truncated: bool = False,
) -> dict[str, tuple[Sample, ...]]:
    """The samples of a data set to train, to validate and to test with, patient by patient.

    Args:
        path: the folder.
        kind: of the data set; recognised by default.
        seed: of the split.
        shares: of patients, to train, to validate and to test with; their sum is 1.
        structure: another than the published one, of DICOM.
        label: the value of a folder's masks that counts; all above 0 by default.
        gate: of 4D-Lung; the first by default.
        split: which case is in which part: "published", or a file; see
            :func:`~adaptsam.datasets.membership.split_as`. By default drawn from seed and shares.
        groups: a file that says which cases are one patient's.
        truncated: CT's windowed intensities are cut to whole numbers, as in P²SAM's code.

    Raises:
        InputError: no folder was given, it is no data set or has no such choice, or there is nothing to train or to
            validate with.
    """
    if not path:
        raise InputError("A recipe needs a folder of images and masks; give it with dataset_dir=FOLDER.")
    asked: dict[str, Any] = {"structure": structure, "label": label, "gate": gate}
    kind = kind or recognise(path)
    if truncated and kind in (nsclc_radiomics.KIND, four_d_lung.KIND):
        asked["window"] = replace(PAPERS_WINDOW, truncated=True)
    dataset = open_dataset(path, kind, **{name: value for name, value in asked.items() if value is not None})
    dataset.check_usable()
    if groups is not None:
        dataset = grouped(dataset, groups)
    three = isinstance(shares, Sequence) and len(shares) == len(PARTS)
    if not three or not all(isinstance(share, int | float) for share in shares):
        raise InputError(f"shares are three numbers, as [0.8, 0.1, 0.1], not {shares!r}.")
    train, validation, test = shares
    parts = dataset.split(seed, (train, validation, test)) if split is None else split_as(dataset, split)
    if not parts["train"] or not parts["validation"]:
        raise InputError(
            f"{dataset.name} has too few samples to train and to validate with; three of the kind {dataset.unit} are "
            "the least."
        )
    return parts


def fingerprint(parts: Mapping[str, Sequence[Sample]]) -> str:
    """Fingerprint of training and validation data: counts, and a hash of the samples' names."""
    names = [sample.name for part in PARTS[:2] for sample in parts[part]]
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()
    return f"{len(parts[PARTS[0]])} and {len(parts[PARTS[1]])} samples, {digest}"


def cases_of(parts: Mapping[str, Sequence[Sample]]) -> dict[str, list[str]]:
    """The cases of each part by name, as ``split=FILE`` takes them."""
    return {part: sorted({sample.patient for sample in parts[part]}) for part in PARTS}
