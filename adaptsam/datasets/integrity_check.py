"""Reading every sample of a data set once, so that a damaged one is told before a training and not in the middle."""

from __future__ import annotations

from dataclasses import replace

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.errors import InputError
from adaptsam.progress import Progress, silent


def check_samples(dataset: DataSet, progress: Progress = silent) -> DataSet:
    """The same data set with the samples alone that can be read, fit their mask and show the structure.

    What became of the others stands in the problems of their cases.

    Args:
        dataset: as it was opened.
        progress: receives "reading images"; may cancel.
    """
    total, done = len(dataset.samples), 0
    cases = []
    for case in dataset.cases:
        progress("reading images", done, total)
        cases.append(_checked(case))
        done += len(case.samples)
    progress("reading images", total, total)
    return replace(dataset, cases=tuple(cases))


def _checked(case: Case) -> Case:
    reasons = {sample: trouble(sample) for sample in case.samples}
    good = tuple(sample for sample, reason in reasons.items() if not reason)
    return replace(case, samples=good, problems=(*case.problems, *(reason for reason in reasons.values() if reason)))


def trouble(sample: Sample) -> str:
    """The reason why a sample cannot be used for training, or an empty text."""
    try:
        sample.read()
    except InputError as error:
        return str(error)
    return ""
