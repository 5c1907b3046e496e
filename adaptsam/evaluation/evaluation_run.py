"""Runs an evaluation case by case, here or on a cluster; what is there already is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from adaptsam.evaluation.case_results import Results
from adaptsam.evaluation.case_worker import CaseResult, Setting, Worker
from adaptsam.evaluation.evaluation_cases import Study, StudyCase
from adaptsam.evaluation.methods import fingerprint, make_methods
from adaptsam.progress import Progress, silent
from adaptsam.sam import SamModel

#: A case and the methods that it lacks.
Job = tuple[StudyCase, list[str]]

#: Gives the result of each job, in any order.
Backend = Callable[[SamModel, Setting, Sequence[Job]], Iterator[CaseResult]]


@dataclass(frozen=True)
class Progressed:
    """Counts of a run: cases found from before, and cases computed now."""

    known: int
    computed: int


def run_here(model: SamModel, setting: Setting, jobs: Sequence[Job]) -> Iterator[CaseResult]:
    """One case after the other in this process."""
    worker = Worker(model, setting)
    for case, methods in jobs:
        yield worker.run(case, methods)


def run_study(
    study: Study,
    model: SamModel,
    setting: Setting,
    results: Results,
    *,
    backend: Backend = run_here,
    progress: Progress = silent,
) -> Progressed:
    """Evaluate what is missing.

    Args:
        study: of a protocol.
        model: for all methods.
        setting: which methods; domain, modality and training images are the study's, and its text where none is given.
        results: where records are looked for and kept.
        backend: where the work is done.
        progress: receives the cases that are done; may cancel, what is there stays.
    """
    whole = replace(
        setting,
        domain=study.domain,
        modality=study.modality,
        training=study.training,
        folder=results.models,
        extras=replace(setting.extras, text=setting.extras.text or study.text),
    )
    wanted = {method.name: fingerprint(method) for method in make_methods(whole.methods, whole.extras)}
    lacking = [(case, results.missing(case.name, wanted, case.version)) for case in study.cases]
    jobs: list[Job] = [(case, names) for case, names in lacking if names]
    known = len(lacking) - len(jobs)
    progress("cases", known, len(lacking))
    done = 0
    needed = {name for _, names in jobs for name in names}
    asked = replace(whole, methods=tuple(name for name in wanted if name in needed))
    for result in backend(model, asked, jobs) if jobs else ():
        results.add(result)
        done += 1
        progress("cases", known + done, len(lacking))
    return Progressed(known, done)
